"""What a run says while it trains, on disk and on the terminal."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import termios

import numpy as np
import pytest

from vocjax.data.dataset import from_arrays
from vocjax.mesh import make_mesh
from vocjax.runs.reader import read_epochs
from vocjax.training import records
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records


def record(epoch, step):
    values = {"loss": 1 / epoch, "mse": 0.5}
    return {
        "epoch": epoch,
        "step": step,
        "seconds": 1.5,
        "images_per_second": 8.0,
        "train": values,
        "val": values,
    }


def test_metrics_of_a_run(finished_run):
    run = finished_run("autoencoder_256")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 2), (2, 4)]
    for line in lines:
        assert line.keys() == {"epoch", "step", "seconds", "images_per_second", "train", "val"}
        errors = {"loss", "mse", "mae", "psnr", "psnr_of_set", "ssim"}
        assert line["train"].keys() == line["val"].keys() == errors
        images = line["seconds"] * line["images_per_second"]
        assert images == pytest.approx(10, rel=0.2)  # seconds are rounded to milliseconds
    results = json.loads((run / "results.json").read_text())
    assert results["val"] == lines[-1]["val"]


def test_goes_on_after_a_step_and_drops_what_is_run_again(tmp_path):
    with Records(tmp_path, "run", 0, 6) as log:
        for epoch in (1, 2, 3):
            log.epoch(record(epoch, 2 * epoch), 3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "step": 8, "sec')  # kill -9 in the midst of a line
    assert [r["epoch"] for r in read_epochs(tmp_path)] == [1, 2, 3]
    with Records(tmp_path, "run", 5, 6) as log:
        log.epoch(record(3, 6), 3)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert read_epochs(tmp_path) == [record(1, 2), record(2, 4), record(3, 6)]


def test_nothing_was_recorded_before_the_first_epoch(tmp_path):
    assert read_epochs(tmp_path) == []
    with Records(tmp_path, "run", 0, 6):
        pass
    assert read_epochs(tmp_path) == []


def test_tensorboard_events_are_written_where_it_is_installed(tmp_path, capsys):
    with Records(tmp_path, "run", 0, 2) as log:
        log.epoch(record(1, 2), 1)
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    for tag in (b"train/loss", b"train/mse", b"val/loss", b"val/mse"):
        assert tag in content


def test_runs_without_tensorboard(monkeypatch, tiny_config, tmp_path):
    monkeypatch.setattr(records, "SummaryWriter", None)
    train_and_evaluate(tiny_config("linear_autoencoder", evaluate_every_epochs=1), tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    assert len(read_epochs(tmp_path)) == 2


def test_plain_lines_where_there_is_no_terminal(tmp_path, capsys):
    with Records(tmp_path, "AE", 0, 4) as log:
        zeros = {
            split: np.zeros((n, 2, 2, 3), np.uint8) for split, n in (("train", 12), ("val", 8))
        }
        data = from_arrays({split: {"image": image} for split, image in zeros.items()}, make_mesh())
        log.begin(data, 1234567, ["a note"])
        log.step()
        log.step()
        log.epoch(record(1, 2), 2)
    out, err = capsys.readouterr()
    assert out == ""
    first, note, second = err.splitlines()
    assert note == "AE: a note"
    assert (
        first
        == "AE: 12 train and 8 val images on the device, 1,234,567 parameters, from step 0 of 4"
    )
    assert second.startswith("AE: epoch 1/2, train / val loss 1 / 1, mse 0.5 / 0.5, 8 images/s, ")
    assert second.endswith(" s left")


SHOW = """
import pathlib, sys
from vocjax.training.records import Records
with Records(pathlib.Path(sys.argv[1]), "AE", 3, 5) as log:
    log.step()
    log.step()
    values = {"loss": 1.0, "mse": 0.5}
    log.epoch({"epoch": 1, "step": 5, "seconds": 1, "images_per_second": 8.0, "train": values,
               "val": values}, 1)
"""


def test_bar_on_a_terminal(tmp_path, child_environment):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(tmp_path)], stderr=theirs, env=child_environment()
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while chunk := terminal.read(4096):  # an OSError when the other end is closed
            shown += chunk
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "AE:  60%|" in text  # it begins at step 3 of 5
    assert "3/5" in text
    assert "AE: epoch 1/1, train / val loss 1 / 1" in text
