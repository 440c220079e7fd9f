"""Image files of people, which preparation, the explorer and `vocjax predict` read."""

import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from image_files import GREY, RGB, encoded, oriented, png
from PIL import Image, PngImagePlugin, features

from vocjax.data import photo
from vocjax.errors import UserError

PHOTO = np.linspace(0, 255, 40 * 30 * 3).reshape(40, 30, 3).astype(np.uint8)
PICTURE = Image.fromarray(PHOTO)
LEVELS = PHOTO[..., 0]
AVIF = pytest.mark.skipif(not features.check("avif"), reason="Pillow is built without AVIF")


def read(file):
    return photo.read_photo(io.BytesIO(file))


def stored(file):
    return photo.stored_image(file, Path("folder/a.jpg"))


def grey(levels):
    return np.repeat(np.asarray(levels)[..., None], 3, axis=-1)


def alpha(values):
    return np.dstack([PHOTO, np.full_like(LEVELS, values)])


# Half of a red that lets the white below through: 255 - (255 - level) * .5.
HALF = np.array([[[200, 0, 50, 128]]], np.uint8)
INKS = np.array([[[0, 255, 255, 0], [0, 0, 0, 55]]], np.uint8)
RAMP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
SIXTEEN = np.array([[0, 255, 256, 65535, 32768 + 99]], np.uint16)
FILES = {
    "PNG": (encoded(PICTURE), PHOTO),
    "BMP": (encoded(PICTURE, "BMP"), PHOTO),
    "TIFF": (encoded(PICTURE, "TIFF", compression="tiff_lzw"), PHOTO),
    "WEBP": (encoded(PICTURE, "WEBP", lossless=True), PHOTO),
    "grey": (encoded(LEVELS), grey(LEVELS)),
    "grey GIF": (encoded(LEVELS, "GIF"), grey(LEVELS)),
    "the first frame": (
        encoded(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]), PHOTO,
    ),
    "one bit": (encoded(LEVELS > 99), grey((LEVELS > 99) * 255)),
    "few bits": (png([b"\x01\x23"], 4, 4, GREY), grey([[0, 17, 34, 51]])),
    "opaque": (encoded(alpha(255)), PHOTO),
    "hidden": (encoded(alpha(0)), np.full_like(PHOTO, 255)),
    "half transparent": (encoded(HALF), [[[227, 127, 152]]]),
    "transparent grey": (
        encoded(Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), "LA")),
        grey([[255, 10]]),
    ),
    "transparent level": (encoded(np.array([[7, 8]], np.uint8), transparency=7), grey([[255, 8]])),
    "transparent entry of a palette": (
        encoded(Image.fromarray(np.array([[7, 8]], np.uint8)).convert("P"), transparency=7),
        grey([[255, 8]]),
    ),
    "inks": (
        encoded(Image.fromarray(INKS, "CMYK"), "TIFF"),
        [[[255, 0, 0], [200, 200, 200]]],
    ),
    "16 bits": (encoded(SIXTEEN), grey(SIXTEEN // 256)),
    "16 bits, TIFF": (encoded(SIXTEEN, "TIFF"), grey(SIXTEEN // 256)),
    "32 bits": (encoded(SIXTEEN.astype(np.int32), "TIFF"), grey(SIXTEEN // 256)),
    "16 bits in colour": (png([SIXTEEN[:, :3].astype(">u2").tobytes()], 1, 16, RGB), [[[0, 0, 1]]]),
    "black of 16 bits": (encoded(SIXTEEN * 0), grey(SIXTEEN * 0)),
    "floats": (encoded(RAMP, "TIFF"), grey(np.round(RAMP * 255))),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_image_is_read_and_kept_alike(name):
    file, expected = FILES[name]
    pixels = read(file)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)
    kept, size = stored(file)
    assert size == pixels.shape[:2]
    assert (kept == file) == (name in ("PNG", "grey"))
    # As any other program reads what is kept.
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(kept)).convert("RGB")), expected)
    np.testing.assert_array_equal(photo.stored_pixels(kept, 3), expected)


@pytest.mark.parametrize(
    ("kind", "mode", "is_kept"),
    [
        ("JPEG", "RGB", True),
        ("JPEG", "L", True),
        ("JPEG", "CMYK", False),
        ("MPO", "RGB", True),  # as phones write: a JPEG with others behind it
        ("WEBP", "RGB", False),
        pytest.param("AVIF", "RGB", False, marks=AVIF),
    ],
)
def test_lossy_files_are_kept_or_become_what_is_read(kind, mode, is_kept):
    picture = PICTURE.convert(mode)
    file = encoded(picture, kind, quality=95)
    kept, size = stored(file)
    assert (kept == file, size) == (is_kept, (40, 30))
    np.testing.assert_array_equal(photo.stored_pixels(kept, 3), read(file))
    assert np.abs(read(file).astype(int) - np.asarray(picture.convert("RGB"))).mean() < 4


def test_a_mask_that_is_kept_is_read_as_it_is():
    np.testing.assert_array_equal(photo.stored_pixels(encoded(LEVELS), 1), LEVELS[..., None])


TURNED = {  # EXIF orientation: by what an upright image becomes as it is stored
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.fliplr(np.rot90(pixels, -1)),
    6: lambda pixels: np.rot90(pixels, 1),
    7: lambda pixels: np.fliplr(np.rot90(pixels, 1)),
    8: lambda pixels: np.rot90(pixels, -1),
}
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_photo_is_turned_upright_once(kind, orientation):
    as_stored = np.ascontiguousarray(TURNED[orientation](PHOTO))
    file = encoded(as_stored, kind, exif=oriented(orientation), **LOSSLESS[kind])
    assert photo.orientation(file) == orientation
    np.testing.assert_array_equal(read(file), PHOTO)
    kept, size = stored(file)
    assert size == (40, 30)
    assert photo.orientation(kept) == 1
    np.testing.assert_array_equal(photo.stored_pixels(kept, 3), PHOTO)


def test_a_turned_jpeg_is_kept_upright_without_loss():
    kept, size = stored(encoded(PICTURE, "JPEG", exif=oriented(6)))
    plain = np.asarray(Image.open(io.BytesIO(encoded(PICTURE, "JPEG"))))
    assert size == (30, 40)
    np.testing.assert_array_equal(photo.stored_pixels(kept, 3), np.rot90(plain, -1))


def entry(tag, kind, count, value):
    return tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + count.to_bytes(4, "big") + value


def exif_of(*entries):
    return b"Exif\0\0MM\0*\0\0\0\x08\0" + bytes([len(entries)]) + b"".join(entries) + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (3, 1, b"\0\0\0\0"),
        (3, 1, b"\0\x09\0\0"),
        (2, 2, b"6\0\0\0"),
        (7, 4, b"\0\x06\0\0"),
        (11, 1, b"\x40\x20\0\0"),
        (5, 1, b"\0\0\0\0"),
        (99, 1, b"\0\x06\0\0"),
    ],
)
def test_an_orientation_that_is_none_is_upright(kind, count, value):
    file = encoded(PICTURE, "JPEG", exif=exif_of(entry(0x0112, kind, count, value)))
    assert photo.orientation(file) == 1
    assert stored(file) == (file, (40, 30))


