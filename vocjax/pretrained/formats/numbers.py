"""Numbers as they lie in files: bytes to arrays, one precision, and sizes that can be true."""

import math
from collections.abc import Iterable

import numpy as np

BFLOAT16 = "bfloat16"  # a dtype that NumPy has not: the upper half of a float32
EXPANSION = 20  # compressed weights shrink to no less than half; a bomb a thousandfold


def itemsize(dtype: str) -> int:
    """Bytes of a number of a NumPy dtype or `BFLOAT16`."""
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def decode(data: bytes, dtype: str) -> np.ndarray:
    """Bytes to an array [numbers], of float32 if they are bfloat16."""
    if dtype == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, dtype)


def in_float32(array: np.ndarray) -> np.ndarray:
    """Floating-point numbers in float32, too large ones as infinity; others as they are."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def check_numeric(name: str, dtype: np.dtype) -> None:
    """Raise ValueError unless a dtype has plain numbers."""
    if dtype.kind not in "fiub":
        raise ValueError(f"{name!r} has elements of type {dtype}, expected numbers")


def check_announced(sizes: Iterable[int], available: int) -> None:
    """Raise ValueError if arrays of these bytes are more than a file of so many can hold."""
    announced = sum(sizes)
    if announced > EXPANSION * available:
        raise ValueError(
            f"it announces arrays of {announced} bytes and has {available} itself, "
            f"expected {EXPANSION} times as much at most"
        )


def nbytes(shape: tuple[int, ...], dtype: str | np.dtype) -> int:
    """Bytes of an array; Python's integers, so that nothing overflows."""
    size = itemsize(dtype) if isinstance(dtype, str) else dtype.itemsize
    return math.prod(shape) * size
