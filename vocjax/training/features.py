"""What the frozen part of a network computes of an image, once for all epochs of a phase."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from vocjax.data.pipeline import Examples, plan
from vocjax.errors import UserError
from vocjax.mesh import replicated, split_by_example
from vocjax.tasks.task import Batch, Variables
from vocjax.training.evaluation import Evaluator, place
from vocjax.training.phases import Phase, frozen_modules
from vocjax.training.step import TrainState, as_float, variables_of

MOST_BYTES = 4 * 2**30  # of the features of all splits; larger ones are computed in each step

Compute = Callable[[Variables, Batch], Any]  # as `tasks.task.FrozenFeatures.of` returns it


def phase_splits(
    evaluator: Evaluator,
    splits: dict[str, Examples],
    state: TrainState,
    phase: Phase,
    most: int = MOST_BYTES,
) -> tuple[dict[str, Examples], str]:
    """Return splits whose batches hold what a phase leaves as it is, if that can be kept.

    Return also a sentence about it. The parameters compute the features of train, since training
    continues from them, and their average, which is measured, those of val.
    """
    features = evaluator.task.features
    compute = features and features.of(frozen_modules(phase, state.params))
    if not features or not compute:
        return splits, ""
    variables = {
        "train": {"params": state.params, "batch_stats": state.batch_stats},
        "val": variables_of(state),
    }
    size = bytes_of(evaluator, splits, variables["val"], compute)
    what = f"the {features.name} of what is frozen: {size / 2**20:,.0f} MiB"
    if size > most:
        return splits, f"{what}, more than {most / 2**20:,.0f}, are computed in each step"
    held = {s: with_features(evaluator, splits[s], of, compute) for s, of in variables.items()}
    return held, f"{what}, were computed once"


def frozen_alike(state: TrainState, phase: Phase) -> bool:
    """Return whether what a phase freezes is the same in the parameters and in their average."""
    frozen = [phase.split(params)[1] for params in (state.params, state.average or state.params)]
    return jax.tree.all(jax.tree.map(np.array_equal, *frozen))


def bytes_of(
    evaluator: Evaluator, splits: dict[str, Examples], variables: Variables, compute: Compute
) -> int:
    """Return the bytes that the features of all examples of the splits take."""
    _, batch = next(evaluator.batches(next(iter(splits.values()))))
    shapes = jax.eval_shape(lambda v, b: compute(v, as_float(b)), variables, batch)
    each = sum(math.prod(x.shape[1:]) * x.dtype.itemsize for x in jax.tree.leaves(shapes))
    return each * sum(len(examples.ids) for examples in splits.values())


def with_features(
    evaluator: Evaluator, examples: Examples, variables: Variables, compute: Compute
) -> Examples:
    """Return examples whose batches hold the features that `compute` gives, computed once.

    They are under the name that the task's features have. Raises `UserError` where they are not
    finite.
    """
    assert evaluator.task.features is not None
    name, mesh = evaluator.task.features.name, evaluator.mesh
    features = place(_computed(evaluator, examples, variables, compute), mesh)

    @jax.jit(out_shardings=split_by_example(mesh))
    def take(features: Any, rows: np.ndarray) -> Any:
        return jax.tree.map(lambda x: x[rows], features)

    def batches(planned: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        ours, theirs = itertools.tee(planned)
        for (rows, _), batch in zip(ours, examples.batches(theirs), strict=True):
            yield batch | {name: take(features, rows)}

    return examples._replace(batches=batches)


def _computed(
    evaluator: Evaluator, examples: Examples, variables: Variables, compute: Compute
) -> Any:
    """Return the features [n, ...] of all examples, a pytree of NumPy arrays."""
    n, mesh = len(examples.ids), evaluator.mesh
    run = jax.jit(lambda v, b: compute(v, as_float(b)), out_shardings=replicated(mesh))
    finite, found = np.ones(n, bool), None
    planned = list(plan(np.arange(n), evaluator.batch_size, mesh))
    for (rows, valid), batch in zip(planned, examples.batches(iter(planned)), strict=True):
        part, held = jax.device_get(run(variables, batch)), valid > 0
        if found is None:  # a list of parts would take twice the memory when it is joined
            found = jax.tree.map(lambda x: np.empty((n, *x.shape[1:]), x.dtype), part)
        for whole, x in zip(jax.tree.leaves(found), jax.tree.leaves(part), strict=True):
            whole[rows[held]] = x[held]
            finite[rows[held]] &= np.isfinite(x[held]).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        assert evaluator.task.features is not None
        raise UserError(
            f"the {evaluator.task.features.name} is not finite for {(~finite).sum()} of {n} "
            f"images, {examples.ids[finite.argmin()]} is the first: what the encoder begins from "
            "overflows on them. Give init_from other weights, or import these with the --mean, "
            "--std, --scale and --channels that they were trained with."
        )
    return found