@pytest.mark.parametrize(
    "broken",
    [
        entry(0x010F, 2, 500, b"\0\0\xff\0"),  # a text far behind the end
        entry(0x011A, 5, 1, b"\0\0\0\x08"),  # a fraction over the head
        entry(0x0110, 99, 1, b"\0\0\0\0"),  # of no type
        entry(0x8769, 3, 2, b"\xff\xff\xff\xff"),  # another table, of no place
    ],
)
def test_no_other_broken_tag_matters(broken):
    turn = entry(0x0112, 3, 1, b"\0\x06\0\0")
    exif = exif_of(*sorted([broken, turn]))
    for file in (encoded(PICTURE, "JPEG", exif=exif), encoded(PICTURE, exif=exif)):
        assert photo.orientation(file) == 6
        assert read(file).shape == (30, 40, 3)
    for part in range(8, len(exif), 3):  # cut anywhere, it says the turn or nothing
        assert photo.orientation(encoded(PICTURE, "JPEG", exif=exif[:part])) in (1, 6)


def test_what_is_stored_has_no_tags_that_pillow_warns_of():
    exif = exif_of(entry(0x011A, 5, 1, b"\0\0\xff\xff"))
    for file in (encoded(PICTURE, "JPEG", exif=exif), encoded(PICTURE, "JPEG", exif=exif[:20])):
        kept, _ = stored(file)  # a warning is an error
        np.testing.assert_array_equal(photo.stored_pixels(kept, 3), read(file))


