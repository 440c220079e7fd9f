"""A run as a whole: what it leaves in its directory, and what it refuses."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from outcome import assert_same_outcome, saved_state

from vocjax.config import to_json
from vocjax.data import voc
from vocjax.data.dataset import from_arrays
from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.mesh import make_mesh
from vocjax.runs.reader import read_config, read_epochs
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate


def snapshot(folder):
    """Every file with its content and time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_results_of_a_run(finished_run):
    run = finished_run("autoencoder_256")
    results = json.loads((run / "results.json").read_text())
    of_every_run = {"epoch", "step", "seconds", "train", "val", "best", "baselines"}
    assert results.keys() == of_every_run | {"code"}
    assert (results["epoch"], results["step"], results["code"]) == (2, 4, 4 * 4 * 4)
    assert results["best"] == {"metric": "loss", "epoch": 2, "value": results["val"]["loss"]}
    assert results["seconds"] == pytest.approx(sum(r["seconds"] for r in read_epochs(run)))
    for baseline in results["baselines"].values():
        assert baseline["train"].keys() == baseline["val"].keys() == results["train"].keys()
    with np.load(run / "samples.npz") as samples:
        assert len(samples["train/ids"]) == 10
        assert len(samples["val/ids"]) == 8
        assert samples["train/code"].shape == (10, 4 * 4 * 4)
        assert samples["latent/sample"].shape == (24, 16, 16, 3)


def test_what_a_run_learns_lies_between_its_trivial_baseline_and_the_optimum(finished_run):
    """Of all linear codes PCA has the smallest training error; the mean image needs no code."""
    results = json.loads((finished_run("linear_autoencoder") / "results.json").read_text())
    mse = {name: values["train"]["mse"] for name, values in results["baselines"].items()}
    assert list(mse) == ["mean image", "PCA, at most 3 components", "DCT, 3 coefficients"]
    optimum = mse["PCA, at most 3 components"]
    assert optimum < results["train"]["mse"] < mse["mean image"]
    assert optimum < mse["DCT, 3 coefficients"] < mse["mean image"]
    pca = json.loads((finished_run("pca") / "results.json").read_text())
    assert pca["train"]["mse"] == pytest.approx(optimum, rel=1e-6)
    assert "PCA, at most 3 components" not in pca["baselines"]  # it is the run itself


def test_what_the_parameters_tell_is_logged_and_kept(finished_run):
    run = finished_run("linear_autoencoder")
    results = json.loads((run / "results.json").read_text())
    assert results["model"].keys() == {"largest_angle", "largest_cosine"}
    assert read_epochs(run)[-1]["model"] == results["model"]
    with np.load(run / "samples.npz") as samples:
        assert samples["model/cosines"].shape == (3, 3)
        assert samples["model/PCA"].shape == (3, 16 * 16 * 3)
        others = np.abs(samples["model/cosines"] - np.eye(3)).max()
        assert results["model"]["largest_cosine"] == pytest.approx(others, abs=1e-5)


def test_a_task_without_code_or_inspection_has_neither(finished_run):
    run = finished_run("segmentation_dice")
    results = json.loads((run / "results.json").read_text())
    assert not {"code", "model"} & results.keys()
    assert all("model" not in record for record in read_epochs(run))
    with np.load(run / "samples.npz") as samples:
        assert not [name for name in samples if name.startswith(("latent/", "model/"))]


def test_closed_form_is_evaluated_and_saved_without_steps(finished_run):
    run = finished_run("pca")
    results = json.loads((run / "results.json").read_text())
    assert (results["epoch"], results["step"], results["best"]["epoch"]) == (0, 0, 0)
    assert results["best"]["value"] == results["val"]["loss"]
    assert results["train"]["mse"] < results["baselines"]["mean image"]["train"]["mse"]
    assert (run / "checkpoints" / "0").is_dir()
    assert read_epochs(run) == []


def test_training_values_are_those_of_their_own_epoch(quick_run, tmp_path):
    """With one step an epoch, they are what the model was before that step."""

    def run(epochs):
        workdir = tmp_path / str(epochs)
        return quick_run(workdir, epochs=epochs, batch_size=10, evaluate_every_epochs=1)

    after_one = run(1)
    run(2)
    first, second = read_epochs(tmp_path / "2")
    assert second["val"] != first["val"] == after_one["val"]
    assert second["train"] == pytest.approx(after_one["train"], rel=1e-5)


