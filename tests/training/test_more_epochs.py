"""A run that is given more epochs ends as one that had them from its beginning, or is refused."""

import json
import shutil
import signal

import optax
import pytest
from outcome import assert_same_outcome

from vocjax.errors import UserError
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate


def test_more_epochs_equal_those_from_the_beginning(
    random_config, bare, uninterrupted, signal_at, tmp_path
):
    def train(epochs):
        config = random_config(epochs=epochs)
        return train_and_evaluate(config, tmp_path, bare(config))

    assert train(2)["epoch"] == 2
    signal_at({2: (signal.SIGTERM,)})
    with pytest.raises(Interrupted, match="step 8 of 12 is saved"):
        train(4)
    assert not (tmp_path / "results.json").exists()  # which were those of two epochs
    assert train(4)["epoch"] == 4
    assert_same_outcome(tmp_path, uninterrupted)
    for name in ("config.json", "baselines.json"):
        assert (tmp_path / name).read_text() == (uninterrupted / name).read_text()
    starts = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert [start.get("changed") for start in starts] == [None, ["epochs: 2 -> 4"], None]
    with pytest.raises(UserError, match=r"epochs=4, which can't become 2: .* more epochs, not few"):
        train(2)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("linear_autoencoder", {"epochs": 3}, "optimizer.schedule 'cosine' the learning rate of"),
        ("pca", {"epochs": 1, "model.name": "pca"}, "PCA has a closed form: set it to 0"),
    ],
)
def test_more_epochs_that_would_have_begun_otherwise_are_refused(
    name, fields, reason, finished_run, tiny_config, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(finished_run(name), run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=reason):
        train_and_evaluate(tiny_config(name, **fields), run)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_runs_without_training_and_with_an_optimizer_of_ones_own_get_no_more_epochs(
    quick_run, tmp_path
):
    constant = {"optimizer.schedule": "constant"}
    for folder, epochs, optimizer, reason in (
        ("untrained", 0, None, "it has no training that could be continued"),
        ("own", 1, optax.sgd(0.1), "Python code made its optimizer"),
    ):
        quick_run(tmp_path / folder, optimizer, epochs=epochs, **constant)
        with pytest.raises(UserError, match=reason):
            quick_run(tmp_path / folder, optimizer, epochs=2, **constant)