def test_files_that_are_no_image():
    jpeg, png, postscript = (encoded(PICTURE, kind) for kind in ("JPEG", "PNG", "EPS"))
    broken = [jpeg[: len(jpeg) // 2], png[: len(png) // 2], jpeg[:2], png[:33], b"\0" * 1000]
    for file in (b"", b"text", b"GIF89a", b"<svg/>", b"BM for a text", postscript, *broken):
        with pytest.raises(UserError, match=r"^the file can't be read as an image"):
            read(file)
        with pytest.raises(UserError, match=r"^folder/a\.jpg: the file can't be read as an image"):
            stored(file)


@pytest.mark.parametrize(
    "values",
    [
        RAMP * 255,
        RAMP - 0.1,
        RAMP * np.nan,
        np.array([[0, 255]], np.uint16),
        np.array([[-1, 999], [0, 0]], np.int32),
    ],
)
def test_values_of_no_known_range_are_refused(values):
    message = f"values from {values.min():g} to {values.max():g}.*Save it with 8 bits"
    with pytest.raises(UserError, match=message):
        read(encoded(values, "TIFF"))


@pytest.mark.parametrize(("limit", "most"), [("PIXELS", 1000), ("SIDE", 30)])
def test_decompression_bombs(limit, most, monkeypatch):
    monkeypatch.setattr(photo, limit, most)
    with pytest.raises(UserError, match=f"expected .*{most} .*shrink it"):
        read(encoded(PICTURE))
    with pytest.raises(UserError, match="shrink it"):
        photo.stored_pixels(encoded(PICTURE), 3)


def test_pillows_own_limit_is_said_alike(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UserError, match="shrink it"):
        read(encoded(PICTURE))


def test_images_are_told_by_their_first_bytes():
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"] + ["AVIF"] * features.check("avif")
    for head in (*(encoded(PICTURE, kind)[:64] for kind in kinds), HEIC, APPLE, b"MM\0*"):
        assert photo.is_image(head)
    for head in (b"", b"BMW, Audi and other makes", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42",
                 b"%PDF-1.7", b"<?xml", b"PK\x03\x04", encoded(PICTURE, "EPS")[:64]):  # fmt: skip
        assert not photo.is_image(head)


HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"
APPLE = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEheic"
OTHER = b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif"


@pytest.mark.parametrize(
    ("file", "module", "message"),
    [
        (HEIC, "pillow_heif", "HEIC .* pip install pillow-heif. Or convert"),
        (APPLE, "pillow_heif", "HEIC .* pip install pillow-heif. Or convert"),
        (OTHER, "pillow_avif", "AVIF .* pip install pillow-avif-plugin. Or convert"),
    ],
)
def test_a_format_without_its_plug_in_says_which(file, module, message, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message):
        read(file)


def test_heic_is_read_where_the_plug_in_is(monkeypatch):
    class Opener(PngImagePlugin.PngImageFile):  # what follows the head is a PNG here
        format = "HEIF"

        def _open(self):
            self.fp = io.BytesIO(self.fp.read()[len(APPLE) :])
            super()._open()

    plug_in = types.ModuleType("pillow_heif")
    plug_in.register_heif_opener = lambda: monkeypatch.setitem(Image.OPEN, "HEIF", (Opener, None))
    monkeypatch.setitem(sys.modules, "pillow_heif", plug_in)
    np.testing.assert_array_equal(read(APPLE + encoded(PICTURE)), PHOTO)
    assert stored(APPLE + encoded(PICTURE))[1] == (40, 30)
