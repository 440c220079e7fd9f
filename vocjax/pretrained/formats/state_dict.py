"""State dicts of torch, alone or in a checkpoint: the zip format, and the one before version 1.6.

torchvision still publishes files of the older format, `vgg16-397923af.pth` for instance. An array
of a checkpoint is named by where it stands: "state_dict.conv1.weight" for `{"state_dict": {...}}`.
Formats: `torch/serialization.py`.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vocjax.bounds import LARGEST, LONGEST, check_announced, count, nbytes
from vocjax.errors import UserError
from vocjax.pretrained.formats import torch_pickle
from vocjax.pretrained.formats.numbers import in_float32
from vocjax.pretrained.formats.torch_pickle import Loaded, Tensor

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of one number
BIG_ENDIAN = "its numbers are big-endian. Expected little-endian: save it on another machine."
DEEPEST = 8  # dicts in dicts; a checkpoint has two or three


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name; raises what zipfile raises, ValueError for damage,
    or `UserError` for a sound file without weights."""
    with zipfile.ZipFile(path) as archive:
        entries, size = archive.infolist(), path.stat().st_size
        # torch compresses nothing: a bomb would be compressed, or count some bytes twice.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise UserError(
                "its entries are compressed, and torch's are not. Give the file that torch wrote."
            )
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError(f"its entries announce more than the file's {size} bytes")
        (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        folder = name.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise UserError(BIG_ENDIAN)
        tensors = _tensors(torch_pickle.load(io.BytesIO(archive.read(name))))
        return _arrays(tensors, lambda key: archive.read(f"{folder}data/{key}"), size)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name of a file in the older format; raises as `read` does."""
    size, data = path.stat().st_size, {}
    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(min(size, torch_pickle.LONGEST)))
        _, _, system, loaded, keys = (torch_pickle.load(pickles) for _ in range(5))
        if system.value["little_endian"] is not True:
            raise UserError(BIG_ENDIAN)
        tensors = _tensors(loaded)
        file.seek(pickles.tell())
        for key in keys.value:
            (count,) = struct.unpack("<q", file.read(8))
            announced = nbytes((count,), loaded.dtypes[key])
            if not 0 <= announced <= size - file.tell():
                raise ValueError(f"storage {key!r} announces {announced} bytes, more than follow")
            data[key] = file.read(announced)
    return _arrays(tensors, data.__getitem__, size)


def _tensors(loaded: Loaded) -> dict[str, Tensor]:
    """Return all tensors by where they stand; their shapes and strides are counts."""
    found = list(_named(loaded.value))
    tensors = dict(found)
    if not tensors:
        names = f", but {', '.join(map(repr, loaded.strange[:3]))}" if loaded.strange else ""
        raise UserError(
            f"it has no tensor by name{names}. Expected a state dict, perhaps with other things "
            "beside it: of a whole model, which is code, save model.state_dict()."
        )
    if len(tensors) < len(found):
        raise UserError(
            "it holds two tensors of the same name. Save the network's state dict alone."
        )
    for name, (_, offset, shape, strides) in tensors.items():
        count(shape, repr(name))
        if len(shape) != len(strides) or any(
            type(n) is not int or not 0 <= n <= LARGEST for n in (offset, *strides)
        ):
            raise ValueError(f"{name!r} has strides or an offset that are no counts")
    return tensors


def _named(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of a checkpoint's dicts, lists and tuples, each of them once."""
    left: list[tuple[tuple[str, ...], Any]] = [((), value)]
    seen = set()
    while left:
        path, value = left.pop()
        if isinstance(value, Tensor):
            if path:
                yield ".".join(path), value
        elif id(value) not in seen and len(path) < DEEPEST:
            seen.add(id(value))
            inner: Iterable[tuple[Any, Any]] = ()
            if isinstance(value, dict):
                inner = value.items()
            elif type(value) in (list, tuple):
                inner = enumerate(value)
            left += reversed([((*path, _short(name)), item) for name, item in inner])


def _short(name: Any) -> str:
    """Return a name as text; a long one would stand in those of all tensors below it."""
    if isinstance(name, str | bytes) and len(name) > LONGEST:
        raise ValueError(f"a name has {len(name)} letters, expected {LONGEST} at most")
    return str(name)[:LONGEST]


def _arrays(
    tensors: dict[str, Tensor], read_storage: Callable[[str], bytes], available: int
) -> dict[str, np.ndarray]:
    """Return tensors as arrays, given a function that returns a storage's bytes by its key.

    What two tensors share is read once; tensors that are the same, as tied weights, are one array.
    """
    apart = set(tensors.values())
    check_announced((nbytes(tensor.shape, tensor.storage.dtype) for tensor in apart), available)
    numbers = {}
    for storage in {tensor.storage for tensor in apart}:
        data = read_storage(storage.key)
        if len(data) != nbytes((storage.size,), storage.dtype):
            raise ValueError(
                f"storage {storage.key!r} has {len(data)} bytes, expected {storage.size} numbers "
                f"of {storage.dtype}"
            )
        numbers[storage] = np.frombuffer(data, storage.dtype)
    names = {tensor: name for name, tensor in tensors.items()}
    made = {t: in_float32(_view(names[t], numbers[t.storage], t)) for t in apart}
    return {name: made[tensor] for name, tensor in tensors.items()}


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
