"""Masks in the forms that people have them in. Expected indices are written by hand."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_files import GREY, encoded, oriented, png
from PIL import Image

from vocjax.data import masks
from vocjax.data.classes import PALETTE, VOC, Classes
from vocjax.errors import UserError

INDICES = np.array([[0, 1, 20, 0], [255, 12, 0, 0]], np.uint8)
NO_OBJECT = np.array([[0, 255, 0]], np.uint8)
BINARY = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)
ONE, TWO = Classes(("cat",)), Classes(("cat", "dog"))
OWN = np.array(PALETTE)
OWN[:3], OWN[255] = [(0, 0, 0), (255, 255, 255), (9, 8, 7)], (1, 1, 1)
COLOURED = Classes(("cat", "dog"), OWN, stated=True)
GREYS = Classes(("cat", "dog"), np.array(PALETTE), stated=True)
GREYS.palette[:3] = np.array([[0], [2], [100]])
LATE = Classes(("cat", "dog"), stated=True, ordered=False)  # a label map: cat, background, dog
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def with_palette(indices, colours, **options):
    image = Image.fromarray(np.asarray(indices, np.uint8))
    image.putpalette(np.asarray(colours, np.uint8).tobytes())
    return encoded(image, **options)


def renumbered(mask):
    """The colours stay, the indices become others, as optimisers of PNGs write them."""
    used = np.unique(mask)[::-1]
    return with_palette(np.searchsorted(-used.astype(int), -mask.astype(int)), PALETTE[used])


def opaque(pixels, alpha=255):
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])


def read(content, classes=VOC, values=None):
    return masks.read_mask(content, Path("folder/a.png"), classes, values or {}).indices


FORMS = {
    "VOC's palette": with_palette(INDICES, PALETTE),
    "another palette": with_palette(INDICES, np.random.default_rng(0).integers(1, 250, (256, 3))),
    "a palette of one colour": with_palette(INDICES, np.zeros((256, 3))),
    "white void": with_palette(INDICES, [*PALETTE[:255], WHITE]),
    "an optimiser's palette": renumbered(INDICES),
    "a grey ramp": with_palette(INDICES, np.repeat(np.arange(256), 3)),
    "grey": encoded(INDICES),
    "grey in RGB": encoded(np.repeat(INDICES[..., None], 3, axis=2)),
    "16 bits": encoded(INDICES.astype(np.uint16)),
    "colours": encoded(PALETTE[INDICES]),
    "opaque colours": encoded(opaque(PALETTE[INDICES])),
    "opaque grey": encoded(Image.fromarray(opaque(INDICES), "LA")),
    "TIFF": encoded(INDICES, "TIFF"),
    "TIFF of 32 bits": encoded(INDICES.astype(np.int32), "TIFF"),
    "BMP": encoded(PALETTE[INDICES], "BMP"),
    "GIF": encoded(PALETTE[INDICES], "GIF"),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_mask_in_every_form(form):
    mask = read(FORMS[form])
    assert (mask.dtype, mask.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(mask, INDICES)


@pytest.mark.parametrize(
    ("content", "classes", "values", "expected"),
    [
        (with_palette(NO_OBJECT, PALETTE), VOC, {}, NO_OBJECT),
        (renumbered(NO_OBJECT), VOC, {}, NO_OBJECT),
        (encoded(PALETTE[NO_OBJECT]), VOC, {}, NO_OBJECT),
        (with_palette(NO_OBJECT, OWN), COLOURED, {}, NO_OBJECT),
        (with_palette([[255]], PALETTE), VOC, {}, [[255]]),
        (encoded(np.zeros((1, 2), np.uint8)), VOC, {}, [[0, 0]]),
        (encoded(np.zeros((1, 2), bool)), VOC, {}, [[0, 0]]),
        (with_palette([[0, 1]], [BLACK, tuple(PALETTE[8])]), VOC, {}, [[0, 8]]),
        (encoded(np.array([[0, 1]], np.uint8)), ONE, {}, [[0, 1]]),
        # one bit
        (encoded(BINARY > 0), ONE, {}, BINARY // 255),
        (with_palette(BINARY // 255, [BLACK, WHITE]), ONE, {}, BINARY // 255),
        (with_palette(1 - BINARY // 255, [WHITE, BLACK]), ONE, {}, BINARY // 255),
        (encoded(BINARY > 0), COLOURED, {}, BINARY // 255),  # white is the colour of its cat
        (encoded(BINARY > 0), VOC, {0: 0, 1: 8}, BINARY // 255 * 8),
        (encoded(BINARY > 0), VOC, {0: 0, 255: 8}, BINARY // 255 * 8),
        # values with a meaning
        (encoded(BINARY), VOC, {0: 0, 255: 8}, BINARY // 255 * 8),
        (encoded(BINARY), VOC, {0: 0, 255: 255}, BINARY),
        (encoded(np.repeat(BINARY[..., None], 3, axis=2)), VOC, {0: 0, 255: 8}, BINARY // 255 * 8),
        (with_palette(BINARY, np.repeat(np.arange(256), 3)), ONE, {0: 0, 255: 1}, BINARY // 255),
        (with_palette(BINARY // 255, [BLACK, WHITE]), ONE, {0: 0, 255: 1}, BINARY // 255),
        (with_palette(BINARY // 255, [BLACK, (9, 0, 0)]), TWO, {0: 0, 1: 2}, BINARY // 255 * 2),
        (encoded(BINARY.astype(np.uint16) * 257), ONE, {0: 0, 65535: 1}, BINARY // 255),
        (encoded(np.array([[7, 9]], np.uint8)), TWO, {7: 2, 9: 0, 10: 1}, [[2, 0]]),
        # colours of the data set's own
        (encoded(OWN[[[0, 1, 2, 255]]]), COLOURED, {}, [[0, 1, 2, 255]]),
        (encoded(np.array([[PALETTE[255]]])), COLOURED, {}, [[255]]),  # VOC's void, too
        (with_palette([[0, 1, 2]], OWN[[2, 0, 1]]), COLOURED, {}, [[2, 0, 1]]),
        # grey colours of a label map
        (encoded(np.array([[0, 2, 100]], np.uint8)), GREYS, {}, [[0, 1, 2]]),
        (encoded(np.repeat([[[2], [100]]], 3, axis=2).astype(np.uint8)), GREYS, {}, [[1, 2]]),
        (with_palette([[0, 1, 2]], PALETTE), LATE, {}, [[0, 1, 2]]),
        # transparency where nothing is drawn
        (encoded(np.array([[[0, 0, 0, 0], [64, 0, 0, 255]]], np.uint8)), VOC, {}, [[0, 8]]),
    ],
)  # fmt: skip
def test_what_values_and_colours_mean(content, classes, values, expected):
    np.testing.assert_array_equal(read(content, classes, values), expected)


SMOOTH = Image.fromarray(PALETTE[np.kron(INDICES, np.ones((8, 8), np.uint8))])


@pytest.mark.parametrize(
    ("content", "classes", "values", "message"),
    [
        (encoded(BINARY), VOC, {}, "holds 0, 255 .* 0=background,255=aeroplane, .* 255=void"),
        (encoded(np.full((2, 2), 255, np.uint8)), ONE, {}, "holds 255 .*,255=cat"),
        (encoded(np.repeat(BINARY[..., None], 3, axis=2)), ONE, {}, "holds 0, 255 .*,255=cat"),
        (with_palette(BINARY, np.repeat(np.arange(256), 3)), ONE, {}, "holds 0, 255 "),
        (encoded(BINARY > 0), VOC, {}, "black and white .* 20 classes.*255=aeroplane"),
        (with_palette(BINARY // 255, [BLACK, WHITE]), VOC, {}, "black and white .*--mask_values"),
        (encoded(np.array([[0, 21, 254]], np.uint8)), VOC, {}, "21, 254; .*plane to 20 for tv"),
        (encoded(np.array([[2]], np.uint8)), ONE, {}, "holds 2; .*, 1 for cat, and 255"),
        (encoded(np.array([[300, 1]], np.uint16)), VOC, {}, "300; .*,1=aeroplane,300=bicycle"),
        (encoded(np.array([[-1, 1]], np.int32), "TIFF"), VOC, {}, "holds -1, 1; expected"),
        (encoded(np.arange(200, dtype=np.uint8)[None]), VOC, {}, "25 .*numbered objects"),
        (encoded(np.zeros((2, 2), np.float32), "TIFF"), VOC, {}, "mode F"),
        (encoded(BINARY), VOC, {0: 0, 1: 3}, "holds 255, and --mask_values lists 0, 1 "),
        (encoded(PALETTE[INDICES]), VOC, {0: 0, 255: 3}, "in colours, and --mask_values"),
        (
            with_palette([[0, 1]], [BLACK, WHITE]), TWO, {0: 0, 1: 1, 255: 2},
            "indices 0, 1 look like the grey levels 0, 255",
        ),
        (
            with_palette([[0, 1, 2]], [BLACK, PALETTE[8], (1, 2, 3)]), VOC, {},
            r"index 1 the colour \(64, 0, 0\) of cat, whose index is 8, and index 2 the colour "
            r"\(1, 2, 3\) of no class",
        ),
        (
            encoded(np.array([[BLACK, (60, 2, 1)]], np.uint8)), VOC, {},
            r"no class, \(60, 2, 1\); .* in 1 pixels, at column 1, row 0, .* cat \(64, 0,",
        ),
        (encoded(SMOOTH.resize((50, 40), Image.Resampling.BILINEAR)), VOC, {}, "smooth scaling"),
        (encoded(np.array([[0, 1]], np.uint8)), GREYS, {}, "0, 1 in grey, .* colours or indices"),
        (encoded(np.array([[0, 1]], np.uint8)), LATE, {}, "0, 1 in grey, .* colours or indices"),
        (
            with_palette([[0, 1]], [BLACK, (254, 255, 255)]), COLOURED, {},
            r"no class, \(254, 255, 255\)",
        ),
        (encoded(SMOOTH, "JPEG"), VOC, {}, "is a JPEG file"),
        (encoded(INDICES, "JPEG"), VOC, {}, "is a JPEG file"),
        (encoded(opaque(PALETTE[INDICES], 99)), VOC, {}, "in 4 pixels .*column 1, row 0"),
        (encoded(INDICES)[:45], VOC, {}, "can't be read as an image"),
        (b"text", VOC, {}, "can't be read as an image"),
    ],
)  # fmt: skip
def test_what_is_not_sure_is_refused(content, classes, values, message):
    with pytest.raises(UserError, match=rf"^folder/a\.png: .*{message}"):
        read(content, classes, values)


def test_a_palette_read_by_index_tells_its_colours():
    content = with_palette([[0, 1, 255]], np.random.default_rng(0).integers(1, 250, (256, 3)))
    colours = np.random.default_rng(0).integers(1, 250, (256, 3)).tolist()
    assert masks.read_mask(content, Path("a"), TWO, {}).colours == {
        0: tuple(colours[0]),
        1: tuple(colours[1]),
    }
    for form in ("grey", "colours", "an optimiser's palette"):
        assert masks.read_mask(FORMS[form], Path("a"), VOC, {}).colours == {}


def test_grey_of_few_bits_is_refused():
    """Pillow would scale 1 of 15 to 17 of 255, which is another class."""
    few = png([b"\x01\x23"], 4, 4, GREY)
    assert np.asarray(Image.open(io.BytesIO(few))).tolist() == [[0, 17, 34, 51]]
    with pytest.raises(UserError, match="2 or 4 bits"):
        read(few)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_mask_with_an_orientation_of_its_own_is_turned(kind):
    stored = Image.fromarray(INDICES).transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(read(encoded(stored, kind, exif=oriented(6))), INDICES)


TURNS = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}


@pytest.mark.parametrize("orientation", TURNS)
def test_a_mask_is_turned_with_its_image(orientation):
    expected = Image.fromarray(INDICES).transpose(Image.Transpose[TURNS[orientation]])
    turned = masks.fit_mask(INDICES, (4, 2), orientation)
    np.testing.assert_array_equal(turned.mask, np.asarray(expected))
    assert masks.fit_mask(INDICES, (2, 4), orientation) == (INDICES, False, False)
    twice = expected.resize((4, 8), Image.Resampling.NEAREST)
    scaled = masks.fit_mask(INDICES, (8, 4), orientation)
    np.testing.assert_array_equal(scaled.mask, np.asarray(twice))
    assert scaled.scaled and not scaled.either
    for size, other in (((4, 2), 1), ((4, 2), 3), ((2, 5), orientation)):
        with pytest.raises(ValueError, match="and its image"):
            masks.fit_mask(INDICES, size, other)


@pytest.mark.parametrize(("size", "orientation"), [(2, 3), (2, 6), (4, 8)])
def test_of_a_mask_that_fits_turned_or_not_the_shown_one_counts(size, orientation):
    square = np.array([[0, 1], [2, 255]], np.uint8)
    fitted = masks.fit_mask(square, (size, size), orientation)
    np.testing.assert_array_equal(fitted.mask, square.repeat(size // 2, 0).repeat(size // 2, 1))
    assert fitted.either
    assert not masks.fit_mask(square, (size, size), 1).either
    assert not masks.fit_mask(square * 0, (size, size), orientation).either


def test_a_written_mask_is_read_by_others():
    picture = Image.open(io.BytesIO(masks.encode_mask(INDICES)))
    assert (picture.format, picture.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(picture), INDICES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0=background,255=cat", {0: 0, 255: 1}),
        (" 0 = background , 7=2, 9 =void", {0: 0, 7: 2, 9: 255}),
        ("1=1,2=255,3=0", {1: 1, 2: 255, 3: 0}),
        ("65535=dog", {65535: 2}),
        ("4=dog,4=2", {4: 2}),
    ],
)
def test_stated_values(text, expected):
    assert masks.parse_values(text, TWO) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has ''; expected"),
        ("0=background,", "has ''; expected"),
        ("255", "has '255'; expected"),
        ("cat=255", "has 'cat=255'; expected"),
        ("-1=cat", "has '-1=cat'; expected"),
        ("255=", "has '255='; expected"),
        ("255=cta", "of 255 is 'cta'; it is one of background, void, cat, dog. Did you mean 'cat'"),
        ("255=3", "of 255 is '3'"),
        ("255=cat,255=dog", "gives 255 two meanings"),
    ],
)
def test_stated_values_that_make_no_sense(text, message):
    with pytest.raises(UserError, match=message):
        masks.parse_values(text, TWO)
