"""NumPy's `.npz`: a zip file of arrays."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from vocjax.bounds import read_arrays
from vocjax.pretrained.formats.numbers import in_float32


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises as `bounds.read_arrays` does."""
    return {name: in_float32(array) for name, array in read_arrays(path).items()}


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name; `np.savez` has no place for an array that is called "file"."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asanyarray(array), allow_pickle=False)
