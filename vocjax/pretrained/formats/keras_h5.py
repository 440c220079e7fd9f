"""Keras's HDF5 files: `.h5` of all versions, and Keras 3's `.weights.h5`, also within `.keras`.

Arrays are named "layer/weight", with Keras 2's name of the weight: "bn/moving_variance". Of a
network that is a layer of another one, its name stands before them: "resnet50/bn/moving_variance".

- Keras 1 wrote "conv1_W", "convolution2d_1_W" and, for the variance, "bn_running_std". Keras 3
  numbers a layer's weights in `.weights.h5`, and calls a depthwise kernel "kernel" in `.h5`.
- Keras numbers the layers that have no name of their own, conv2d_5 for instance, through the whole
  process. Here the numbers start from 0, so that models of any process and version agree.
"""

import io
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from vocjax.bounds import PARTS, check_announced, check_archive, nbytes
from vocjax.errors import UserError
from vocjax.pretrained.formats.numbers import check_numeric, in_float32

# Of the processor, that reading may take; a disk gives ten times as many bytes.
LEAST_SECONDS, BYTES_A_SECOND = 30, 5e6
WAIT = 20  # times as long on the clock, where other programs have the processor
IN_ARCHIVE = "model.weights.h5"
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
KERAS_1 = {
    "W": "kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # it was the variance
    "depthwise_kernel": "depthwise_kernel",
    "pointwise_kernel": "pointwise_kernel",
}
KERAS_1_LAYERS = {"convolution2d": "conv2d", "batchnormalization": "batch_normalization"}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
KERAS_3 = {  # by class of layer, in order
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
}
UNNAMED = re.compile(
    r"(conv2d|batch_normalization|convolution2d|batchnormalization)(?:_(\d{1,9}))?"
)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, or of the one in a `.keras` archive, by name.

    Raises what HDF5 and zipfile raise, ValueError, or `UserError`.
    """
    _check_ends(path)
    return read_here(path)


def read_here(path: Path) -> dict[str, np.ndarray]:
    """Return what `read` returns, without a look beforehand at whether the library ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if not is_archive:
        return _read(path, size)
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, size)
        return _read(io.BytesIO(archive.read(IN_ARCHIVE)), size)


def _check_ends(path: Path) -> None:
    """Raise `ValueError` where the HDF5 library finds no end in a damaged file, or crashes on it.

    A loop in C can't be stopped, so another process reads the file first.
    """
    program = (
        "import contextlib, pathlib, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)\n"
        "from vocjax.pretrained.formats import keras_h5\n"
        "with contextlib.suppress(Exception):\n"
        "    keras_h5.read_here(pathlib.Path(sys.argv[1]))"
    )
    seconds = math.ceil(LEAST_SECONDS + path.stat().st_size / BYTES_A_SECOND)
    endless = f"the HDF5 library finds no end in it within {seconds} s"
    found = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        tried = subprocess.run(
            # -P: no module of the current folder, where the file may lie.
            [sys.executable, "-P", "-c", program, str(path.absolute()), str(seconds)],
            env=os.environ | found,
            timeout=WAIT * seconds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(endless) from None
    if -tried.returncode in (signal.SIGXCPU, signal.SIGKILL):
        raise ValueError(endless)
    if tried.returncode < 0:
        raise ValueError(f"the HDF5 library ends with signal {-tried.returncode} on it")


def _read(source: Path | BinaryIO, available: int) -> dict[str, np.ndarray]:
    with h5py.File(source, "r") as file:
        if {"layers", "vars"} & set(file):
            found = list(_of_keras_3(file, ""))
        else:
            whole_model = "model_weights" in set(file)
            found = list(_listed(_member(file, "model_weights" if whole_model else "")))
        datasets = dict(found)
        if len(datasets) < len(found):
            raise UserError("it has two weights of the same name. Save the network alone.")
        for name, dataset in datasets.items():
            check_numeric(name, dataset.dtype)
        check_announced(map(_announced, datasets.values()), available)
        for name, dataset in datasets.items():
            _check_chunks(name, dataset)
        return _renumbered({name: in_float32(data[()]) for name, data in datasets.items()})


def _announced(dataset: h5py.Dataset) -> int:
    """Return the bytes that are allocated to read a dataset: a chunk may be larger than it."""
    chunk = nbytes(dataset.chunks or (), dataset.dtype)
    return max(nbytes(dataset.shape, dataset.dtype), chunk)


def _check_chunks(name: str, dataset: h5py.Dataset) -> None:
    """Raise `ValueError` where a chunk inflates to more than it holds: HDF5 inflates it whole."""
    if not dataset.chunks:
        return
    made = dataset.id.get_create_plist()
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    if set(filters) - FILTERS or filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        raise ValueError(f"{name!r} is packed by other filters than gzip")
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    if dataset.id.get_num_chunks() > PARTS:
        raise ValueError(f"{name!r} has more than {PARTS} chunks")
    places: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda chunk: places.append(chunk.chunk_offset))
    size = nbytes(dataset.chunks, dataset.dtype)
    for place in places:
        _, packed = dataset.id.read_direct_chunk(place)
        if len(zlib.decompressobj().decompress(packed, size + 1)) > size:
            raise ValueError(f"a chunk of {name!r} inflates to more than its {size} bytes")


