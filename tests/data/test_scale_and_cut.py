"""Images at a random scale, of which a window is cut; and images that keep their aspect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vocjax.data import voc
from vocjax.data.augment import scale_and_cut
from vocjax.data.classes import VOID
from vocjax.data.frame import GREY, placed, within
from vocjax.data.pipeline import balanced, fit_image, fit_mask, open_examples, plan
from vocjax.mesh import make_mesh

FRAME, EXTENT, WINDOW, FIRST = 40, (30, 40), (24, 20), 1000


@pytest.fixture(scope="module")
def cut():
    """Windows [200, 24, 20] of an image that shows its own places, at scales of .5 to 2."""
    places = np.indices((FRAME, FRAME)).transpose(1, 2, 0)
    image = np.concatenate([(places + 0.5) / FRAME, np.ones((FRAME, FRAME, 1))], axis=-1)
    inside = (places < EXTENT).all(axis=-1)
    image = np.where(inside[..., None], image, GREY / 255).astype(np.float32)
    # A mask of more than 256 values, so that it names the place, and never void.
    mask = jnp.asarray(np.where(inside, FIRST + places @ [FRAME, 1], 9999))

    @jax.jit
    @jax.vmap
    def draw(key):
        return scale_and_cut(key, (image, mask, jnp.array(EXTENT)), WINDOW, (0.5, 2.0))

    return jax.device_get(draw(jax.random.split(jax.random.key(0), 200)))


def test_the_image_and_its_mask_show_the_same_places(cut):
    images, masks = cut
    void = masks == VOID
    places = np.stack(np.divmod(masks - FIRST, FRAME), axis=-1)
    assert not np.any(masks[~void] == 9999)
    # Away from void, where resampling a slope is exact, they differ by half a pixel at most.
    near = np.zeros_like(void)
    near[:, 2:-2, 2:-2] = ~np.any(
        [np.roll(void, (y, x), (1, 2)) for y in (-2, 0, 2) for x in (-2, 0, 2)], axis=0
    )[:, 2:-2, 2:-2]
    near &= np.all((places > 2) & (places < np.array(EXTENT) - 3), axis=-1)
    off = images[..., :2] * FRAME - 0.5 - places
    assert near.sum() > 20_000 and np.abs(off[near]).max() < 0.55


def test_scales_and_places_are_drawn_from_the_whole_range(cut):
    _, masks = cut
    scales = []
    for mask in masks:
        rows = (mask[mask != VOID] - FIRST) // FRAME
        height = np.any(mask != VOID, axis=1).sum()
        scales.append(height / (np.ptp(rows) + 1))
    assert 0.48 < min(scales) < 0.6 and 1.8 < max(scales) < 2.15
    columns = [np.ptp(np.flatnonzero(np.any(m != VOID, axis=0))) + 1 for m in masks]
    small = np.array(scales) * EXTENT[0] < WINDOW[0] - 1  # the whole image is in the window
    first = [
        int(np.any(m != VOID, axis=1).argmax()) for m, s in zip(masks, small, strict=True) if s
    ]
    assert min(columns) >= 19 and len(set(first)) > 4  # anywhere in it
    tops = {(int(m[0, 0]) - FIRST) // FRAME for m, s in zip(masks, scales, strict=True) if s > 1.5}
    assert len({top for top in tops if top >= 0}) > 8


def test_what_is_not_image_is_grey_and_void(cut):
    images, masks = cut
    assert np.any(masks == VOID)
    np.testing.assert_allclose(images[masks == VOID], GREY / 255, atol=1e-6)
    inner = images[..., 2][masks != VOID]
    assert np.mean(inner > 0.999) > 0.8 and inner.min() > 0.5  # only edges mix with the grey


def test_scale_one_of_an_image_as_large_as_the_window_changes_nothing():
    rng = np.random.default_rng(0)
    image, mask = rng.random((8, 8, 3), np.float32), rng.integers(0, 20, (8, 8)).astype(np.uint8)
    same = scale_and_cut(jax.random.key(0), (image, mask, jnp.array([8, 8])), (8, 8), (1.0, 1.0))
    np.testing.assert_allclose(same[0], image, atol=1e-6)
    np.testing.assert_array_equal(same[1], mask)


@pytest.mark.parametrize(
    ("size", "frame", "expected"),
    [((100, 50), (32, 32), (32, 16)), ((10, 40), (32, 64), (16, 64)), ((1, 999), (8, 8), (1, 8))],
)
def test_an_image_keeps_its_aspect_within_its_frame(size, frame, expected):
    assert within(size, frame) == expected
    shrunk = size if np.all(np.array(size) <= frame) else expected
    assert placed(size, frame, "shrunk") == shrunk
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 20, size, np.uint8)
    framed, void = fit_image(image, frame, 3, "pad"), fit_mask(mask, frame, "pad")
    height, width = expected
    alone = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(framed[:height, :width], alone)
    outside = np.ones(frame, bool)
    outside[:height, :width] = False
    assert np.all(framed[outside] == GREY)
    np.testing.assert_array_equal(void == VOID, outside)


def test_uncut_images_tell_their_extent(toy_dir):
    prepared, mesh, rows = voc.load("toy", toy_dir), make_mesh(), np.arange(6)
    longest = int(prepared.index.sizes[rows].max()) - 20
    examples = open_examples(prepared, rows, mesh, size=longest, channels=3, fit="shrunk")
    (batch,) = examples.batches(plan(rows, 6, mesh))
    for image, extent, size in zip(
        batch["image"], batch["extent"], prepared.index.sizes, strict=False
    ):
        expected = placed(tuple(map(int, size)), (longest, longest), "shrunk")
        assert tuple(extent.tolist()) == expected
        assert np.all(np.asarray(image)[expected[0] :] == GREY)


def test_balanced_classes_come_equally_often():
    present = np.zeros((400, 3), bool)
    present[:300, 0] = present[300:330, 1] = present[325:330, 2] = True  # 70 show none
    drawn = np.concatenate([balanced(jax.random.key(i), present) for i in range(40)])
    shares = present[drawn].mean(axis=0)
    # One draw of four is of each class; class 1 is also shown by the images of class 2.
    np.testing.assert_allclose(shares, [0.25, 0.25 + 0.25, 0.25 + 0.25 * 5 / 30], atol=0.015)
    np.testing.assert_array_equal(*(balanced(jax.random.key(7), present) for _ in range(2)))
