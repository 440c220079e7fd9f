"""NumPy's `.npz`: a zip file of arrays."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy

from vocjax.pretrained.formats.numbers import check_announced, check_numeric, in_float32, nbytes

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises what zipfile and NumPy raise, or ValueError."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("it holds two arrays of the same name")
        check_announced((entry.file_size for entry in entries), path.stat().st_size)
        for entry in entries:
            with archive.open(entry) as file:
                _check_header(file, entry)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: in_float32(arrays[name]) for name in arrays.files}


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name; `np.savez` has no place for an array that is called "file"."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _check_header(file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Raise ValueError unless the entry is an array of numbers, and as large as its header says."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"{entry.filename!r} has format {version}, expected 1.0 or 2.0")
    shape, _, dtype = HEADERS[version](file)
    check_numeric(entry.filename, dtype)
    if min(shape, default=0) < 0 or nbytes(shape, dtype) != entry.file_size - file.tell():
        raise ValueError(
            f"{entry.filename!r} announces {shape} of {dtype} and has "
            f"{entry.file_size - file.tell()} bytes"
        )
