"""A loss or parameters that are not finite stop a run before they are saved."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from outcome import saved_state

from vocjax.data.pipeline import shuffled
from vocjax.errors import UserError
from vocjax.runs.reader import read_epochs
from vocjax.tasks import make_task
from vocjax.training.epoch import LOSSES_IN_FLIGHT
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.step import ORDER, draw_key

POISON = 3  # the row of the training image with a loss of NaN
STEPS = 10  # of one image, in an epoch: more than the loop has in flight


@pytest.fixture
def poisoned(arrays):
    """`poisoned(task)`: it with a loss of NaN for one image of `arrays`."""
    rows = np.arange(len(arrays.splits["train"].ids))
    batch = next(arrays.splits["train"].batches(iter([(rows, np.ones(len(rows)))])))
    image = np.asarray(batch["image"])[POISON].astype(np.float32) / 255

    def poison(task):
        def targets(batch):
            hit = (jnp.abs(batch["image"] - image) < 1e-3).all(axis=(1, 2, 3))
            return task.targets(batch) | {"hit": hit}

        def loss(outputs, targets):
            return jnp.where(targets["hit"], jnp.nan, task.loss(outputs, targets))

        return task._replace(targets=targets, loss=loss)

    return poison


def step_of(epoch):
    """The step, counted from 1, that sees the image in an epoch counted from 0."""
    assert LOSSES_IN_FLIGHT < STEPS
    order = shuffled(draw_key(jax.random.key(0), ORDER, epoch), STEPS)
    return epoch * STEPS + int(np.flatnonzero(np.asarray(order) == POISON)[0]) + 1


ONE_AT_A_TIME = {"epochs": 3, "batch_size": 1, "evaluate_every_epochs": 1}


def test_loss_that_is_not_finite_names_step_and_images(quick_run, poisoned, tmp_path):
    with pytest.raises(UserError) as refused:
        quick_run(tmp_path, change=poisoned, **ONE_AT_A_TIME)
    assert str(refused.value).startswith(
        f"the loss is nan at step {step_of(0)}; nothing was saved before. "
        f"The batch held train_{POISON}. "
    )
    assert read_epochs(tmp_path) == []
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not (tmp_path / "results.json").exists()


def test_loss_that_is_not_finite_later_names_the_last_good_checkpoint(
    quick_run, poisoned, signal_at, tmp_path
):
    signal_at({STEPS: (signal.SIGTERM,)})
    with pytest.raises(Interrupted):
        quick_run(tmp_path, **ONE_AT_A_TIME)
    for _ in range(2):  # the second time it goes on from the same checkpoint
        with pytest.raises(UserError, match=f"the loss is nan at step {step_of(1)}; ") as refused:
            quick_run(tmp_path, change=poisoned, **ONE_AT_A_TIME)
        assert f"the last good checkpoint is step {STEPS}. " in str(refused.value)
        assert f"The batch held train_{POISON}. " in str(refused.value)
        assert all(np.isfinite(x).all() for x in saved_state(tmp_path).values())
    assert [record["epoch"] for record in read_epochs(tmp_path)] == [1]


LOGISTIC = {"model.hidden": (), "model.head_init": "logistic"}


@pytest.mark.parametrize(
    ("name", "fields", "huge", "sentence"),
    [
        (
            "classifier_256",
            LOGISTIC,
            1e38,
            r"the code is not finite for 10 of 10 images, train_.* is",
        ),
        ("classifier_256", LOGISTIC, 1e10, "parameters are not finite .* params/head/Dense_0/"),
        ("autoencoder_256", {}, 1e38, "outputs on val are not finite before training, in code"),
        ("autoencoder_256", {"epochs": 1}, np.inf, "parameters are not finite .* params/encoder/"),
    ],
)
def test_weights_that_overflow_begin_no_run(name, fields, huge, sentence, tiny_config, tmp_path):
    config = tiny_config(name, **({"epochs": 0} | fields))
    task = make_task(config)

    def init(key):
        variables = task.init(key)
        encoder = jax.tree.map(lambda x: x * huge, variables["params"]["encoder"])
        return variables | {"params": variables["params"] | {"encoder": encoder}}

    with pytest.raises(UserError, match=sentence):
        train_and_evaluate(config, tmp_path / "run", task._replace(init=init))
    assert not (tmp_path / "run").exists()


def test_parameters_that_are_not_finite_are_not_saved(quick_run, tmp_path):
    """The only loss of the epoch is finite; what its step makes of the parameters is not."""
    huge = {"optimizer.name": "rmsprop", "optimizer.learning_rate": 3e38}
    with pytest.raises(UserError, match="the loss is finite at step 1, but the parameters") as bad:
        quick_run(tmp_path, batch_size=10, **huge)
    assert "nothing was saved before. The batch held train_" in str(bad.value)
    assert not list((tmp_path / "checkpoints").iterdir())
