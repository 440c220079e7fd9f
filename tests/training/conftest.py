"""A run with everything random in it, and what two runs are compared by."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from vocjax.config import to_json
from vocjax.mesh import make_mesh, replicated
from vocjax.runs.checkpoints import FOLDER
from vocjax.training.loop import train_and_evaluate

OF_THE_CLOCK = ("seconds", "images_per_second")


@pytest.fixture(scope="session")
def random_config(tiny_config) -> Callable[..., ConfigDict]:
    """Segmentation with batch norm, dropout and augmentation: 4 epochs of 5, 5 and 2 images."""

    def load(**overrides: Any) -> ConfigDict:
        random = {
            "epochs": 4,
            "batch_size": 5,
            "model.encoder": (4, 4),
            "model.decoder": (4,),
            "model.norm": "batch",
            "model.dropout": 0.2,
            "data.augment.flip": True,
            "data.augment.crop_padding": 2,
        }
        return tiny_config("segmentation_dice", **(random | overrides))

    return load


@pytest.fixture(scope="session")
def uninterrupted(random_config, bare, made_once) -> Path:
    """The directory of `random_config`'s bare run, done in one go."""
    config = random_config()
    return made_once("random", lambda folder: train_and_evaluate(config, folder, bare(config)))


@pytest.fixture(scope="session")
def write_config() -> Callable[[ConfigDict, Path], Path]:
    """`write_config(config, folder)` is a config file for the command line."""

    def write(config: ConfigDict, folder: Path) -> Path:
        (folder / "config.json").write_text(to_json(config))
        path = folder / "config.py"
        path.write_text(
            "from pathlib import Path\n"
            "from vocjax.config import from_json\n"
            "def get_config():\n"
            "    return from_json(Path(__file__).with_suffix('.json').read_text())\n"
        )
        return path

    return write


@pytest.fixture(scope="session")
def saved_state() -> Callable[..., dict[str, np.ndarray]]:
    """`saved_state(workdir, step)` is a checkpoint, the newest without a step, by path."""

    def load(workdir: Path, step: int | None = None) -> dict[str, np.ndarray]:
        folder = (workdir / FOLDER).absolute()
        whole = (int(path.name) for path in folder.iterdir() if path.name.isdigit())
        path = folder / str(step or max(whole))
        sharding = replicated(make_mesh())
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            ocp.metadata(path).metadata,
        )
        state = ocp.load(path, shapes)
        state["key"] = jax.random.key_data(state["key"])
        leaves = jax.tree.leaves_with_path(state)
        return {
            jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves
        }

    return load


@pytest.fixture(scope="session")
def assert_same_outcome(saved_state) -> Callable[[Path, Path], None]:
    """Assert that two finished runs are equal, bit for bit, in all but what the clock says."""

    def check(run: Path, other: Path) -> None:
        assert read_metrics(run) == read_metrics(other)
        assert read_results(run) == read_results(other)
        with np.load(run / "samples.npz") as ours, np.load(other / "samples.npz") as theirs:
            assert_equal_arrays(dict(ours), dict(theirs))
        assert_equal_arrays(saved_state(run), saved_state(other))

    return check


def assert_equal_arrays(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name, strict=True)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in OF_THE_CLOCK} for line in lines]


def read_results(run: Path) -> dict[str, Any]:
    results = json.loads((run / "results.json").read_text())
    return {k: v for k, v in results.items() if k not in OF_THE_CLOCK}
