"""State dicts of torch: the zip format, and the one that torch wrote before version 1.6.

torchvision still publishes files of the older format, `vgg16-397923af.pth` for instance.
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
from vocjax.pretrained.formats import torch_pickle
from vocjax.pretrained.formats.numbers import in_float32, nbytes
from vocjax.pretrained.formats.torch_pickle import Storage, Tensor

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
        tensors = _tensors(path, torch_pickle.load(io.BytesIO(archive.read(name))))
        return _arrays(tensors, lambda key: archive.read(f"{folder}data/{key}"), size)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name of a file in the older format; raises as `read` does."""
    size, data = path.stat().st_size, {}
    with path.open("rb") as file:
        _, _, system, loaded, keys = (torch_pickle.load(file) for _ in range(5))
        if system["little_endian"] is not True:
            raise ValueError(BIG_ENDIAN)
        tensors = _tensors(path, loaded)
        dtypes = {storage.key: storage.dtype for storage, *_ in tensors.values()}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            announced = nbytes((count,), dtypes[key])
            if not 0 <= announced <= size - file.tell():
                raise ValueError(f"storage {key!r} announces {announced} bytes, more than follow")
            data[key] = file.read(announced)
    return _arrays(tensors, data.__getitem__, size)


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, whose shapes and strides are counts."""
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(f"it holds a {type(loaded).__name__}, expected a dict of tensors by name")
    others = {name: value for name, value in loaded.items() if not isinstance(value, Tensor)}
    for name, inner in others.items():
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            raise UserError(
                f"{path} is a checkpoint of training, with tensors under {name!r}. Expected a "
                "state dict, of tensors by name; if you trust the file, save that alone: "
                f"torch.save(torch.load(old)[{name!r}], new)."
            )
    if others:
        raise ValueError(f"{next(iter(others))!r} is no tensor")
    for name, (_, offset, shape, strides) in loaded.items():
        counts = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in counts):
            raise ValueError(f"{name!r} has a shape, strides or an offset that are no counts")
    return loaded


def _arrays(
    tensors: dict[str, Tensor], read_storage: Callable[[str], bytes], available: int
) -> dict[str, np.ndarray]:
    """Return tensors as arrays, given a function that returns a storage's bytes by its key."""
    announced = sum(nbytes(tensor.shape, tensor.storage.dtype) for tensor in tensors.values())
    if announced > available:
        raise ValueError(f"its tensors announce {announced} bytes, and the file has {available}")
    numbers: dict[Storage, np.ndarray] = {}
    for storage in {tensor.storage for tensor in tensors.values()}:
        data = read_storage(storage.key)
        if len(data) != nbytes((storage.size,), storage.dtype):
            raise ValueError(
                f"storage {storage.key!r} has {len(data)} bytes, expected {storage.size} numbers "
                f"of {storage.dtype}"
            )
        numbers[storage] = np.frombuffer(data, storage.dtype)
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
