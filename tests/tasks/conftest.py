"""What the tests of all three tasks do with hand-made batches."""

import functools

import jax
import jax.numpy as jnp
import pytest

from vocjax.metrics import streaming
from vocjax.training.step import mean_loss


def compiled(function):
    """`function(task, *arrays)`, compiled once a task and shape: step by step takes longer."""
    programs = {}

    def run(task, *arrays):
        if id(task) not in programs:  # the task is kept, so that its id stays its own
            programs[id(task)] = task, jax.jit(functools.partial(function, task))
        return programs[id(task)][1](*arrays)

    return run


@pytest.fixture
def padded():
    """`padded(outputs, batch)`: both with two more rows that are invalid, NaN where they can be."""

    def pad(tree):
        def rows(x):
            filler = jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else 1
            return jnp.concatenate([x, jnp.full((2, *x.shape[1:]), filler, x.dtype)])

        return jax.tree.map(rows, tree)

    def both(outputs, batch):
        wider = pad(batch)
        return pad(outputs), wider | {"valid": jnp.concatenate([batch["valid"], jnp.zeros(2)])}

    return both


@pytest.fixture
def loss_of():
    """`loss_of(task, outputs, batch)`: the losses [batch] of hand-made outputs."""
    return compiled(lambda task, outputs, batch: task.loss(outputs, task.targets(batch)))


@pytest.fixture
def mean_loss_of(loss_of):
    """`mean_loss_of(task, outputs, batch)`: their mean over the examples that have a weight."""
    return lambda task, outputs, batch: streaming.value(
        mean_loss(loss_of(task, outputs, batch), task.targets(batch))
    )


@pytest.fixture
def measures():
    """`measures(task, outputs, batch)`: sums, rows, kept and shown of one batch."""
    return compiled(lambda task, outputs, batch: task.measure(outputs, task.targets(batch)))


@pytest.fixture
def measured(measures):
    """`measured(task, outputs, batch)`: the task's metrics of one batch, by name."""
    return lambda task, outputs, batch: task.summary(
        jax.device_get(measures(task, outputs, batch).sums), {}
    )


@pytest.fixture
def baseline_measured(measures):
    """`baseline_measured(task, name, train, test)`: its metrics after a fit to batches."""

    def measure(task, name, train, test):
        baseline = task.baselines[name]
        fitted = baseline.fit(iter(train))
        outputs = jax.jit(baseline.outputs)
        sums = [measures(task, outputs(fitted, batch), batch).sums for batch in test]
        return task.summary(jax.device_get(functools.reduce(streaming.add, sums)), {})

    return measure