def test_an_epoch_that_is_not_evaluated_changes_nothing_but_the_records(quick_run, tmp_path):
    def run(every):
        workdir = tmp_path / str(every)
        results = quick_run(workdir, epochs=5, evaluate_every_epochs=every)
        return results, {record["epoch"]: record for record in read_epochs(workdir)}

    (all_results, all_records), (results, records) = run(1), run(2)
    assert list(all_records) == [1, 2, 3, 4, 5]
    assert list(records) == [2, 4, 5]  # the last epoch always
    for epoch, record in records.items():
        for part in ("step", "train", "val"):
            assert record[part] == all_records[epoch][part]
    for record, images in zip(records.values(), (20, 20, 10), strict=True):
        speed = record["images_per_second"]
        rounding = 0.00051 * speed  # of the seconds, to milliseconds
        assert record["seconds"] * speed == pytest.approx(images, abs=rounding)
    assert results["val"] == all_results["val"]
    ours, theirs = saved_state(tmp_path / "2"), saved_state(tmp_path / "1")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_finished_run_is_left_alone(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run("linear_autoencoder"), run)
    before = snapshot(run)
    results = train_and_evaluate(read_config(run), run)
    assert results == json.loads((run / "results.json").read_text())
    assert snapshot(run) == before


def test_same_seed_gives_the_same_run_and_another_one_another(quick_run, tmp_path):
    first, same, other = (tmp_path / name for name in ("first", "same", "other"))
    for run, seed in ((first, 0), (same, 0), (other, 1)):
        quick_run(run, seed=seed)
    assert_same_outcome(same, first)
    assert read_epochs(other)[0]["train"] != read_epochs(first)[0]["train"]


def test_provenance(finished_run, tiny_config, toy_dir):
    run = finished_run("linear_autoencoder")
    written = json.loads((run / "run.json").read_text())
    assert written["seed"] == 0
    assert written["dataset"]["fingerprint"] == voc.load("toy", toy_dir).fingerprint
    assert written["dataset"]["name"] == "toy"
    assert written["images"] == {"train": 10, "val": 8}
    pixels, components = 16 * 16 * 3, 3
    assert written["parameters"] == 2 * pixels * components + components + pixels
    assert written["versions"]["jax"] == jax.__version__
    assert "not installed" not in written["versions"].values()
    assert written["device"]["platform"] == jax.default_backend()
    assert written["device"]["count"] == jax.device_count()
    assert len(written["starts"]) == 1
    assert written["command"] == written["starts"][0]["command"]
    repository = Path(__file__).parents[2]
    git = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    assert written["commit"] == (head or "unknown (not a git checkout)")
    assert (run / "config.json").read_text() == to_json(tiny_config("linear_autoencoder"))


# One's own task, data and optimizer --------------------------------------------------------------


def test_own_task_data_and_optimizer_train_and_resume_bit_for_bit(quick_run, signal_at, tmp_path):
    def halved(task):
        return task._replace(loss=lambda outputs, targets: task.loss(outputs, targets) / 2)

    def run(workdir):
        return quick_run(workdir, optax.chain(optax.clip(0.1), optax.sgd(0.5, 0.9)), halved)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    results = run(whole)
    assert results["val"]["loss"] == pytest.approx(results["val"]["mse"] / 2, rel=1e-5)
    signal_at({1: (signal.SIGTERM,), 2: (signal.SIGTERM,)})
    for step in (1, 2):
        with pytest.raises(Interrupted, match=f"step {step} of 4 is saved"):
            run(stopped)
    run(stopped)
    assert_same_outcome(stopped, whole)
    written = json.loads((whole / "run.json").read_text())
    assert written["custom"] == ["task", "data", "optimizer"]
    assert written["dataset"]["source"] == "arrays in Python"
    assert written["images"] == {"train": 10, "val": 8}


def test_a_run_is_continued_with_the_same_parts_of_ones_own(
    quick_run, tiny_config, bare, arrays, tmp_path
):
    results = quick_run(tmp_path)  # with a task and data
    assert quick_run(tmp_path) == results
    config = read_config(tmp_path)
    for parts, reason in (
        ((), "not with the config alone"),
        ((bare(config),), "not with a task that Python code made"),
        ((None, arrays), "not with data that Python code made"),
        (
            (bare(config), arrays, optax.sgd(0.1)),
            "not with a task, data and an optimizer that Python code made",
        ),
    ):
        with pytest.raises(
            UserError, match=f"was trained with a task and data that Python code made, {reason}"
        ):
            train_and_evaluate(config, tmp_path, *parts)
    with pytest.raises(UserError, match="a task and data that Python code made, not with the con"):
        evaluate(tmp_path)


def test_other_arrays_are_other_data(quick_run, bare, arrays, tmp_path):
    quick_run(tmp_path)
    config = read_config(tmp_path)
    images = {split: {"image": np.zeros((8, 4, 4, 3), np.uint8)} for split in ("train", "val")}
    with pytest.raises(UserError, match=r"was begun on data with fingerprint [0-9a-f]+, and"):
        train_and_evaluate(config, tmp_path, bare(config), from_arrays(images, make_mesh()))


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
    assert "  optimizer.learning_rate: 0.05 -> 0.5" in said
    assert len(said) == 5
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


def test_workdir_that_a_kill_left_before_its_config_is_free(quick_run, tmp_path):
    (tmp_path / "config.json.part").write_text('{"batch')
    assert quick_run(tmp_path)["step"] == 4
    assert not list(tmp_path.glob("*.part"))
