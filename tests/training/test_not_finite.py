"""A loss or parameters that are not finite stop a run before they are saved."""

import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.data.pipeline import shuffled
from vocjax.errors import UserError
from vocjax.runs.reader import read_epochs
from vocjax.tasks import make_task
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import LOSSES_IN_FLIGHT, train_and_evaluate
from vocjax.training.records import Records
from vocjax.training.step import ORDER, draw_key


def poisoned(config, id_):
    """The config's task, with a loss of NaN for one image, which is known by its labels."""
    task = make_task(config)
    index = voc.load("toy", Path(config.data.data_dir)).index
    labels = index.labels[index.ids == id_]
    assert (index.labels[index.main == "train"] == labels).all(axis=1).sum() == 1

    def targets(batch):
        return task.targets(batch) | {"hit": (batch["labels"] == labels).all(axis=1)}

    def loss(outputs, targets):
        return jnp.where(targets["hit"], jnp.nan, task.loss(outputs, targets))

    return task._replace(targets=targets, loss=loss)


def batch_of(id_, epoch, config):
    """(step, ids) of the batch that holds an image in an epoch counted from 0."""
    index = voc.load("toy", Path(config.data.data_dir)).index
    ids = index.ids[index.main == "train"]
    order = shuffled(draw_key(jax.random.key(config.seed), ORDER, epoch), len(ids))
    batches = [ids[order[i : i + config.batch_size]] for i in range(0, len(ids), config.batch_size)]
    (number,) = (i for i, batch in enumerate(batches) if id_ in batch)
    return epoch * len(batches) + number + 1, batches[number]


POISON = "train_000000"


@pytest.fixture
def all_images_config(tiny_config):
    """24 images in 12 steps an epoch, more than the loop has in flight."""
    assert LOSSES_IN_FLIGHT < 12
    return tiny_config(
        "linear_autoencoder",
        epochs=3,
        batch_size=2,
        evaluate_every_epochs=1,
        **{"data.classes": ()},
    )


def test_loss_that_is_not_finite_names_step_and_images(all_images_config, tmp_path):
    step, ids = batch_of(POISON, 0, all_images_config)
    with pytest.raises(UserError) as refused:
        train_and_evaluate(all_images_config, tmp_path, poisoned(all_images_config, POISON))
    assert str(refused.value).startswith(
        f"the loss is nan at step {step}; nothing was saved before. "
        f"The batch held {', '.join(ids)}. "
    )
    assert read_epochs(tmp_path) == []
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not (tmp_path / "results.json").exists()


def test_loss_that_is_not_finite_later_names_the_last_good_checkpoint(
    all_images_config, monkeypatch, saved_state, tmp_path
):
    def log_and_stop(self, record, epochs, log=Records.epoch):
        log(self, record, epochs)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Records, "epoch", log_and_stop)
        train_and_evaluate(all_images_config, tmp_path, make_task(all_images_config))
    step, ids = batch_of(POISON, 1, all_images_config)
    for _ in range(2):  # the second time it goes on from the same checkpoint
        with pytest.raises(UserError, match=f"the loss is nan at step {step}; ") as refused:
            train_and_evaluate(all_images_config, tmp_path, poisoned(all_images_config, POISON))
        assert "the last good checkpoint is step 12. " in str(refused.value)
        assert f"The batch held {', '.join(ids)}. " in str(refused.value)
        assert all(np.isfinite(x).all() for x in saved_state(tmp_path).values())
    assert [record["epoch"] for record in read_epochs(tmp_path)] == [1]


def test_parameters_that_are_not_finite_are_not_saved(tiny_config, tmp_path):
    """The only loss of the epoch is finite; what its step makes of the parameters is not."""
    config = tiny_config(
        "linear_autoencoder",
        batch_size=10,
        **{"optimizer.name": "rmsprop", "optimizer.learning_rate": 3e38},
    )
    with pytest.raises(UserError, match="the loss is finite at step 1, but the parameters") as bad:
        train_and_evaluate(config, tmp_path)
    assert "nothing was saved before. The batch held train_" in str(bad.value)
    assert not list((tmp_path / "checkpoints").iterdir())
