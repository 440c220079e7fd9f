"""What is known before a run's first step: simple baselines, and the features it begins with."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.pipeline import Batch, Examples, plan
from vocjax.mesh import replicated, split_by_example
from vocjax.runs import writer
from vocjax.runs.reader import read_json
from vocjax.tasks.task import Features, Task, Variables
from vocjax.training.evaluation import make_evaluate
from vocjax.training.setup import place, whole_batches
from vocjax.training.step import as_float

BASELINES, BEFORE = "baselines.json", "before.npz"

Splits = dict[str, Examples]


def with_features(
    examples: Examples, features: Features, variables: Variables, batch_size: int, mesh: Mesh
) -> Examples:
    """Return examples whose batches hold the features, too: computed here, once, and kept."""

    @jax.jit(out_shardings=replicated(mesh))
    def compute(variables: Variables, batch: Batch) -> Batch:
        return features.compute(variables, as_float(batch))

    @jax.jit(out_shardings=split_by_example(mesh))
    def take(arrays: Batch, rows: np.ndarray) -> Batch:
        return {name: array[rows] for name, array in arrays.items()}

    planned = list(plan(np.arange(len(examples.ids)), batch_size, mesh))
    parts = [compute(variables, batch) for batch in examples.batches(iter(planned))]
    # Where there are several devices every batch can be padded, and not only the last.
    kept = np.flatnonzero(np.concatenate([valid for _, valid in planned]))
    arrays = {name: jnp.concatenate([part[name] for part in parts])[kept] for name in parts[0]}

    def batches(planned: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        ours, theirs = itertools.tee(planned)
        for (rows, _), batch in zip(ours, examples.batches(theirs), strict=True):
            yield batch | take(arrays, rows)

    return examples._replace(batches=batches)


def all_with_features(
    splits: Splits, task: Task, variables: Variables, batch_size: int, mesh: Mesh
) -> Splits:
    """Return splits `with_features`, as they are for a task that has none."""
    if task.features is None:
        return splits
    return {
        name: with_features(examples, task.features, variables, batch_size, mesh)
        for name, examples in splits.items()
    }


def fit(task: Task, splits: Splits, batch_size: int, mesh: Mesh) -> dict[str, Any]:
    """Return what each baseline learns of the training split."""
    return {
        name: place(baseline.fit(whole_batches(splits["train"], batch_size, mesh)), mesh)
        for name, baseline in task.baselines.items()
    }


def is_measured(workdir: Path) -> bool:
    """Tell whether a run directory holds what `measure` writes."""
    return (workdir / BASELINES).is_file()


def measure(
    workdir: Path,
    config: ConfigDict,
    task: Task,
    splits: Splits,
    fitted: dict[str, Any],
    sums: Any,
    mesh: Mesh,
) -> None:
    """Write the baselines' metrics, and the features where there are any, into a run directory."""
    if task.features is not None:
        arrays = {}
        for split, examples in splits.items():
            held = list(whole_batches(examples, config.batch_size, mesh))
            arrays[f"{split}/code"] = np.concatenate(
                [np.asarray(batch["code"]).reshape(len(batch["code"]), -1) for batch in held]
            )
        writer.write_arrays(workdir / BEFORE, arrays)
    results: dict[str, Any] = {}
    for name, baseline in task.baselines.items():
        predict = make_evaluate(baseline.outputs, task, sums, config.batch_size, mesh)
        results[name] = {s: predict(fitted[name], examples) for s, examples in splits.items()}
    writer.write_json(workdir / BASELINES, results)


def read(workdir: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the baselines' metrics and the codes before training, {} where there are none."""
    path = workdir / BEFORE
    if not path.is_file():
        return read_json(workdir / BASELINES) or {}, {}
    with np.load(path) as arrays:
        return read_json(workdir / BASELINES) or {}, dict(arrays)
