"""What the tests of all three tasks do with hand-made batches."""

import functools

import jax
import jax.numpy as jnp
import pytest

from vocjax.metrics import streaming


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
def measured():
    """`measured(task, outputs, batch)`: the task's metrics of one batch, by name."""

    def measure(task, outputs, batch):
        return task.summary(jax.device_get(task.metrics(outputs, batch)))

    return measure


@pytest.fixture
def baseline_measured():
    """`baseline_measured(task, name, train, test)`: its metrics after a fit to batches."""

    def measure(task, name, train, test):
        baseline = task.baselines[name]
        fitted = baseline.fit(iter(train))
        sums = [task.metrics(baseline.outputs(fitted, batch), batch) for batch in test]
        return task.summary(jax.device_get(functools.reduce(streaming.add, sums)))

    return measure
