"""Checkpoints of training are read for their tensors: what stands beside them never comes to be."""

import argparse
import collections
import datetime
import decimal
import enum
import io
import pickle
import sys
import types
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch_files as torch_
from drawn_weights import same

from vocjax.errors import UserError
from vocjax.pretrained.formats import read

RNG = np.random.default_rng(0)
STATE = {
    "conv1.weight": RNG.random((4, 3, 3, 3), np.float32),
    "bn1.weight": RNG.random(4, np.float32),
    "bn1.num_batches_tracked": np.asarray(3),
}


class Tensor:
    """A view of a flat array, as torch saves it."""

    def __init__(self, array, shape=None, strides=None, offset=0, rebuild="_rebuild_tensor_v2"):
        self.flat = array if array.ndim == 1 else array.ravel()
        self.shape = array.shape if shape is None else shape
        self.strides = strides or tuple(
            int(np.prod(self.shape[i + 1 :])) for i in range(array.ndim)
        )
        self.offset, self.rebuild = offset, rebuild


class Storage:
    def __init__(self, array):
        self.array = array


class Pickler(pickle.Pickler):
    """Python's own, with torch's way to save tensors."""

    def __init__(self, file, protocol, torch):
        super().__init__(file, protocol)
        self.torch, self.storages = torch, {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        key = str(self.storages.setdefault(id(value.array), (len(self.storages), value.array))[0])
        kind = {"f4": "Float", "f2": "Half", "i8": "Long"}[value.array.dtype.str[1:]]
        kind = getattr(self.torch, f"{kind}Storage")
        return ("storage", kind, key, "cuda:0", value.array.size)

    def reducer_override(self, value):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fi" and value.base is None:
            value = Tensor(value)
        if not isinstance(value, Tensor):
            return NotImplemented
        utils, hooks = self.torch._utils, collections.OrderedDict()
        if value.rebuild == "_rebuild_from_type_v2":
            again = self.reducer_override(Tensor(value.flat))
            return self.torch._tensor._rebuild_from_type_v2, (again[0], Tensor, again[1], {})
        view = (Storage(value.flat), value.offset, value.shape, value.strides, False, hooks)
        if value.rebuild == "_rebuild_tensor_v2":
            return utils._rebuild_tensor_v2, view
        return getattr(utils, value.rebuild), (Tensor(value.flat), True, hooks, {})


@pytest.fixture
def save(tmp_path, monkeypatch):
    """`save(value, protocol)`: a file in torch's zip format; no module of torch stays."""

    def save(value, protocol=2):
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        torch._utils, torch._tensor = utils, types.ModuleType("torch._tensor")
        rebuilds = ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
        for module, names in (
            (torch, ("FloatStorage", "HalfStorage", "LongStorage")),
            (utils, rebuilds),
            (torch._tensor, ("_rebuild_from_type_v2",)),
        ):
            for name in names:
                setattr(module, name, type(name, (), {"__module__": module.__name__}))
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torch", torch)
            patch.setitem(sys.modules, "torch._utils", utils)
            patch.setitem(sys.modules, "torch._tensor", torch._tensor)
            file = io.BytesIO()
            pickler = Pickler(file, protocol, torch)
            pickler.dump(value)
        arrays = {str(key): array for key, array in pickler.storages.values()}
        return torch_.write_zip(tmp_path / "a.ckpt", file.getvalue()[2:-1], arrays)

    return save


class Own(collections.OrderedDict):
    """A class that a reader does not have."""


class Kind(enum.Enum):
    A = 1


BESIDE = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, data=Path("/data"), nested=argparse.Namespace(a=[1])),
    "best_acc1": np.float64(76.1),
    "history": [np.float32(0.5), {"loss": 0.25, "deep": (None, True, b"bytes", 1 << 80)}],
    "when": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "kinds": {Kind.A, Kind.A}, "frozen": frozenset({1, 2}), "callbacks": {Own: {"a": 1}},
    "decimal": decimal.Decimal("1.5"), "complex": 1j, "range": range(3), "id": uuid.UUID(int=5),
    "default": collections.defaultdict(list, a=[1]), "bytes": bytearray(b"abc"),
    "hyper_parameters": Own(backbone=types.SimpleNamespace(depth=3), optimizer=Own),
    "rng": (3, (1, 2, 3), None), "none": None, "text": "\u00e9" * 300,
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_are_found_whatever_stands_beside_them(save, protocol, monkeypatch):
    momenta = {0: {"step": 5, "exp_avg": STATE["conv1.weight"]}, 1: {"step": 5}}
    optimizer = {"state": momenta, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    value = {**BESIDE, "state_dict": STATE, "optimizer": optimizer, "ema": Own(module=Own(STATE))}
    path = save(value, protocol)
    monkeypatch.setattr("pickle.loads", None)
    monkeypatch.setattr("pickle.Unpickler", None)
    found = read(path)
    state = {f"state_dict.{name}": array for name, array in STATE.items()}
    same({name: array for name, array in found.items() if name in state}, state)
    ema = {f"ema.module.{name}": array for name, array in STATE.items()}
    same({name: array for name, array in found.items() if name not in state}, ema)


def test_no_module_that_a_checkpoint_names_is_imported(save, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\nclass Config: pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import theirs

    path = save({"state_dict": STATE, "config": theirs.Config(), "class": theirs.Config})
    (tmp_path / "ran").unlink()
    monkeypatch.delitem(sys.modules, "theirs")
    assert len(read(path)) == len(STATE)
    assert not (tmp_path / "ran").exists() and "theirs" not in sys.modules


def test_a_state_dict_of_another_class_and_in_a_tuple(save):
    path = save((Own(STATE), 3, BESIDE))
    same(read(path), {f"0.{name}": array for name, array in STATE.items()})


@pytest.mark.parametrize(
    "rebuild",
    ["_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_from_type_v2"],
)
def test_parameters_are_tensors(save, rebuild):
    array = RNG.random(6, np.float32)
    same(read(save({"a": Tensor(array, rebuild=rebuild)})), {"a": array})


def test_views_of_a_storage_with_offsets_and_strides(save):
    flat = np.arange(24, dtype=np.float32)
    half = flat.astype(np.float16)
    tensors = {
        "part": Tensor(flat, (2, 3), (3, 1), 6),
        "transposed": Tensor(flat, (3, 2), (1, 3), 6),
        "every second": Tensor(flat, (4,), (6,), 1),
        "expanded": Tensor(flat, (5, 3), (0, 1), 3),
        "half": Tensor(half, (2, 2), (2, 1), 4),
    }
    expected = {
        "part": flat[6:12].reshape(2, 3),
        "transposed": flat[6:12].reshape(2, 3).T,
        "every second": flat[1::6],
        "expanded": np.tile(flat[3:6], (5, 1)),
        "half": flat[4:8].reshape(2, 2),
    }
    same(read(save(tensors)), expected)


def test_tied_weights_count_once(save):
    tied = RNG.random((100, 100), np.float32).astype(np.float16)
    flat = tied.ravel()
    tensors = {f"layer{i}.weight": Tensor(flat, (100, 100), (100, 1)) for i in range(100)}
    found = read(save(tensors))
    assert len(found) == 100 and len({id(array) for array in found.values()}) == 1
    np.testing.assert_array_equal(found["layer7.weight"], tied.astype(np.float32))
    views = {f"layer{i}.weight": Tensor(flat, (100, 100), (100, 1 + i)) for i in range(100)}
    small = {"a": Tensor(flat, (100, 100), (0, 1))} | views
    with pytest.raises(UserError, match="announces arrays of"):
        read(save(small))
