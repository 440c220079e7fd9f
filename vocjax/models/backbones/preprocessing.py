"""Pre-processing: bring an image's values into the range that a network was trained on."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vocjax.errors import UserError, check_choice

ORDERS = ("RGB", "BGR")
WHITES = (1, 255)
Values = tuple[float, float, float]


class Preprocessing(NamedTuple):
    """x' = (x * white - mean) * scale for each channel of x in [0, 1]; as a dict it is plain JSON.

    - `order`: of the channels that the network takes, "RGB" or "BGR";
    - `white`: the value of a pixel of 1 before the mean is subtracted, 1 or 255;
    - `mean` and `scale`: of the channels, in that order.
    """

    order: str
    white: float
    mean: Values
    scale: Values


class Given(NamedTuple):
    """What a user says of a preprocessing, (x * white - mean) / std.

    Without `order` that of the source stays. `white`, `mean` and `std` belong together: with any of
    them the others are 1, 0 and 1 unless given.
    """

    order: str | None = None
    white: float | None = None
    mean: Values | None = None  # of the channels, in the order of `order`
    std: Values | None = None

    def over(self, usual: Preprocessing) -> Preprocessing:
        """Return a source's preprocessing with what is given in its place; `UserError` if wrong."""
        order, white, mean, std = self
        check_choice("--channels", order or usual.order, ORDERS)
        if white is mean is std is None:
            turned = usual._replace(mean=_turned(usual.mean), scale=_turned(usual.scale))
            return usual if order in (None, usual.order) else turned._replace(order=order)
        white = 1.0 if white is None else white
        mean, std = mean or (0.0,) * 3, std or (1.0,) * 3
        check_choice("--scale", white, WHITES)
        if not all(0 < value < math.inf for value in std):
            raise UserError(f"--std is {_text(std)}; they must be greater than 0.")
        if not all(0 <= value <= white for value in mean):
            raise UserError(
                f"--mean is {_text(mean)}, and pixels are from 0 to {white:g} where it is "
                "subtracted. Give --scale 255 if the mean is that of values from 0 to 255."
            )
        red, green, blue = std
        return Preprocessing(order or usual.order, white, mean, (1 / red, 1 / green, 1 / blue))


def _turned(values: Values) -> Values:
    return values[2], values[1], values[0]


def _text(values: Values) -> str:
    return ",".join(f"{value:g}" for value in values)


TORCHVISION = Preprocessing(
    "RGB", 1.0, (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225)
)  # Gluon's, too
SYMMETRIC = Preprocessing("RGB", 255.0, (127.5,) * 3, (1 / 127.5,) * 3)  # to [-1, 1], Keras's "tf"
CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0,) * 3)  # Keras's "caffe"
IDENTITY = Preprocessing("RGB", 1.0, (0.0,) * 3, (1.0,) * 3)  # Darknet's


def apply(preprocessing: Preprocessing, images: jax.Array) -> jax.Array:
    """Pre-process images [batch, height, width, 3] float32 in [0, 1], red first.

    Raises `UserError` if they don't have three channels, and for an unknown `order`.
    """
    order, white, mean, scale = preprocessing
    check_choice("preprocessing.order", order, ORDERS)
    if images.shape[-1] != 3:
        raise UserError(
            f"images have {images.shape[-1]} channels, and pretrained weights need red, green and "
            "blue; set data.channels to 3."
        )
    if order == "BGR":
        images = images[..., ::-1]
    return (images * white - jnp.asarray(mean)) * jnp.asarray(scale)
