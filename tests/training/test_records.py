"""What a run says while it trains, on disk and on the terminal."""

import json
import os
import pty
import resource
import sys
import termios
from contextlib import suppress

import numpy as np
import pytest

from vocjax.runs.reader import read_epochs
from vocjax.training import writers
from vocjax.training.records import Records
from vocjax.training.writers import tensorboard


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
        log.add(tensorboard(tmp_path, 0))
        log.epoch(record(1, 2), 1)
        log.pictures(2, {"image": np.zeros((2, 4, 4, 3), np.uint8)})
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    for tag in (b"train/loss", b"train/mse", b"val/loss", b"val/mse", b"val/image"):
        assert tag in content


def test_a_full_disk_ends_tensorboards_writer_with_the_path(tmp_path):
    """Its own thread would die, and the run would wait for it."""
    writer, most = tensorboard(tmp_path, 0), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, most[1]))
    try:
        with pytest.raises(OSError, match=rf"File too large: '{tmp_path}/tensorboard'"):
            for step in range(100):
                writer.scalars(step, {"train/loss": 1.0})
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)


def test_runs_without_tensorboard(monkeypatch, quick_run, tmp_path):
    monkeypatch.setattr(writers, "RecordWriter", None)
    quick_run(tmp_path, evaluate_every_epochs=1)
    assert not (tmp_path / "tensorboard").exists()
    assert len(read_epochs(tmp_path)) == 2


def test_plain_lines_where_there_is_no_terminal(arrays, tmp_path, capsys):
    with Records(tmp_path, "AE", 0, 4) as log:
        log.begin(arrays, 1234567, ["a note"])
        log.step()
        log.step()
        log.epoch(record(1, 2), 2)
    out, err = capsys.readouterr()
    assert out == ""
    first, note, second = err.splitlines()
    assert note == "AE: a note"
    assert (
        first
        == "AE: 10 train and 8 val images on the device, 1,234,567 parameters, from step 0 of 4"
    )
    assert second.startswith("AE: epoch 1/2, train / val loss 1 / 1, mse 0.5 / 0.5, 8 images/s, ")
    assert second.endswith(" s left")


def test_bar_on_a_terminal(tmp_path, monkeypatch):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Records(tmp_path, "AE", 3, 5) as log:
            log.step()
            log.step()
            log.epoch(record(1, 5), 1)
        monkeypatch.undo()
    written = b""
    with suppress(OSError):  # the other end is closed; what was written can come in parts
        while part := os.read(ours, 2**16):
            written += part
    os.close(ours)
    text = written.decode()
    assert "AE:  60%|" in text  # it begins at step 3 of 5
    assert "3/5" in text
    assert "AE: epoch 1/1, train / val loss 1 / 1" in text
