"""Early stopping: when a run ends, and that a run which was interrupted ends in the same way."""

import json
import shutil
import signal

import pytest
from outcome import assert_same_outcome

from vocjax.data import voc
from vocjax.data.dataset import open_dataset
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.training import train
from vocjax.training.epoch import train_epoch
from vocjax.training.interrupts import Interrupted
from vocjax.training.setup import notes
from vocjax.training.stopping import why_stop
from vocjax.training.validate import validate

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "patience", "mode", "reason"),
    [
        ((3, 2, 1), 1, "min", ""),
        ((3, 2, 2), 1, "min", "no better in 1 evaluation, since epoch 4"),
        ((3, 2, 4), 2, "min", ""),
        ((3, 2, 4, 2), 2, "min", "no better in 2 evaluations, since epoch 4"),
        ((3, 2, 1), 2, "max", "no better in 2 evaluations, since epoch 2"),
        ((3, NAN, 2, NAN), 1, "min", "no better in 1 evaluation, since epoch 6"),
        ((NAN, None), 2, "min", "no better in 2 evaluations"),
        ((NAN,), 2, "min", ""),
        ((1, 2, 3), 0, "min", ""),
        ((), 1, "min", ""),
    ],
)
def test_a_run_ends_after_so_many_evaluations_without_a_better_value(
    values, patience, mode, reason, tiny_config
):
    fields = {"stop_early.metric": "mse", "stop_early.mode": mode, "stop_early.patience": patience}
    epochs = [  # every second one is evaluated; a value that is not finite is not in the log
        {"epoch": 2 * i, "val": {} if value is None else {"mse": value}}
        for i, value in enumerate(values, start=1)
    ]
    found = why_stop(tiny_config("pca", **fields), epochs)
    assert found == (f"mse on val has become {reason}" if reason else "")


# The loss falls, and is never "better" than after the first epoch.
STOPS_AT_3 = {
    "epochs": 6,
    "evaluate_every_epochs": 1,
    "best.mode": "max",
    "stop_early.mode": "max",
    "stop_early.patience": 2,
    "optimizer.schedule": "constant",
}


def test_a_stopped_run_is_finished_however_it_came_there(
    quick_run, signal_at, tmp_path, capsys, monkeypatch
):
    whole, resumed, killed = (tmp_path / name for name in ("whole", "resumed", "killed"))
    begun = []
    with monkeypatch.context() as patched:
        patched.setattr(train, "train_epoch", lambda *a: begun.append(a) or train_epoch(*a))
        results = quick_run(whole, **STOPS_AT_3)
    assert (
        len(begun) == 3
    )  # a step of a fourth would take the memory of the state that it ends with
    why = "loss on val has become no better in 2 evaluations, since epoch 1"
    assert (results["epoch"], results["step"], results["stopped_early"]) == (3, 6, why)
    assert f"stops early: {why}" in capsys.readouterr().err
    assert (results["best"]["epoch"], results["best"]["metric"]) == (1, "loss")
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {"2", "6"}

    shutil.copytree(whole, killed)  # between its last save and its results
    for name in ("results.json", "samples.npz"):
        (killed / name).unlink()
    signal_at(dict.fromkeys((3, 6), (signal.SIGTERM,)))
    for _ in range(2):  # within an epoch, and in the step after which it stops early
        with pytest.raises(Interrupted):
            quick_run(resumed, **STOPS_AT_3)
    for run in (resumed, killed):
        quick_run(run, **STOPS_AT_3)
        assert_same_outcome(run, whole)

    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    for epochs in (6, 9):  # one of more epochs would have stopped there, too
        assert quick_run(whole, **STOPS_AT_3 | {"epochs": epochs}) == json.loads(
            (whole / "results.json").read_text()
        )
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_a_stop_by_the_official_val_is_noted(held_out, tiny_config, toy_dir, tmp_path):
    fields = {"stop_early.patience": 2, "data.held_out": held_out, "data.size": 4}
    config, source = tiny_config("linear_autoencoder", **fields), voc.load("toy", toy_dir)
    said = notes(config, tmp_path, source, open_dataset(config, source, make_mesh()))
    warned = any("stop_early looks at the official val" in line for line in said)
    assert warned == (held_out == 0)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("patience", -1, "stop_early.patience is -1; it must be at least 0"),
        ("metric", "mean_iou", "stop_early.metric is 'mean_iou'; it is one of loss, "),
        ("mode", "least", "stop_early.mode is 'least'; it is one of min, max"),
    ],
)
def test_fields_that_can_not_be_used_are_refused(field, value, reason, tiny_config):
    with pytest.raises(UserError, match=reason):
        validate(tiny_config("linear_autoencoder", **{f"stop_early.{field}": value}))
