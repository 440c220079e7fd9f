"""The runs that train in one program: a single one, or several along an axis of their own.

Several runs of one architecture, which differ in the seed and in `optimizers.NUMBERS`, have one
train state, the first axis of whose arrays counts the runs; `jax.vmap` makes their step of that of
a single run. A single run has no such axis.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vocjax.compilation import train_step_options
from vocjax.data.pipeline import Examples
from vocjax.errors import UserError
from vocjax.mesh import replicated
from vocjax.runs.checkpoints import Checkpoints
from vocjax.tasks.task import Batch, Variables
from vocjax.training.evaluation import (
    Evaluator,
    concatenated,
    evaluate_split,
    summarise,
)
from vocjax.training.optimizers import NUMBERS
from vocjax.training.phases import Phase, phase_optimizer
from vocjax.training.profile import Profile
from vocjax.training.records import Records
from vocjax.training.setup import Setup
from vocjax.training.step import TrainState, make_train_step, train_step

# The train state of a group, and a batch of each run, to the state and the runs' losses.
GroupStep = Callable[[TrainState, tuple[Batch, ...]], tuple[TrainState, jax.Array]]


class Member(NamedTuple):
    """A run, and where its side effects go."""

    setup: Setup
    checkpoints: Checkpoints
    records: Records


class Group(NamedTuple):
    """Runs that train in one program, and how those have ended that no longer train.

    `requested(step)` is the signal that asks for a stop. `ended` has, by the number of a run, its
    last state or the error that ended it: what is computed for this run from then on is ignored.
    `splits` has what a run is measured on at its end, with the features that are still its own.
    `profile` looks at some of the steps.
    """

    members: tuple[Member, ...]
    evaluator: Evaluator  # of all runs in one program
    requested: Callable[[int], int | None]
    ended: dict[int, TrainState | UserError]
    splits: dict[int, dict[str, Examples]]
    profile: Profile | None = None

    @property
    def setup(self) -> Setup:
        """What the runs share, among it the numbers of batches and of steps."""
        return self.members[0].setup

    @property
    def left(self) -> list[tuple[int, Member]]:
        """The runs that still train, with their numbers."""
        return [(i, m) for i, m in enumerate(self.members) if i not in self.ended]

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of one run as that of all."""
        return function if len(self.members) == 1 else jax.vmap(function)

    def join(self, trees: Sequence[Any]) -> Any:
        """Put a pytree of arrays of each run into one of all."""
        if len(self.members) == 1:
            return trees[0]
        return _programs(self.setup.mesh)[0](tuple(trees))

    def part(self, tree: Any, number: int) -> Any:
        """Return one run's part of what all have."""
        return tree if len(self.members) == 1 else _programs(self.setup.mesh)[1](tree, number)


@functools.cache
def _programs(mesh: Mesh) -> tuple[Callable[..., Any], Callable[..., Any]]:
    jit = functools.partial(jax.jit, out_shardings=replicated(mesh))
    return jit(stacked), jit(lambda tree, number: jax.tree.map(lambda x: x[number], tree))


def stacked(trees: tuple[Any, ...]) -> Any:
    """Stack pytrees of arrays along a new first axis."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees)


def step_of(state: TrainState) -> int:
    """Return the step of a state, which all runs of a group have in common."""
    return int(np.ravel(state.step)[0])


def make_group_step(group: Group, phase: Phase, number: int) -> GroupStep:
    """Return the step of a phase, number `number`, for all runs; the state given is donated."""
    config, task, mesh = group.setup.config, group.setup.valid.task, group.setup.mesh
    if len(group.members) == 1:
        one = make_train_step(task, group.setup.optimizers[number], phase, config, mesh)
        return lambda state, batches: one(state, batches[0])
    fields = [member.setup.config.optimizer for member in group.members]
    numbers = {name: jnp.array([of[name] for of in fields], jnp.float32) for name in NUMBERS}

    def step(numbers: dict[str, jax.Array], state: TrainState, batch: Batch) -> Any:
        optimizer = phase_optimizer(config, phase, group.setup.batches, numbers=numbers)
        return train_step(task, optimizer, phase, config)(state, batch)

    def steps(state: TrainState, batches: tuple[Batch, ...]) -> Any:
        return jax.vmap(step)(numbers, state, stacked(batches))

    jit = functools.partial(jax.jit, donate_argnums=0, compiler_options=train_step_options())
    return jit(steps, out_shardings=replicated(mesh))


def group_evaluator(evaluator: Evaluator, runs: int) -> Evaluator:
    """Return the evaluator that measures so many runs in one program."""
    if runs == 1:
        return evaluator
    jit = functools.partial(jax.jit, out_shardings=replicated(evaluator.mesh))

    def outputs(variables: Variables, batches: tuple[Batch, ...]) -> Any:
        return jax.vmap(evaluator.outputs)(variables, stacked(batches))

    def measure(sums: Any, outputs: Any, batches: tuple[Batch, ...]) -> Any:
        return jax.vmap(evaluator.measure)(sums, outputs, stacked(batches))

    def zeros() -> Any:
        return stacked((evaluator.zeros(),) * runs)

    measure = jit(measure, donate_argnums=0)
    return evaluator._replace(outputs=jit(outputs), measure=measure, zeros=jit(zeros))


def evaluate_group(
    group: Group, examples: Sequence[Examples], variables: Variables
) -> list[dict[str, float]]:
    """Return the metrics of each run on its examples, of a split that all share."""
    evaluator, runs = group.evaluator, len(group.members)
    if runs == 1:
        return [evaluate_split(evaluator, examples[0], variables).metrics]
    sums, rows, counts = evaluator.zeros(), [], []
    for joint in zip(*map(evaluator.batches, examples), strict=True):
        batches: Any = tuple(batch for _, batch in joint)
        measures = evaluator.measure(sums, evaluator.outputs(variables, batches), batches)
        sums = measures.sums
        rows.append(measures.rows)
        counts.append(len(joint[0][0]))
    sums, rows = jax.device_get((sums, rows))

    def metrics(number: int) -> dict[str, float]:
        own, parts = jax.tree.map(lambda x: x[number], (sums, rows))
        return summarise(evaluator.task, own, concatenated(list(zip(parts, counts, strict=True))))

    return [metrics(number) for number in range(runs)]
