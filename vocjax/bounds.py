"""What a file that somebody else made may cost, asked before the work is done.

Every reader of such files takes its limits from here: images, annotations, lists, weights, prepared
data sets, run directories. A file above them raises `ValueError` with what it has and the limit;
the reader says which file it is, and what to do.
"""

import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

TEXT = 64 << 20  # bytes of an annotation, a list or a JSON file; VOC's longest list has 2 MB
HEADER = 16 << 20  # bytes of a header of weights; a tensor takes about 100
IMAGE = 512 << 20  # bytes of an image file
ANNOTATION = 1 << 20  # bytes of the objects of an image; VOC's largest has 30 KB
DOWNLOAD = 8 << 30  # bytes of an archive or of weights; VOC 2012 has 2 GB
RECORDS = 1 << 20  # in a chunk of a prepared data set; TFDS writes one
SIDE = 65_535  # pixels; JPEG can't have more
PIXELS = 89_478_485  # of an image: 256 MiB with three channels, Pillow's own limit
SCANS = 100  # of a progressive JPEG, each of which passes all pixels; programs write about ten
EXPANSION = 20  # compression makes weights at most half as large, and a bomb a thousandth
ARRAYS = 2 << 30  # bytes of a run's arrays; a mask of one colour is compressed a thousand times
DIMENSIONS = 32
NESTED = 64  # levels of a JSON text; a config has four
LARGEST = 1 << 48  # of a dimension or a count of numbers: no file has as many
LONGEST = 1000  # letters of a name of a tensor, or of a part of it
PARTS = 100_000  # entries of an archive, groups of HDF5
NUMBERS = "fiub"  # NumPy's kinds: floating-point numbers, integers, booleans
TEXTS = "US"  # texts, as the ids of a run's images
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_bytes(path: Path, most: int = TEXT) -> bytes:
    """Return what a file holds, `most` bytes at most: a device has no size to ask for."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes, the most that is read")
    return content


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON text; `ValueError` also where it is nested too deep."""
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None
    level = [value]
    for _ in range(NESTED):
        groups = [v for v in level if isinstance(v, dict | list)]
        level = [v for g in groups for v in (g.values() if isinstance(g, dict) else g)]
    if level:
        raise ValueError(f"its JSON is nested too deep, expected {NESTED} levels at most")
    return value


def read_json(path: Path, most: int = TEXT) -> Any:
    """Return the value in a JSON file, UTF-8."""
    return parse_json(read_bytes(path, most).decode("utf-8"))


def count(shape: Sequence[Any], name: str = "an array") -> int:
    """Return how many numbers an array of a shape has, without multiplying what is too large."""
    if len(shape) > DIMENSIONS:
        raise ValueError(f"{name} has {len(shape)} dimensions, expected {DIMENSIONS} at most")
    if any(type(side) is not int or not 0 <= side <= LARGEST for side in shape):
        raise ValueError(f"{name} has a shape with something other than counts up to {LARGEST}")
    return math.prod(shape)


def nbytes(shape: Sequence[Any], dtype: np.dtype, name: str = "an array") -> int:
    """Return the bytes of an array, as a Python integer, which cannot overflow."""
    return count(shape, name) * dtype.itemsize


def check_announced(sizes: Iterable[int], available: int, least: int = 0) -> None:
    """Raise `ValueError` if a file of `available` bytes announces arrays that it can't hold.

    Up to `least` bytes it may announce in any case.
    """
    announced = sum(sizes)
    if announced > max(EXPANSION * available, least):
        raise ValueError(
            f"it announces arrays of {announced} bytes and has {available} bytes itself, "
            f"expected {EXPANSION} times as much at most"
        )


def check_archive(archive: zipfile.ZipFile, available: int, least: int = 0) -> None:
    """Raise `ValueError` for a zip file that may inflate to more than it announces, or too much.

    Of the methods that zipfile knows, bzip2 and LZMA inflate a whole block whatever is asked for.
    """
    entries = archive.infolist()
    if len(entries) > PARTS:
        raise ValueError(f"it has {len(entries)} entries, expected {PARTS} at most")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("it holds two entries of the same name")
    for entry in entries:
        if entry.flag_bits & 1:
            raise ValueError(f"its entry {entry.filename!r} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"its entry {entry.filename!r} is compressed by method {entry.compress_type}, "
                "expected deflate or none"
            )
    check_announced((entry.file_size for entry in entries), available, least)


def read_arrays(path: Path, kinds: str = NUMBERS, least: int = 0) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz by name; no entry is inflated before its header fits its size.

    Raises what zipfile and NumPy raise for damage, or `ValueError`: for a type that is not among
    NumPy's `kinds`, and for more than `check_announced` admits.
    """
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path.stat().st_size, least)
        for entry in archive.infolist():
            _check_array(archive, entry, kinds)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str) -> None:
    """Raise `ValueError` unless an entry is an array, as large as its header says."""
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename!r} has format {version}, expected 1.0 or 2.0")
        shape, _, dtype = _HEADERS[version](file)
        left = entry.file_size - file.tell()
    if dtype.kind not in kinds:
        raise ValueError(f"{entry.filename!r} has elements of type {dtype}, expected numbers")
    if nbytes(shape, dtype, repr(entry.filename)) != left:
        raise ValueError(f"{entry.filename!r} announces {shape} of {dtype} and has {left} bytes")
