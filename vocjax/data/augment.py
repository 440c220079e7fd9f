"""Augmentation on the device: pure functions of a key, an image and its mask."""

import jax
import jax.numpy as jnp

from vocjax.data.classes import VOID
from vocjax.data.frame import GREY
from vocjax.data.mix import erase
from vocjax.data.rand_augment import rand_augment

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


def flip(key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mirror image [height, width, channels] and mask [height, width] in half of the cases."""
    mirrored = jax.random.bernoulli(key)
    return jnp.where(mirrored, image[:, ::-1], image), jnp.where(mirrored, mask[:, ::-1], mask)


def crop(
    key: jax.Array, image: jax.Array, mask: jax.Array, padding: int
) -> tuple[jax.Array, jax.Array]:
    """Pad by `padding` pixels on every side, and cut out a window of the original size.

    The image [height, width, channels] is padded by reflection, the mask [height, width] by void.
    """
    top, left = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    sides = (padding, padding)
    image_padded = jnp.pad(image, (sides, sides, (0, 0)), mode="reflect")
    mask_padded = jnp.pad(mask, (sides, sides), constant_values=VOID)
    return (
        jax.lax.dynamic_slice(image_padded, (top, left, 0), image.shape),
        jax.lax.dynamic_slice(mask_padded, (top, left), mask.shape),
    )


def zoom(
    key: jax.Array, image: jax.Array, mask: jax.Array, share: float
) -> tuple[jax.Array, jax.Array]:
    """Show a random window, whose height and width are each 1 - `share` to 1 of the image's.

    The image [height, width, channels] in [0, 1] is resampled by Lanczos, the mask [height, width]
    by its nearest pixel; both keep their size.
    """
    side_key, place_key = jax.random.split(key)
    sides = jax.random.uniform(side_key, (2,), minval=1 - share, maxval=1.0)
    shape = jnp.asarray(mask.shape, jnp.float32)
    corner = jax.random.uniform(place_key, (2,)) * (1 - sides) * shape
    window = jax.image.scale_and_translate(
        image, image.shape, (0, 1), 1 / sides, -corner / sides, method="lanczos3"
    )
    rows, columns = (
        jnp.floor(corner[axis] + (jnp.arange(n) + 0.5) * sides[axis]).astype(int).clip(0, n - 1)
        for axis, n in enumerate(mask.shape)
    )
    return window.clip(0, 1), mask[rows][:, columns]


def scale_and_cut(
    key: jax.Array,
    uncut: tuple[jax.Array, jax.Array, jax.Array],
    size: tuple[int, int],
    scales: tuple[float, float],
) -> tuple[jax.Array, jax.Array]:
    """Scale an image by a factor drawn between two, and cut out a window of `size` at random.

    `uncut` are the image [h, w, channels] in [0, 1], its mask [h, w] and its extent [2]: the image
    itself is the upper left part of the array, of this height and width. Where the window is larger
    than the scaled image, this lies in it at random, in grey and void. The image is resampled
    bilinearly, antialiased, the mask by its nearest pixel.
    """
    image, mask, extent = uncut
    scale_key, place_key = jax.random.split(key)
    scale = jax.random.uniform(scale_key, minval=scales[0], maxval=scales[1])
    corner = jax.random.uniform(place_key, (2,)) * (scale * extent - jnp.array(size))
    grey = GREY / 255
    window = jax.image.scale_and_translate(
        image - grey, (*size, image.shape[-1]), (0, 1), scale.repeat(2), -corner, method="linear"
    )
    rows, columns = (
        jnp.floor((corner[axis] + jnp.arange(n) + 0.5) / scale).astype(int)
        for axis, n in enumerate(size)
    )
    inside = jnp.outer((rows >= 0) & (rows < extent[0]), (columns >= 0) & (columns < extent[1]))
    rows, columns = (x.clip(0, n - 1) for x, n in zip((rows, columns), mask.shape, strict=True))
    window = jnp.where(inside[..., None], window + grey, grey).clip(0, 1)
    return window, jnp.where(inside, mask[rows][:, columns], VOID)


def colour_jitter(key: jax.Array, image: jax.Array, strength: float) -> jax.Array:
    """Scale brightness, contrast and saturation by up to 1 +- `strength` each.

    The image [height, width, channels] is in [0, 1]; one channel has no saturation to scale.
    """
    brightness, contrast, saturation = jax.random.uniform(
        key, (3,), minval=1 - strength, maxval=1 + strength
    )
    image = image * brightness
    image = (image - image.mean()) * contrast + image.mean()
    if image.shape[-1] == 3:
        grey = image @ jnp.asarray(_LUMINANCE)
        image = (image - grey[..., None]) * saturation + grey[..., None]
    return image.clip(0, 1)


def augment(
    key: jax.Array,
    images: jax.Array,
    masks: jax.Array,
    *,
    flips: bool,
    crop_padding: int,
    zoom_share: float,
    colour: float,
    operations: tuple[int, float] | tuple[()] = (),
    erasing: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Augment a batch, each example with its own random numbers; 0 and False turn a step off.

    Images [batch, height, width, channels] float32 in [0, 1] and masks [batch, height, width]
    uint8, 255 void, keep their shapes, dtypes and ranges.
    """

    def one(key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        flip_key, crop_key, zoom_key, colour_key = jax.random.split(key, 4)
        if flips:
            image, mask = flip(flip_key, image, mask)
        if crop_padding:
            image, mask = crop(crop_key, image, mask, crop_padding)
        if zoom_share:
            image, mask = zoom(zoom_key, image, mask, zoom_share)
        if operations:
            image, mask = rand_augment(jax.random.fold_in(key, 4), image, mask, *operations)
        if colour:
            image = colour_jitter(colour_key, image, colour)
        if erasing:
            image, mask = erase(jax.random.fold_in(key, 5), image, mask, erasing)
        return image, mask

    return jax.vmap(one)(jax.random.split(key, images.shape[0]), images, masks)
