"""RandAugment's operations against Pillow's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vocjax.data import rand_augment as ours
from vocjax.data.augment import augment
from vocjax.data.classes import VOID

NAMES = ("identity", "brightness", "colour", "contrast", "sharpness", "posterize", "solarize",
         "autocontrast", "equalize")  # fmt: skip


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    smooth = rng.normal(120, 30, (24, 32, 3)) + np.linspace(-40, 40, 32)[:, None]
    return smooth.clip(20, 230).astype(np.uint8)


def expected(name, picture, strength, signed):
    image, factor = Image.fromarray(picture), 1 + 0.9 * signed
    match name:
        case "identity":
            return image
        case "brightness":
            return ImageEnhance.Brightness(image).enhance(factor)
        case "colour":
            return ImageEnhance.Color(image).enhance(factor)
        case "contrast":
            return ImageEnhance.Contrast(image).enhance(factor)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(factor)
        case "posterize":
            return ImageOps.posterize(image, 8 - round(4 * strength))
        case "solarize":
            return ImageOps.solarize(image, int(np.ceil(255 * (1 - strength))))
        case "autocontrast":
            return ImageOps.autocontrast(image)
        case "equalize":
            return ImageOps.equalize(image)


@pytest.mark.parametrize(("strength", "signed"), [(0.3, 0.3), (0.8, -0.8)])
def test_values_are_those_of_pillow(picture, strength, signed):
    run = jax.jit(lambda x: [change(x, strength, jnp.float32(signed)) for change in ours.COLOURS])
    for name, found in zip(NAMES, run(picture.astype(np.float32) / 255), strict=True):
        theirs = np.asarray(expected(name, picture, strength, signed), np.float32)
        assert np.abs(255 * np.asarray(found) - theirs).max() <= 2, name


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("signed", [0.47, -0.93])
def test_image_and_mask_move_as_pillow_moves_them(which, signed):
    """Pillow's affine map by the nearest pixel, of numbered places."""
    height, width = 21, 31
    places = np.arange(height * width).reshape(height, width).astype(np.float32)
    image = jnp.asarray(places[..., None] / places.size)
    _, mask = ours.moved(image, jnp.asarray(places, jnp.int32) + 1000, which, jnp.float32(signed))
    angle = signed * np.pi / 6 if which == 4 else 0.0
    cosine, sine = np.cos(angle), np.sin(angle)
    shear_x, shear_y = (-0.3 * signed if which == i else 0.0 for i in (0, 1))
    shift = [
        np.trunc(signed * 150 / 331 * n) if which == i else 0 for i, n in ((2, width), (3, height))
    ]
    x, y = width / 2, height / 2
    a, b, d, e = cosine, -sine + shear_x, sine + shear_y, cosine
    matrix = (a, b, x - a * x - b * y - shift[0], d, e, y - d * x - e * y - shift[1])
    theirs = Image.fromarray(places).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=-1
    )
    theirs = np.asarray(theirs)
    found = np.where(np.asarray(mask) == VOID, -1, np.asarray(mask) - 1000)
    assert np.mean(found != theirs) < 0.02  # only where a place lies between two pixels
    if which == 5:
        np.testing.assert_array_equal(found, places)


def test_a_batch_is_augmented_with_its_masks(picture):
    images = jnp.asarray(np.stack([picture] * 12), jnp.float32) / 255
    masks = jnp.asarray(np.stack([picture[..., 0] % 20] * 12), jnp.uint8)
    run = jax.jit(
        functools.partial(
            augment,
            flips=False,
            crop_padding=0,
            zoom_share=0.0,
            colour=0.0,
            operations=(2, 9),
            erasing=0.5,
        )
    )
    found, moved = run(jax.random.key(0), images, masks)
    assert (found.shape, found.dtype, moved.dtype) == (images.shape, images.dtype, masks.dtype)
    assert np.all((found >= 0) & (found <= 1))
    assert len(np.unique(np.asarray(found).reshape(12, -1), axis=0)) > 9
    assert np.any(moved != masks) and np.any(np.all(np.asarray(moved) == masks, axis=(1, 2)))
