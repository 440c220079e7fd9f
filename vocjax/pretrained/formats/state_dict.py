"""State dicts of torch, in the zip format and in the one that was usual before torch 1.6.

Formats: `torch/serialization.py`.
"""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vocjax.errors import UserError
from vocjax.pretrained.formats import pickled
from vocjax.pretrained.formats.numbers import decode, in_float32, itemsize, nbytes
from vocjax.pretrained.formats.pickled import Storage, Tensor

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of one number
BIG_ENDIAN = "its numbers are big-endian, expected little-endian"


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises what zipfile raises, or ValueError."""
    with zipfile.ZipFile(path) as archive:
        entries, size = archive.infolist(), path.stat().st_size
        # torch compresses nothing: a bomb would be compressed, or count some bytes twice.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, and torch's are not")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError(f"its entries announce more than the file's {size} bytes")
        (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        folder = name.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError(BIG_ENDIAN)
        tensors = _tensors(path, pickled.load(io.BytesIO(archive.read(name))))

        def read_storage(storage: Storage) -> bytes:
            return archive.read(f"{folder}data/{storage.key}")

        return _arrays(tensors, read_storage, size)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name of a file in the older format; raises as `read` does."""
    size, data = path.stat().st_size, {}
    with path.open("rb") as file:
        _, _, system, loaded, keys = (pickled.load(file) for _ in range(5))
        if system["little_endian"] is not True:
            raise ValueError(BIG_ENDIAN)
        tensors = _tensors(path, loaded)
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            announced = nbytes((count,), storages[key].dtype)
            if not 0 <= announced <= size - file.tell():
                raise ValueError(f"storage {key!r} announces {announced} bytes, more than follow")
            data[key] = file.read(announced)
    return _arrays(tensors, lambda storage: data[storage.key], size)


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, with shapes and strides of counts."""
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(f"it holds a {type(loaded).__name__}, expected a dict of tensors by name")
    others = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    for name in others:
        inner = loaded[name]
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            raise UserError(
                f"{path} is a checkpoint of training, with tensors under {name!r}. Expected a "
                "state dict, of tensors by name; if you trust the file, save that alone: "
                f"torch.save(torch.load(old)[{name!r}], new)."
            )
    if others:
        raise ValueError(f"{others[0]!r} is no tensor")
    for name, (_, offset, shape, strides) in loaded.items():
        counts = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in counts):
            raise ValueError(f"{name!r} has a shape, strides or an offset that are no counts")
    return loaded


def _arrays(
    tensors: dict[str, Tensor], read_storage: Callable[[Storage], bytes], available: int
) -> dict[str, np.ndarray]:
    """Return tensors as arrays, given a function that reads a storage's bytes."""
    announced = sum(nbytes(tensor.shape, tensor.storage.dtype) for tensor in tensors.values())
    if announced > available:
        raise ValueError(f"its tensors announce {announced} bytes, and the file has {available}")
    numbers: dict[Storage, np.ndarray] = {}
    for storage in {tensor.storage for tensor in tensors.values()}:
        data = read_storage(storage)
        if len(data) != storage.size * itemsize(storage.dtype):
            raise ValueError(
                f"storage {storage.key!r} has {len(data)} bytes, expected {storage.size} numbers "
                f"of {storage.dtype}"
            )
        numbers[storage] = decode(data, storage.dtype)
    return {
        name: in_float32(_view(name, numbers[tensor.storage], tensor))
        for name, tensor in tensors.items()
    }


def _view(name: str, numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return a tensor's view of its storage's numbers."""
    _, offset, shape, strides = tensor
    if 0 in shape:
        return np.zeros(shape, numbers.dtype)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if last >= len(numbers):
        raise ValueError(f"{name!r} reaches number {last} of a storage of {len(numbers)}")
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
