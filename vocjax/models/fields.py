"""What networks read from a config, and the checks of it."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def compute_dtype(config: ConfigDict) -> DTypeLike:
    """Return the computation's dtype by `config.precision`; parameters stay float32."""
    check_choice("precision", config.precision, DTYPES)
    return DTYPES[config.precision]


def image_shape(config: ConfigDict) -> tuple[int, int, int]:
    """Return (height, width, channels) of the config's images."""
    data = config.data
    return data.size, data.get("width", 0) or data.size, data.channels


def check_components(config: ConfigDict) -> int:
    """Return `model.components`; `UserError` unless it is 1 to the count of an image's numbers."""
    components, numbers = config.model.components, math.prod(image_shape(config))
    if not 1 <= components <= numbers:
        raise UserError(
            f"model.components is {components}; it must be at least 1 and at most {numbers}, the "
            "numbers in an image."
        )
    return components


def check_fields(model: ConfigDict, fields: Sequence[str]) -> None:
    """Raise `UserError` unless a config's `model` has only `fields` and its name."""
    known = {"name", *fields}
    if unknown := sorted(set(model) - known):
        raise UserError(
            f"the config has {', '.join(f'model.{field}' for field in unknown)}, which "
            f"{model.name} does not know; remove or rename: it takes {', '.join(sorted(known))}."
        )


def check_widths(field: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Return `widths`; `UserError` unless it is a tuple of one or more positive integers."""
    fits = isinstance(widths, tuple) and widths and all(type(w) is int and w > 0 for w in widths)
    if not fits:
        raise UserError(f"{field} is {widths!r}; it is a tuple of positive integers, (256, 128).")
    return tuple(widths)


def check_width(field: str, width: int) -> int:
    """Return `width`; `UserError` unless it is a positive integer."""
    if type(width) is not int or width < 1:
        raise UserError(f"{field} is {width!r}; it is a positive integer, 48.")
    return width


def check_poolable(size: int, stride: int, field: str = "data.size") -> None:
    """Raise `UserError` with the nearest valid sizes unless `stride`, 2 ** n, divides `size`.

    `field` is the config's field that has the size.
    """
    if size % stride or size < stride:
        below = size // stride * stride
        nearest = f"{below} or {below + stride}" if below > 0 else f"{stride}"
        raise UserError(
            f"{field}={size} can't be halved {stride.bit_length() - 1} times; the nearest sizes "
            f"that can are {nearest} (multiples of {stride})."
        )


def check_image_poolable(config: ConfigDict, stride: int) -> None:
    """Check height and width of a config's images by `check_poolable`."""
    height, width, _ = image_shape(config)
    check_poolable(height, stride)
    check_poolable(width, stride, "data.width" if config.data.width else "data.size")
