"""What the readers share: one precision, and numbers only."""

import ml_dtypes
import numpy as np

from vocjax.bounds import NUMBERS
from vocjax.errors import UserError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)  # the upper half of a float32; NumPy has no such type


def in_float32(array: np.ndarray) -> np.ndarray:
    """Convert floating-point numbers to float32, too large ones to infinity; keep other types."""
    if array.dtype.kind != "f" and array.dtype != BFLOAT16:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def check_numeric(name: str, dtype: np.dtype) -> None:
    """Raise `UserError` unless the elements are floating-point numbers, integers or booleans."""
    if dtype.kind not in NUMBERS:
        raise UserError(
            f"{name!r} has elements of type {dtype}. Expected numbers: save it without."
        )
