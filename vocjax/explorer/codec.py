"""What the explorer's page asks of a latent space: numbers to a PNG, an image file to numbers.

A point of the page is a code in two parts: its coordinates along the principal directions, and the
residual, what of the code lies outside of them. The directions can't span more than the training
images do, so an image that was not among them has a residual, and its reconstruction needs it.
"""

import base64
import io
from collections.abc import Callable
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vocjax import losses
from vocjax.data.photo import read_photo
from vocjax.data.pipeline import resize_image
from vocjax.errors import UserError
from vocjax.latent import LatentSpace, coordinates, from_coordinates


class Encoded(TypedDict):
    """An image file as a point, ready for JSON.

    `coordinates` [directions] in standard deviations and `residual` [numbers] have six significant
    digits, `mse` is the reconstruction's for values in [0, 1], `input` is the image that the model
    saw, a PNG in base64.
    """

    coordinates: list[float]
    residual: list[float]
    mse: float
    input: str


class Codec(NamedTuple):
    """Compiled functions of a latent space.

    `share` [directions] is what each direction has of the codes' variance, `numbers` how many a
    code has; `decode` maps float32 coordinates [directions] and residual [numbers] to a PNG,
    `encode` the bytes of an image file to its point (`UserError` if it can't be read).
    """

    share: list[float]
    numbers: int
    decode: Callable[[np.ndarray, np.ndarray], bytes]
    encode: Callable[[bytes], Encoded]


def make_codec(space: LatentSpace, size: int, channels: int) -> Codec:
    """Compile a space's two halves for one image [size, size, channels] at a time.

    Raises `UserError` where the model's numbers aren't finite.
    """
    axes = space.axes

    @jax.jit
    def draw(point: jax.Array, residual: jax.Array) -> jax.Array:
        image = space.decode(from_coordinates(axes, point[None]) + residual[None])[0]
        return jnp.round(255 * image.clip(0, 1)).astype(jnp.uint8)

    @jax.jit
    def locate(pixels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        images = pixels[None].astype(jnp.float32) / 255
        code = space.encode(images)
        point = coordinates(axes, code)
        mse = losses.mse(space.decode(code), images)
        return point[0], (code - from_coordinates(axes, point))[0], mse[0]

    def decode(point: np.ndarray, residual: np.ndarray) -> bytes:
        return _png(np.asarray(draw(point, residual)))

    def encode(file: bytes) -> Encoded:
        pixels = resize_image(read_photo(io.BytesIO(file)), size, channels)
        point, residual, mse = jax.device_get(locate(pixels))
        if not all(np.isfinite(values).all() for values in (point, residual, mse)):
            raise UserError(
                "the model's numbers for this image aren't finite; its training may have diverged, "
                "or its codes are all the same: explore another run or checkpoint."
            )
        return {
            "coordinates": _rounded(point),
            "residual": _rounded(residual),
            "mse": float(mse),
            "input": base64.b64encode(_png(pixels)).decode("ascii"),
        }

    variance = np.asarray(axes.variance)
    if not variance.sum() > 0:
        raise UserError(
            "the codes of all training images are the same, so there is no direction to explore; "
            "take another run, with a lower optimizer.learning_rate for instance."
        )
    numbers = len(axes.mean)
    encode(_png(np.full((size, size, 3), 128, np.uint8)))  # compiles, so that nobody waits later
    decode(np.zeros(len(variance), np.float32), np.zeros(numbers, np.float32))
    return Codec((variance / variance.sum()).tolist(), numbers, decode, encode)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    grey = pixels.shape[-1] == 1
    Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