def _member(group: Any, path: str) -> Any:
    """Return what is at a path in the file itself: a link could lead to any file."""
    for part in filter(None, path.split("/")):
        link = group.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            what = "missing" if link is None else f"a {type(link).__name__}"
            raise ValueError(f"{part!r} is {what}, expected a part of the file itself")
        group = group[part]
    return group


def _dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """Return the dataset at a path, whose numbers are in the file itself."""
    dataset = _member(group, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError(f"{path!r} is no array in the file itself")
    return dataset


def _listed(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Yield (name, dataset) from a group that lists its layers, which list their weights.

    A layer's weights are in one folder, whatever its name; those of a network are in many.
    """
    for layer in _texts(group, "layer_names"):
        weights = _member(group, layer)
        paths = _texts(weights, "weight_names")
        folders = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            dataset = _dataset(weights, path)
            inner = f"{path.rpartition('/')[0]}/" if len(folders) > 1 else ""
            yield f"{layer}/{inner}{_weight(path, dataset.shape)}", dataset


def _texts(group: h5py.Group, name: str) -> list[str]:
    """Return an attribute of texts; Keras cuts a long one into `name0`, `name1`, ..."""
    numbered = (f"{name}{i}" for i in itertools.count())
    listed = itertools.takewhile(group.attrs.__contains__, numbered)
    parts = [name] if name in group.attrs else list(listed)
    if not parts:
        raise UserError(
            f"it has no {name}, as the files of Keras have. Save it with Keras's save_weights, or "
            "its arrays as .npz or .safetensors."
        )
    texts = [text for part in parts for text in group.attrs[part]]
    return [text.decode() if isinstance(text, bytes) else text for text in texts]


def _weight(path: str, shape: tuple[int, ...]) -> str:
    """Return Keras 2's name of a weight: "gamma" for "bn/gamma:0", "kernel" for "conv1_W_1:0"."""
    weight = path.split("/")[-1].split(":")[0]
    if match := re.fullmatch(rf".*_({'|'.join(KERAS_1)})(?:_\d+)?", weight):
        return KERAS_1[match[1]]
    # No other layer of the networks here makes one channel from several.
    if weight == "kernel" and len(shape) == 4 and shape[2] > shape[3] == 1:
        return "depthwise_kernel"
    return weight


def _of_keras_3(
    group: h5py.Group, prefix: str, visited: Iterator[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield (name, dataset) from layers with numbered weights; the class of a layer names them.

    A network's layers lie in a group `layers` or, where they are attributes of it, beside its own
    weights, which are in `vars`.
    """
    visited = visited or itertools.count()
    for key in group:
        if next(visited) > PARTS:  # links can lead to the same groups again and again
            raise ValueError(f"it has more than {PARTS} groups")
        if key in ("vars", "optimizer", "seed_generator"):
            continue
        layer = _member(group, key)
        if not isinstance(layer, h5py.Group):
            continue
        variables = _member(layer, "vars") if "vars" in set(layer) else ()
        kind = re.sub(r"_\d+$", "", key)
        weights = KERAS_3.get(kind, ())
        if kind == "batch_normalization":
            weights = NORM if len(variables) == 4 else NORM[1:]  # Inception v3 has no scale
        name = variables.attrs.get("name", "") if isinstance(variables, h5py.Group) else key
        if not isinstance(name, str) or (weights and len(variables) and not name):
            raise UserError(
                f"its layer {key!r} has no name, as early versions of Keras 3 wrote it. Load the "
                "file with a newer one, and save it again."
            )
        names = dict(enumerate(weights))
        for number in variables:
            yield f"{prefix}{name}/{names.get(int(number), number)}", _dataset(variables, number)
        yield from _of_keras_3(
            layer, prefix if key == "layers" else f"{prefix}{name or key}/", visited
        )


def _renumbered(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Number the layers without a name of their own: conv2d, conv2d_1, conv2d_2, ..."""
    layers = {name.rpartition("/")[0] for name in arrays}
    made = {}
    for layer in layers:
        network, slash, last = layer.rpartition("/")
        if m := UNNAMED.fullmatch(last):
            made[layer] = (network + slash + KERAS_1_LAYERS.get(m[1], m[1]), int(m[2] or 0))
    new: dict[str, str] = {}
    for kind, same in itertools.groupby(sorted(made, key=made.__getitem__), lambda x: made[x][0]):
        new |= {layer: f"{kind}_{i}" if i else kind for i, layer in enumerate(same)}
    parts = {name: name.rpartition("/") for name in arrays}
    return {
        f"{new.get(layer, layer)}/{weight}": arrays[name]
        for name, (layer, _, weight) in parts.items()
    }
