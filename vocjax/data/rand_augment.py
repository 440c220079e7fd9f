"""RandAugment on the device: some operations drawn from fourteen, all of one magnitude.

Cubuk et al. 2020, "RandAugment: practical automated data augmentation with a reduced search space".
Operations and ranges are torchvision's, the values of pixels those of Pillow, within rounding.
Images are [height, width, channels] float32 in [0, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.data.classes import VOID
from vocjax.data.frame import GREY

MOST = 30  # the magnitude at which an operation is strongest
SHEAR, SHIFT, TURN = 0.3, 150 / 331, np.pi / 6  # then: slope, share of a side, radians
CHANGE = 0.9  # of brightness, colour, contrast and sharpness
GEOMETRIC = 5  # operations that move pixels: two shears, two shifts, a turn
_LUMINANCE = (0.299, 0.587, 0.114)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def rand_augment(
    key: jax.Array, image: jax.Array, mask: jax.Array, operations: int, magnitude: float
) -> tuple[jax.Array, jax.Array]:
    """Apply some operations, each drawn anew from all, to an image and its mask [height, width].

    What comes in from outside is grey, and void.
    """
    for one in jax.random.split(key, operations):
        which_key, sign_key = jax.random.split(one)
        which = jax.random.randint(which_key, (), 0, GEOMETRIC + len(COLOURS))
        strength = magnitude / MOST
        signed = jnp.where(jax.random.bernoulli(sign_key), strength, -strength)
        image, mask = moved(image, mask, which, signed)
        branches = [lambda x, *_: x, *COLOURS]
        number = jnp.maximum(which - GEOMETRIC + 1, 0)
        image = jax.lax.switch(number, branches, image, strength, signed)
    return image.clip(0, 1), mask


def moved(
    image: jax.Array, mask: jax.Array, which: jax.Array, signed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Shear along x or y, shift along x or y, or turn, by `which`, 0 to 4; else nothing.

    The image is resampled bilinearly, the mask by its nearest pixel. `signed` is -1 to 1.
    """
    height, width = mask.shape
    angle = jnp.where(which == 4, signed * TURN, 0.0)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    shear = [jnp.where(which == i, signed * SHEAR, 0.0) for i in (0, 1)]
    shift = [
        jnp.where(which == i, jnp.trunc(signed * SHIFT * n), 0.0)
        for i, n in ((2, width), (3, height))
    ]
    # Where each pixel of the result comes from, seen from the middle of the image.
    y, x = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij"
    )
    rows = cosine * y + sine * x - shear[1] * x - shift[1] + (height - 1) / 2
    columns = cosine * x - sine * y - shear[0] * y - shift[0] + (width - 1) / 2
    inside = (rows > -0.5) & (rows < height - 0.5) & (columns > -0.5) & (columns < width - 0.5)
    sample = jax.vmap(
        lambda plane: jax.scipy.ndimage.map_coordinates(plane, [rows, columns], 1, "nearest"),
        in_axes=-1,
        out_axes=-1,
    )
    nearest = [
        jnp.rint(at).astype(int).clip(0, n - 1) for at, n in ((rows, height), (columns, width))
    ]
    return (
        jnp.where(inside[..., None], sample(image), GREY / 255),
        jnp.where(inside, mask[nearest[0], nearest[1]], VOID),
    )


def blended(image: jax.Array, other: jax.Array, signed: jax.Array) -> jax.Array:
    """Go from `other`, the image without a quality, to more of it than the image has."""
    return (other + (1 + CHANGE * signed) * (image - other)).clip(0, 1)


def grey_of(image: jax.Array) -> jax.Array:
    """Return the luminance [height, width, 1] of ITU-R BT.601."""
    return image if image.shape[-1] == 1 else (image @ jnp.array(_LUMINANCE))[..., None]


def brightness(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Darken or brighten."""
    return blended(image, jnp.zeros(()), signed)


def colour(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Change the saturation."""
    return blended(image, grey_of(image), signed)


def contrast(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Change the distance from the mean luminance."""
    return blended(image, grey_of(image).mean(), signed)


def sharpness(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Change the distance from the smoothed image; its outermost pixels stay."""
    height, width = image.shape[:2]
    inner = sum(
        _SMOOTH[i, j] * image[i : height - 2 + i, j : width - 2 + j] for i, j in np.ndindex(3, 3)
    )
    return blended(image, image.at[1:-1, 1:-1].set(inner), signed)


def posterize(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Keep 8 to 4 bits of each value."""
    step = 2.0 ** round(4 * strength)
    return jnp.floor(jnp.rint(255 * image) / step) * step / 255


def solarize(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Invert the values from a threshold on, which falls from 1 to 0."""
    return jnp.where(image >= 1 - strength, 1 - image, image)


def autocontrast(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Stretch the values of each channel to all of [0, 1]."""
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    wide = high > low
    return jnp.where(wide, (image - low) / jnp.where(wide, high - low, 1), image)


def equalize(image: jax.Array, strength: float, signed: jax.Array) -> jax.Array:
    """Make the values of each channel about equally frequent, as Pillow does."""

    def channel(values: jax.Array) -> jax.Array:
        counts = jnp.zeros(256, int).at[values.ravel()].add(1)
        last = 255 - jnp.argmax(counts[::-1] > 0)
        step = (counts.sum() - counts[last]) // 255
        before = jnp.cumsum(counts) - counts + step // 2
        table = jnp.where(step > 0, before // jnp.maximum(step, 1), jnp.arange(256))
        return table.clip(0, 255)[values]

    values = jnp.rint(255 * image).astype(int)
    return jax.vmap(channel, in_axes=-1, out_axes=-1)(values) / 255


Colour = Callable[[jax.Array, float, jax.Array], jax.Array]
# Of (image, strength 0 to 1, the same with a sign that is drawn).
COLOURS: tuple[Colour, ...] = (
    lambda image, strength, signed: image,
    brightness,
    colour,
    contrast,
    sharpness,
    posterize,
    solarize,
    autocontrast,
    equalize,
)
