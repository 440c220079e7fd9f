"""What is kept, what can be restored, and that readers leave writers alone."""

import json
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from vocjax.config import LATE
from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.mesh import make_mesh, replicated
from vocjax.runs.checkpoints import Checkpoints, abstract, has_checkpoint
from vocjax.runs.reader import read_epochs
from vocjax.runs.restore import load_run
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate

NAN = float("nan")
# Every epoch lowers the loss, so the highest is the best one from the first epoch on.
WORSENING = {
    "best.mode": "max",
    "optimizer.name": "rmsprop",
    "optimizer.learning_rate": 1e-3,
}


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def best_config(mode):
    return ConfigDict({"best": {"metric": "accuracy", "mode": mode}, "model": {"width": 4}})


@pytest.mark.parametrize(
    ("mode", "values", "best", "steps"),
    [
        ("max", [0.3, 0.9, 0.5], (2, 0.9), [2, 3]),
        ("min", [0.3, 0.1, 0.5, 0.2], (2, 0.1), [2, 4]),
        ("max", [0.1, 0.2], (2, 0.2), [2]),
        ("min", [0.1, None, None], (1, 0.1), [1, 3]),  # within an epoch nothing is measured
        ("min", [0.2, NAN, 0.3], (1, 0.2), [1, 3]),
        ("max", [NAN, 0.2, 0.1], (2, 0.2), [2, 3]),
        ("min", [0.2, 0.1, 0.1], (3, 0.1), [3]),  # the later of equals
        ("min", [NAN, None], None, [2]),
    ],
)
def test_keeps_the_last_and_the_best(mode, values, best, steps, tmp_path):
    with Checkpoints(tmp_path, best_config(mode)) as checkpoints:
        for step, value in enumerate(values, 1):
            checkpoints.save(
                step, {"x": jnp.full(2, step)}, None if value is None else {"accuracy": value}
            )
        assert checkpoints.best == best
        assert checkpoints.last_step == len(values)
        wanted = abstract({"x": jnp.zeros(2, jnp.int32)}, replicated(make_mesh()))
        for step in steps:
            assert checkpoints.restore(step, wanted)["x"].tolist() == [step, step]
        assert checkpoints.restore(None, wanted)["x"].tolist() == [len(values)] * 2
    assert kept(tmp_path) == steps


def test_same_step_is_saved_once(tmp_path):
    with Checkpoints(tmp_path, best_config("max")) as checkpoints:
        checkpoints.save(3, {"x": jnp.zeros(2)}, {"accuracy": 0.5})
        checkpoints.save(3, {"x": jnp.ones(2)})
        assert checkpoints.best == (3, 0.5)
        wanted = abstract({"x": jnp.zeros(2)}, replicated(make_mesh()))
        assert checkpoints.restore(3, wanted)["x"].tolist() == [0, 0]


def test_saves_what_the_state_was_though_it_is_donated_meanwhile(tmp_path):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    state = jnp.zeros((1024, 1024))
    with Checkpoints(tmp_path, best_config("max")) as checkpoints:
        for number in range(1, 4):
            checkpoints.save(number, {"x": state}, {"accuracy": 1.0 / number})
            for _ in range(5):
                state = step(state)
        wanted = abstract({"x": state}, replicated(make_mesh()))
        assert np.unique(checkpoints.restore(1, wanted)["x"]).tolist() == [0]
        assert np.unique(checkpoints.restore(3, wanted)["x"]).tolist() == [10]


def test_run_keeps_its_best_and_evaluates_it(tiny_config, tmp_path):
    config = tiny_config("linear_autoencoder", epochs=3, evaluate_every_epochs=1, **WORSENING)
    results = train_and_evaluate(config, tmp_path)
    epochs = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    worst = max(epochs, key=lambda epoch: epoch["val"]["loss"])
    assert worst["step"] < 6
    assert results["best"] == {
        "metric": "loss",
        "epoch": worst["epoch"],
        "value": worst["val"]["loss"],
    }
    assert kept(tmp_path) == [worst["step"], 6]
    best, last = evaluate(tmp_path, "val", "best"), evaluate(tmp_path, "val")
    assert (best["step"], last["step"]) == (worst["step"], 6)
    assert best["metrics"] == worst["val"]
    assert last["metrics"] == results["val"]
    assert evaluate(tmp_path, "train")["metrics"] == results["train"]
    assert json.loads((tmp_path / "evaluation_val_best.json").read_text()) == best
    with pytest.raises(UserError, match=r"checkpoint is 'newest'; it is one of last, best"):
        evaluate(tmp_path, "val", "newest")
    with pytest.raises(UserError, match=r"split is 'test'; it is one of train, val"):
        evaluate(tmp_path, "test")


