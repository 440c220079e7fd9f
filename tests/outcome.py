"""What two runs are compared by: everything but what the clock says."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from vocjax.mesh import make_mesh, replicated
from vocjax.runs.checkpoints import FOLDER

OF_THE_CLOCK = ("seconds", "images_per_second")


def assert_same_outcome(run: Path, other: Path) -> None:
    """Assert that two finished runs are equal, bit for bit, in all but what the clock says."""
    assert read_metrics(run) == read_metrics(other)
    assert read_results(run) == read_results(other)
    with np.load(run / "samples.npz") as ours, np.load(other / "samples.npz") as theirs:
        assert_equal_arrays(dict(ours), dict(theirs))
    assert_equal_arrays(saved_state(run), saved_state(other))


def saved_state(workdir: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """Return a checkpoint, the newest without a step, by path."""
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
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


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
