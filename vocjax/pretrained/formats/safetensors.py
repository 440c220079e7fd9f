"""`.safetensors`, by the library of that name: it compares the header with the file's size."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from vocjax.bounds import HEADER, count, parse_json
from vocjax.errors import UserError
from vocjax.pretrained.formats.numbers import in_float32

DTYPES = (
    *("F64", "F32", "F16", "BF16"),
    *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"),
)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises SafetensorError, or `UserError` for another type."""
    _check_header(path)
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        for name in names:
            if (dtype := file.get_slice(name).get_dtype()) not in DTYPES:
                raise UserError(
                    f"{name!r} has elements of type {dtype}. Expected one of {', '.join(DTYPES)}: "
                    "save it as one of them."
                )
        return {name: in_float32(file.get_tensor(name)) for name in names}


def write(
    file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name, floating-point numbers as float32, and texts about them."""
    # The library writes an array's memory from its first number on, whatever the strides are.
    stored = {
        name: np.asarray(array, "<f4" if array.dtype.kind == "f" else None, order="C")
        for name, array in arrays.items()
    }
    file.write(save(stored, dict(metadata) if metadata else None))


def _check_header(path: Path) -> None:
    """Raise `ValueError` for a header that is too long, or has shapes that no array has."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > HEADER:
            raise ValueError(f"its header has {length} bytes, expected {HEADER} at most")
        header = parse_json(file.read(length))
    for name, facts in header.items() if isinstance(header, dict) else ():
        if isinstance(facts, dict) and isinstance(facts.get("shape"), list):
            count(facts["shape"], repr(name))