def test_save_that_only_a_stop_asked_for_is_no_candidate_for_the_best(
    quick_run, signal_at, tmp_path
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fields = {"epochs": 4, "evaluate_every_epochs": 3, **WORSENING}
    best = quick_run(whole, **fields)["best"]
    assert best["epoch"] == 3
    signal_at({2: (signal.SIGINT,)})  # the end of the first epoch, which has no record
    with pytest.raises(Interrupted):
        quick_run(stopped, **fields)
    assert kept(stopped) == [2]
    assert read_epochs(stopped) == []
    with pytest.raises(UserError, match="no best checkpoint yet"):
        load_run(stopped, make_mesh(), "best")
    assert quick_run(stopped, **fields)["best"] == best
    assert kept(stopped) == kept(whole) == [6, 8]


def test_reading_leaves_a_save_under_way_alone(quick_run, tmp_path):
    quick_run(tmp_path)
    under_way = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "checkpoints" / "4", under_way)
    load_run(tmp_path, make_mesh())
    assert under_way.is_dir()
    (tmp_path / "results.json").unlink()
    before = (tmp_path / "config.json").read_text()
    quick_run(tmp_path)  # a writer clears what a kill has left
    assert not under_way.exists()
    assert (tmp_path / "config.json").read_text() == before


def test_a_checkpoint_that_a_training_replaces_meanwhile_is_read_anew(
    finished_run, monkeypatch, tmp_path
):
    shutil.copytree(finished_run("pca"), tmp_path / "run")
    restore = Checkpoints.restore
    folder = tmp_path / "run" / "checkpoints"

    def restore_late(self, step, abstract_state):
        if step < 2:  # twice, a newer one takes its place
            (folder / str(step)).rename(folder / str(step + 1))
        return restore(self, step, abstract_state)

    monkeypatch.setattr(Checkpoints, "restore", restore_late)
    assert load_run(tmp_path / "run", make_mesh()).step == 2


@pytest.mark.parametrize("damaged", ["*", "_CHECKPOINT_METADATA", "metrics/metrics"])
def test_a_damaged_checkpoint_is_named_without_more(damaged, finished_run, tmp_path, caplog):
    run = tmp_path / "run"
    shutil.copytree(finished_run("pca"), run)
    for path in (run / "checkpoints" / "0").rglob(damaged):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(
        UserError, match=r"checkpoint 0 in .* can't be read: it is damaged, .* anew"
    ):
        evaluate(run)
    assert not caplog.records


def test_checkpoint_that_lacks_its_state_is_named(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    shutil.rmtree(run / "checkpoints" / "4" / "state")
    with pytest.raises(UserError, match=r"checkpoint 4 in .* can't be read: it is damaged"):
        evaluate(run)


def test_a_config_that_was_changed_afterwards_is_not_that_of_the_checkpoint(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("autoencoder_256"), run)
    config = run / "config.json"
    config.write_text(config.read_text().replace('"activation": "relu"', '"activation": "gelu"'))
    with pytest.raises(UserError, match=r"with another config .* model\.activation differs"):
        evaluate(run)


def test_run_without_checkpoint_says_so(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    shutil.rmtree(run / "checkpoints")
    assert not has_checkpoint(run)
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        evaluate(run)
    assert not (run / "checkpoints").exists()


def test_a_run_from_before_a_field_came_is_evaluated_and_left_as_it_is(
    tiny_config, finished_run, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(finished_run("segmentation_dice"), run)
    file = run / "config.json"
    config = json.loads(file.read_text())
    for path in LATE["segmentation"]:
        part, field = path.split(".")
        del config[part][field]
    for field in ("width", "fit", "longest", "sampling"):
        del config["data"][field]
    del config["evaluation"], config["data"]["augment"]["mixup"]
    file.write_text(json.dumps(config))
    results = json.loads((run / "results.json").read_text())
    assert train_and_evaluate(tiny_config("segmentation_dice"), run) == results
    measured = evaluate(run)["metrics"]["mean_iou_full_size"]
    assert measured == pytest.approx(results["val"]["mean_iou_full_size"])
