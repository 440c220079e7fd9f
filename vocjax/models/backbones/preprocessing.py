"""Pre-processing: bring an image's values into the range that a network was trained on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vocjax.errors import UserError, check_choice

ORDERS = ("RGB", "BGR")
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
