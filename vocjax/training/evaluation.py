"""Metrics and kept arrays of a whole split, of a model or a baseline."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vocjax.data.pipeline import Batch, Examples, plan
from vocjax.mesh import replicated
from vocjax.tasks.task import Original, Outputs, Task, Variables
from vocjax.training.state import zeros_like
from vocjax.training.step import all_sums, as_float, make_eval_step, model_outputs, summarise

SHOWN = 8  # validation images whose pictures a run keeps


def first_batch(examples: Examples, batch_size: int, mesh: Mesh) -> Batch:
    """Return a batch of the first examples, to trace with."""
    rows = np.arange(min(batch_size, len(examples.ids)))
    return next(examples.batches(plan(rows, batch_size, mesh)))


def sums_shape(task: Task, variables: Variables, batch: Batch) -> Any:
    """Return the shapes of what `all_sums` gives, without computing anything."""

    def sums(variables: Variables, batch: Batch) -> Any:
        batch = as_float(batch)
        return all_sums(task, model_outputs(task)(variables, batch), batch)

    return jax.eval_shape(sums, variables, batch)


def make_evaluate(
    outputs_of: Callable[[Any, Batch], Outputs],
    task: Task,
    sums: Any,
    batch_size: int,
    mesh: Mesh,
) -> Callable[[Any, Examples], dict[str, float]]:
    """Return `evaluate(argument, examples)`: the loss and the metrics of a split, by name.

    `outputs_of(argument, batch)` gives a model's outputs of its variables, or a baseline's of its
    statistic; `sums` are the shapes of what is summed (`sums_shape`).
    """
    step = make_eval_step(outputs_of, task, mesh)
    zeros = jax.jit(lambda: zeros_like(sums), out_shardings=replicated(mesh))

    def evaluate(argument: Any, examples: Examples) -> dict[str, float]:
        total, collected = zeros(), []
        for rows, batch in _batches(examples, np.arange(len(examples.ids)), batch_size, mesh):
            total, arrays = step(argument, total, batch)
            collected.append((arrays, len(rows)))
        values = summarise(task, total)
        if task.whole is None:
            return values
        valid = [
            {name: array[:n] for name, array in arrays.items()}
            for arrays, n in jax.device_get(collected)
        ]
        return values | task.whole.summary(_concatenated(valid))

    return evaluate


def make_inspect(
    task: Task,
) -> Callable[[Variables, dict[str, Any]], tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Return `inspect(variables, fitted)`: {"model": values} and the arrays "model/NAME".

    Both are empty for a task that inspects nothing.
    """
    if task.inspect is None:
        return lambda variables, fitted: ({}, {})
    compiled = jax.jit(task.inspect)

    def inspect(
        variables: Variables, fitted: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values, arrays = jax.device_get(compiled(variables, fitted))
        return (
            {"model": {name: float(value) for name, value in values.items()}},
            {f"model/{name}": _host(array) for name, array in arrays.items()},
        )

    return inspect


def keep_samples(
    task: Task,
    variables: Variables,
    splits: dict[str, Examples],
    labels: dict[str, np.ndarray],
    batch_size: int,
    mesh: Mesh,
) -> dict[str, np.ndarray]:
    """Return the arrays that a report draws from.

    `SPLIT/ids`, `SPLIT/labels` [n, 20] and `SPLIT/NAME` for what the task keeps of every example;
    NAME alone for the pictures of `SHOWN` validation examples, spread evenly.
    """

    @jax.jit(out_shardings=replicated(mesh))
    def kept(variables: Variables, batch: Batch) -> tuple[Outputs, Outputs]:
        batch = as_float(batch)
        return task.keep(model_outputs(task)(variables, batch), batch)

    samples: dict[str, np.ndarray] = {}
    for split, examples in splits.items():
        n = len(examples.ids)
        shown = np.unique(np.linspace(0, n - 1, min(SHOWN, n)).astype(int))
        every: list[dict[str, np.ndarray]] = []
        some: list[dict[str, np.ndarray]] = []
        for rows, batch in _batches(examples, np.arange(n), batch_size, mesh):
            small, large = kept(variables, batch)
            every.append({k: _host(v)[: len(rows)] for k, v in small.items()})
            if split == "val" and (chosen := np.flatnonzero(np.isin(rows, shown))).size:
                some.append({k: _host(v)[chosen] for k, v in large.items()})
        samples[f"{split}/ids"], samples[f"{split}/labels"] = examples.ids, labels[split]
        samples |= {f"{split}/{name}": array for name, array in _concatenated(every).items()}
        if split == "val":
            samples |= _concatenated(some)
            samples["shown"] = shown
    return samples


def originals_of(
    task: Task, variables: Variables, splits: dict[str, Examples], batch_size: int, mesh: Mesh
) -> Callable[[str], Iterator[Original]]:
    """Return `originals(split)`, as a task's `score` takes it."""

    @jax.jit(out_shardings=replicated(mesh))
    def seen(variables: Variables, batch: Batch) -> tuple[Outputs, jax.Array]:
        return model_outputs(task)(variables, as_float(batch)), batch["image"]

    def originals(split: str) -> Iterator[Original]:
        examples = splits[split]
        assert examples.mask_of is not None  # only a task with masks scores them
        for rows, batch in _batches(examples, np.arange(len(examples.ids)), batch_size, mesh):
            outputs, images = jax.device_get(seen(variables, batch))
            for place, row in enumerate(rows):
                example = {"image": images[place], "mask": examples.mask_of(int(row))}
                yield {name: array[place] for name, array in outputs.items()}, example

    return originals


def _batches(examples: Examples, order: np.ndarray, batch_size: int, mesh: Mesh) -> Any:
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return zip(chunks, examples.batches(plan(order, batch_size, mesh)), strict=True)


def _concatenated(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _host(array: jax.Array | np.ndarray) -> np.ndarray:
    # Pictures need no more than half precision; codes and probabilities keep theirs.
    picture = array.ndim > 2 and array.dtype == jnp.float32
    return np.asarray(array).astype(np.float16) if picture else np.asarray(array)
