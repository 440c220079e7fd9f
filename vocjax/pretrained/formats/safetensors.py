"""`.safetensors`: the length of a JSON header, the header, then the arrays' bytes.

Format: huggingface/safetensors, README.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vocjax.pretrained.formats.numbers import BFLOAT16, decode, in_float32, nbytes

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "<b1",
}


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises ValueError unless the header describes every byte once."""
    size, end, arrays = path.stat().st_size, 0, {}
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size - 8:
            raise ValueError(f"its header has {length} bytes, and {size - 8} follow")
        header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
        header.pop("__metadata__", None)
        entries = {name: _entry(name, entry) for name, entry in header.items()}
        for name, (dtype, shape, first, last) in sorted(entries.items(), key=lambda e: e[1][2:]):
            if first != end or last - first != nbytes(shape, dtype) or last > size - 8 - length:
                raise ValueError(
                    f"{name!r} announces {shape} of {dtype} from byte {first} to {last}; expected "
                    f"{nbytes(shape, dtype)} bytes from byte {end} on, of "
                    f"{size - 8 - length} in the file"
                )
            arrays[name] = in_float32(decode(file.read(last - first), dtype).reshape(shape))
            end = last
    if end != size - 8 - length:
        raise ValueError(f"its arrays have {end} bytes, and {size - 8 - length} follow the header")
    return arrays


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays by name."""
    header, end = {}, 0
    for name, array in arrays.items():
        offsets = [end, end + 4 * array.size]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        end = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array, "<f4").tobytes())


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("its header has two entries of one name")
    return dict(pairs)


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Return (dtype, shape, first byte, byte after the last), of the types that they must have."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(last)]}:
            if dtype in DTYPES and all(type(n) is int and n >= 0 for n in shape):
                return DTYPES[dtype], tuple(shape), first, last
    raise ValueError(
        f"the header's entry of {name!r} is {str(entry)[:200]}, expected a dtype of "
        f"{', '.join(DTYPES)}, a shape and two data_offsets"
    )
