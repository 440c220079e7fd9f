"""A run as a whole: what it leaves in its directory, and what it refuses."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.configuration import to_json
from vocjax.data import toy, voc
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.training.loop import LOSSES_IN_FLIGHT, train_and_evaluate
from vocjax.training.records import Records
from vocjax.training.rundir import read_config, read_records


def snapshot(folder):
    """Every file with its content and time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_results_of_a_run(finished_run):
    run = finished_run("autoencoder_256")
    results = json.loads((run / "results.json").read_text())
    assert results.keys() == {"epoch", "step", "seconds", "train", "val", "best", "baselines"}
    assert (results["epoch"], results["step"]) == (2, 4)
    assert results["best"] == {"metric": "loss", "epoch": 2, "value": results["val"]["loss"]}
    assert results["seconds"] == pytest.approx(sum(r["seconds"] for r in read_records(run)))
    baseline = results["baselines"]["mean image"]
    assert baseline["train"].keys() == results["train"].keys() == {"loss", "mse", "mae", "psnr"}
    with np.load(run / "samples.npz") as samples:
        assert len(samples["train/ids"]) == 10
        assert len(samples["val/ids"]) == 8
        assert samples["train/code"].shape == (10, 4 * 4 * 4)


def test_closed_form_is_evaluated_and_saved_without_steps(finished_run):
    run = finished_run("pca")
    results = json.loads((run / "results.json").read_text())
    assert (results["epoch"], results["step"], results["best"]["epoch"]) == (0, 0, 0)
    assert results["best"]["value"] == results["val"]["loss"]
    assert results["train"]["mse"] < results["baselines"]["mean image"]["train"]["mse"]
    assert (run / "checkpoints" / "0").is_dir()
    assert read_records(run) == []


def test_finished_run_is_left_alone(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    before = snapshot(run)
    results = train_and_evaluate(read_config(run), run)
    assert results == json.loads((run / "results.json").read_text())
    assert snapshot(run) == before


def test_same_seed_gives_the_same_run_and_another_one_another(
    finished_run, tiny_config, assert_same_outcome, tmp_path
):
    config = tiny_config("linear_autoencoder")
    train_and_evaluate(config, tmp_path / "same")
    assert_same_outcome(tmp_path / "same", finished_run("linear_autoencoder"))
    config = tiny_config("linear_autoencoder", seed=1)
    train_and_evaluate(config, tmp_path / "other")
    assert read_records(tmp_path / "other")[0]["train"] != read_records(tmp_path / "same")[0]["train"]


def test_provenance(finished_run, tiny_config, toy_dir):
    run = finished_run("linear_autoencoder")
    told = json.loads((run / "run.json").read_text())
    assert told["seed"] == 0
    assert told["dataset"]["fingerprint"] == voc.load("toy", toy_dir).fingerprint
    assert told["dataset"]["name"] == "toy"
    assert told["images"] == {"train": 10, "val": 8}
    assert told["parameters"] == 16 * 16 * 3 * 3 * 2 + 3 + 16 * 16 * 3
    assert told["versions"]["jax"] == jax.__version__
    assert "not installed" not in told["versions"].values()
    assert told["device"]["platform"] == jax.default_backend()
    assert told["device"]["count"] == jax.device_count()
    assert len(told["starts"]) == 1
    assert told["command"] == told["starts"][0]["command"]
    repository = Path(__file__).parents[2]
    git = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    assert told["commit"] == (head or "unknown (not a git checkout)")
    assert (run / "config.json").read_text() == to_json(tiny_config("linear_autoencoder"))


# Refused -----------------------------------------------------------------------------------------


def test_run_of_another_config_is_refused_and_not_touched(finished_run, tiny_config, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    before = snapshot(run)
    other = tiny_config(
        "linear_autoencoder",
        **{"optimizer.learning_rate": 0.5, "epochs": 7, "data.classes": ("cat",)},
    )
    with pytest.raises(UserError, match="holds a run of another config") as refused:
        train_and_evaluate(other, run)
    said = str(refused.value).splitlines()
    assert "  data.classes: ('aeroplane', 'dog') -> ('cat',)" in said
    assert "  epochs: 2 -> 7" in said
    assert "  optimizer.learning_rate: 0.001 -> 0.5" in said
    assert len(said) == 5
    assert snapshot(run) == before


def test_run_on_other_data_is_refused_and_not_touched(
    finished_run, tiny_config, monkeypatch, tmp_path
):
    other_data = tmp_path / "data"
    small = functools.partial(toy.write_devkit, images=(4, 2), segmentation=(4, 2))
    monkeypatch.setattr(toy, "write_devkit", small)
    voc.prepare("toy", other_data)
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    config = tiny_config("linear_autoencoder", **{"data.data_dir": str(other_data)})
    (run / "config.json").write_text(to_json(config))
    before = snapshot(run)
    with pytest.raises(UserError, match=r"was begun on data with fingerprint [0-9a-f]+, and"):
        train_and_evaluate(config, run)
    assert snapshot(run) == before


def test_workdir_that_is_something_else_is_refused(tiny_config, tmp_path):
    config = tiny_config("linear_autoencoder")
    file, foreign = tmp_path / "file", tmp_path / "foreign"
    file.write_text("mine")
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    before = snapshot(tmp_path)
    for workdir in (file, foreign):
        with pytest.raises(UserError, match=f"{workdir} exists and is no run directory"):
            train_and_evaluate(config, workdir)
    with pytest.raises(UserError, match="nothing can be written in"):
        train_and_evaluate(config, file / "below")
    assert snapshot(tmp_path) == before


def test_workdir_that_a_kill_left_before_its_config_is_free(tiny_config, tmp_path):
    (tmp_path / "config.json.part").write_text('{"batch')
    results = train_and_evaluate(tiny_config("pca"), tmp_path)
    assert results["step"] == 0
    assert not list(tmp_path.glob("*.part"))


# Not finite --------------------------------------------------------------------------------------


def poisoned(config, ids, value):
    """The config's task with a loss of `value` for one of the images, found by its labels."""
    task = make_task(config)
    prepared = voc.load("toy", Path(config.data.data_dir))
    (row,) = np.flatnonzero(prepared.index.ids == ids)
    labels = jnp.asarray(prepared.index.labels[row])

    def loss(outputs, batch):
        marked = (batch["labels"] == labels).all(axis=1)
        return jnp.where(marked, value, task.loss(outputs, batch))

    return task._replace(loss=loss)


def batches_of(monkeypatch):
    """The ids of each batch that is trained on, as the input pipeline hands them out."""
    from vocjax.training import loop

    seen = []

    def note(order, batch_size, mesh, **kwargs):
        for rows, valid in plan(order, batch_size, mesh, **kwargs):
            seen.append(rows[valid > 0])
            yield rows, valid

    plan = loop.plan
    monkeypatch.setattr(loop, "plan", note)
    return seen
