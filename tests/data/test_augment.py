"""Augmentation moves image and mask together, by its key alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data.augment import augment, colour_jitter, crop, flip, zoom
from vocjax.data.classes import VOID

SIDE, PADDING = 6, 2
# Every pixel has its own number, and the image shows the mask's.
NUMBERS = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)


def draw_images(n=6, side=8, channels=3):
    rng = np.random.default_rng(0)
    images = rng.random((n, side, side, channels)).astype(np.float32)
    return images, rng.choice(np.array([0, 3, 20, VOID], np.uint8), (n, side, side))


@functools.cache
def augmenter(flips=True, crop_padding=2, zoom_share=0.3, colour=0.4):
    fields = {"flips": flips, "crop_padding": crop_padding, "zoom_share": zoom_share}
    return jax.jit(functools.partial(augment, colour=colour, **fields))


@functools.cache
def keys():
    return jax.random.split(jax.random.key(0), 200)


@pytest.fixture(scope="module")
def drawn():
    """Flips and crops of the numbered pixels: images [200, SIDE, SIDE] and masks of each."""
    mask, image = jnp.asarray(NUMBERS), jnp.asarray(NUMBERS[..., None], jnp.float32)

    @jax.jit
    @jax.vmap
    def draw(key):
        pairs = flip(key, image, mask), crop(key, image, mask, PADDING)
        return [(image[..., 0], mask) for image, mask in pairs]

    return jax.device_get(draw(keys()))


def test_flip_mirrors_image_and_mask_together_in_half_of_the_cases(drawn):
    images, masks = drawn[0]
    np.testing.assert_array_equal(images, masks)
    mirrored = np.all(masks == NUMBERS[:, ::-1], axis=(1, 2))
    np.testing.assert_array_equal(mirrored, ~np.all(masks == NUMBERS, axis=(1, 2)))
    assert 70 < mirrored.sum() < 130


def test_crop_moves_image_and_mask_together(drawn):
    images, masks = drawn[1]
    np.testing.assert_array_equal(images[masks != VOID], masks[masks != VOID])
    assert set(np.unique(images)) <= set(range(SIDE * SIDE))
    shifts = set()
    for image, mask in zip(images, masks, strict=True):
        rows, columns = np.nonzero(mask != VOID)
        top, left = rows.min(), columns.min()
        window = mask[top : rows.max() + 1, left : columns.max() + 1]
        y, x = divmod(int(window[0, 0]), SIDE)
        # What is inside is one window of the original, and void fills what lies beyond it.
        np.testing.assert_array_equal(
            window, NUMBERS[y : y + window.shape[0], x : x + window.shape[1]]
        )
        assert window.shape == (SIDE - abs(y - top), SIDE - abs(x - left))
        shifts.add((y - top, x - left))
        if (y - top, x - left) == (-1, 0):  # moved down by one: reflection fills the image
            np.testing.assert_array_equal(image[0], image[2])
    assert shifts == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_zoom_shows_image_and_mask_of_one_window_whose_sides_and_place_are_drawn():
    height, width = 20, 30
    places = np.indices((height, width)).transpose(1, 2, 0)
    image = jnp.asarray((places + 0.5) / [height, width], jnp.float32)
    mask = jnp.asarray(places @ [width, 1])
    images, masks = jax.jit(jax.vmap(lambda key: zoom(key, image, mask, 0.4)))(keys())
    by_row, by_column = np.divmod(masks, width)
    off = np.asarray(images) * [height, width] - np.stack([by_row, by_column], axis=-1) - 0.5
    assert np.abs(off)[:, 4:-4, 4:-4].max() < 0.55  # where the resampling of a slope is exact
    first, last = by_row[:, 0, 0], by_row[:, -1, 0]
    left, right = by_column[:, 0, 0], by_column[:, 0, -1]
    tall, wide = (last - first + 1) / height, (right - left + 1) / width
    for share in (tall, wide):
        assert 0.55 <= share.min() < 0.65 and 0.95 < share.max() <= 1
        assert share.mean() == pytest.approx(0.8, abs=0.05)
    assert abs(np.corrcoef(tall, wide)[0, 1]) < 0.3
    assert first.min() == 0 and last.max() == 19
    assert set(first[tall < 0.75]) >= {0, 2, 4, 6}  # anywhere in the image
    for mask in (by_row[:, :, 0], by_column[:, 0]):
        assert set(np.unique(np.diff(mask, axis=1))) == {0, 1}  # an even enlargement


def test_strength_zero_is_the_identity():
    images, masks = draw_images()

    @jax.jit
    def nothing(key, image, mask):
        return *zoom(key, image, mask, 0.0), colour_jitter(key, image, 0.0)

    zoomed, mask, jittered = nothing(jax.random.key(0), images[0], masks[0])
    np.testing.assert_allclose(zoomed, images[0], atol=1e-5)
    np.testing.assert_array_equal(mask, masks[0])
    np.testing.assert_allclose(jittered, images[0], atol=1e-6)
    off = augmenter(flips=False, crop_padding=0, zoom_share=0.0, colour=0.0)
    same_images, same_masks = off(jax.random.key(0), images, masks)
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_masks, masks)


def test_everything_at_once_keeps_shapes_types_and_ranges():
    def kinds(arrays):
        return [(array.shape, array.dtype) for array in arrays]

    grey, key = draw_images(channels=1), jax.random.key(0)
    assert kinds(jax.eval_shape(augmenter(), key, *grey)) == kinds(grey)
    images, masks = augmenter()(key, *draw_images())
    assert kinds((images, masks)) == kinds(draw_images())
    assert np.all((images >= 0) & (images <= 1))
    assert set(np.unique(masks)) <= {0, 3, 20, VOID}


def test_the_key_decides_alone_and_every_example_has_its_own_draw():
    images, masks = draw_images()
    first, again, other = (augmenter()(jax.random.key(k), images, masks) for k in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)
    alike = (np.repeat(array[:1], 6, axis=0) for array in (images, masks))
    augmented, _ = augmenter()(jax.random.key(0), *alike)
    assert len(np.unique(np.asarray(augmented).reshape(6, -1), axis=0)) == 6


def test_colour_jitter_stays_in_range_and_leaves_masks_alone():
    images, masks = draw_images()
    jitter = augmenter(flips=False, crop_padding=0, zoom_share=0.0, colour=0.9)
    jittered, same = jitter(jax.random.key(0), images, masks)
    assert np.all((jittered >= 0) & (jittered <= 1))
    assert np.all(np.any(jittered != images, axis=(1, 2, 3)))
    np.testing.assert_array_equal(same, masks)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_only_brightens_what_is_uniform_and_grey(channels):
    image = jnp.asarray(np.full((4, 4, channels), 0.5, np.float32))
    jittered = np.asarray(jax.jit(jax.vmap(lambda key: colour_jitter(key, image, 0.2)))(keys()))
    level = jittered[:, :1, :1, :1]
    np.testing.assert_allclose(jittered, np.broadcast_to(level, jittered.shape), atol=1e-6)
    assert 0.4 <= level.min() < 0.43
    assert 0.57 < level.max() <= 0.6
