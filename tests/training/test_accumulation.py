"""Small batches update as one large batch does; a run stops and resumes between them."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from outcome import assert_same_outcome, saved_state

from vocjax.training.accumulation import accumulated, updates_in
from vocjax.training.interrupts import Interrupted

# 10 images; everything that counts updates: a cycle, a velocity, a moving average, two phases.
FIELDS = {
    "epochs": 2,
    "evaluate_every_epochs": 1,
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.5,
    "optimizer.arguments": (("momentum", 0.9), ("nesterov", True)),
    "optimizer.schedule": "warm_restarts",
    "optimizer.schedule_arguments": (("first", 2),),
    "optimizer.weight_decay": 0.01,
    "optimizer.clip_norm": 1.0,
    "optimizer.average_decay": 0.9,
    "optimizer.phases": ((0, ((".*", 1.0),)), (1, ((".*", 0.5),))),
}


# Batches of 3, 3, 3 and 1: an epoch ends with an update of one batch, which is padded.
SMALL = FIELDS | {"batch_size": 3, "optimizer.accumulate": 3}


@pytest.fixture(scope="module")
def small(quick_run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("accumulated") / "run"
    quick_run(workdir, **SMALL)
    return workdir


def test_equals_the_large_batch(small, quick_run, tmp_path):
    quick_run(tmp_path, batch_size=9, **FIELDS)
    ours, theirs = saved_state(small), saved_state(tmp_path)
    compared = [name for name in theirs if name.startswith(("params", "average", "opt_state"))]
    assert any(name.startswith("average") for name in compared)
    for name in compared:
        mine = ours[name.replace("opt_state", "opt_state/optimizer")]
        np.testing.assert_allclose(mine, theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert int(ours["opt_state/updates"]) == int(theirs["step"])
    assert int(ours["opt_state/batches"]) == 0


def test_resumes_between_the_batches_of_an_update_and_within_a_cycle(
    small, quick_run, signal_at, tmp_path
):
    signal_at(dict.fromkeys((2, 6), (signal.SIGTERM,)))
    for stop in (2, 6):
        with pytest.raises(Interrupted, match=f"step {stop} of 8 is saved"):
            quick_run(tmp_path, **SMALL)
    quick_run(tmp_path, **SMALL)
    assert_same_outcome(tmp_path, small)


def test_an_optimizer_gets_the_loss(quick_run, tmp_path):
    """Polyak's rate is the loss over the gradient's squared norm; `update` fails without it."""
    rate = {"optimizer.learning_rate": 1.0, "optimizer.schedule": "constant"}
    assert quick_run(tmp_path, **rate, **{"optimizer.name": "polyak_sgd"})["step"] == 4
    params, grads = {"a": jnp.zeros(2)}, {"a": jnp.array([3.0, 4.0])}
    optimizer = accumulated(optax.polyak_sgd(), every=2, batches=2, first_epoch=0)
    state = optimizer.init(params)
    for value, weight in ((2.0, 1.0), (6.0, 3.0)):  # the mean over the examples is 5
        updates, state = optimizer.update(grads, state, params, value=value, weight=weight)
    np.testing.assert_allclose(updates["a"], [-5 / 25 * 3, -5 / 25 * 4], rtol=1e-6)


def test_between_updates_the_parameters_stand_still():
    optimizer = accumulated(optax.adam(0.1), every=2, batches=3, first_epoch=4)
    params = {"a": jnp.ones(3)}
    state, moved, updates = optimizer.init(params), [], []
    update = jax.jit(optimizer.update)
    for step in range(6):
        new, state = update(params, state, params, value=jnp.float32(step), weight=jnp.float32(5))
        moved.append(bool(new["a"].any()))
        updates.append(int(state.updates))
    assert moved == [False, True, True, False, True, True]
    assert updates == [8, 9, 10, 10, 11, 12]
    assert updates_in(3, 2) == 2
