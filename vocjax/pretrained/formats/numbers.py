"""What the readers share: one precision, numbers only, and sizes that a file can have."""

import math
from collections.abc import Iterable

import ml_dtypes
import numpy as np

from vocjax.errors import UserError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)  # the upper half of a float32; NumPy has no such type
EXPANSION = 20  # compression makes weights at most half as large, and a bomb a thousandth


def in_float32(array: np.ndarray) -> np.ndarray:
    """Convert floating-point numbers to float32, too large ones to infinity; keep other types."""
    if array.dtype.kind != "f" and array.dtype != BFLOAT16:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def nbytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the bytes of an array, as a Python integer, which cannot overflow."""
    return math.prod(shape) * dtype.itemsize


def check_numeric(name: str, dtype: np.dtype) -> None:
    """Raise `UserError` unless the elements are floating-point numbers, integers or booleans."""
    if dtype.kind not in "fiub":
        raise UserError(
            f"{name!r} has elements of type {dtype}. Expected numbers: save it without."
        )


def check_announced(sizes: Iterable[int], available: int) -> None:
    """Raise ValueError if a file of `available` bytes cannot hold arrays of these bytes."""
    announced = sum(sizes)
    if announced > EXPANSION * available:
        raise ValueError(
            f"it announces arrays of {announced} bytes and has {available} bytes itself, "
            f"expected {EXPANSION} times as much at most"
        )
