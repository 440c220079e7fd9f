"""A run that was interrupted, however that happened, ends like one that was not, bit for bit."""

import json
import signal
import subprocess
import sys

import pytest
from outcome import assert_same_outcome, saved_state

from vocjax import cli
from vocjax.training.interrupts import Interrupted, stop_requests
from vocjax.training.loop import train_and_evaluate


@pytest.mark.parametrize(
    ("storage", "stops"),
    [
        pytest.param("device", (2, 3), id="within-an-epoch-and-at-its-end"),
        pytest.param("stream", (1, 8), id="streamed"),
    ],
)
def test_resumed_run_equals_the_uninterrupted_one(
    storage, stops, random_config, bare, uninterrupted, signal_at, tmp_path
):
    config = random_config(**{"data.storage": storage})
    signal_at(dict.fromkeys(stops, (signal.SIGTERM,)))
    for stop in stops:
        with pytest.raises(Interrupted, match=f"step {stop} of 12 is saved") as stopped:
            train_and_evaluate(config, tmp_path, bare(config))
        assert stopped.value.signal_number == signal.SIGTERM
        assert not (tmp_path / "results.json").exists()
    train_and_evaluate(config, tmp_path, bare(config))
    assert_same_outcome(tmp_path, uninterrupted)


def test_stop_in_the_last_step_lets_the_run_finish(quick_run, signal_at, tmp_path):
    signal_at({4: (signal.SIGINT,)})
    results = quick_run(tmp_path)
    assert results["step"] == 4
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_a_run_that_was_killed_in_its_first_save_equals_one_that_was_not(
    quick_run, signal_at, tmp_path
):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    signal_at({2: (signal.SIGTERM,)})
    with pytest.raises(Interrupted):
        quick_run(killed)
    saved = killed / "checkpoints" / "2"
    saved.rename(saved.with_name("2.orbax-checkpoint-tmp"))
    for run in (killed, whole):
        quick_run(run)
    assert_same_outcome(killed, whole)
    assert [path.name for path in saved.parent.iterdir()] == ["4"]


def test_second_ctrl_c_stops_at_once(quick_run, signal_at, tmp_path):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    signal_at({3: (signal.SIGINT, signal.SIGINT)})
    with pytest.raises(KeyboardInterrupt):
        quick_run(stopped, evaluate_every_epochs=1)
    assert [path.name for path in (stopped / "checkpoints").iterdir()] == ["2"]  # of epoch 1
    for run in (stopped, whole):
        quick_run(run, evaluate_every_epochs=1)
    assert_same_outcome(stopped, whole)


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT)])
def test_the_command_line_exits_as_ctrl_c_does(
    signals, tiny_config, write_config, signal_at, tmp_path, capsys
):
    config, run = tiny_config("linear_autoencoder", **{"data.size": 4}), tmp_path / "run"
    signal_at({3: signals})
    arguments = ["train", "--config", str(write_config(config, tmp_path)), "--workdir", str(run)]
    assert cli.main(arguments) == 130
    last = f"stopped by signal; step 3 of 4 is saved in {run}. Give the same command to continue"
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith(f"vocjax: {last}" if len(signals) == 1 else "vocjax: stopped")
    )


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_requests() as requested:
        assert requested(1) is None
        signal.raise_signal(signal.SIGTERM)
        assert requested(1) == signal.SIGTERM
        assert requested(2) == signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


DIE_WHILE_SAVING = """
import os, signal, sys, time
from vocjax import cli
from vocjax.runs.checkpoints import Checkpoints

save, saves = Checkpoints.save, []

def save_and_die(self, *arguments):
    save(self, *arguments)
    saves.append(arguments)
    if len(saves) == int(sys.argv[1]):
        time.sleep(float(sys.argv[2]))
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = save_and_die
cli.main(sys.argv[3:])
"""


def test_a_kill_and_a_signal_of_a_process(tiny_config, write_config, child_environment, tmp_path):
    fields = {"epochs": 100, "evaluate_every_epochs": 5, "data.size": 4}
    config = tiny_config("linear_autoencoder", **fields)
    run, reference = tmp_path / "run", tmp_path / "reference"
    train = ["train", "--config", str(write_config(config, tmp_path)), "--workdir", str(run)]

    def start(*program):
        return subprocess.Popen(
            [sys.executable, *program, *train],
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = start("-c", DIE_WHILE_SAVING, "2", "0.02")  # one save replaces another
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    begun = int(saved_state(run)["step"])
    assert begun in (10, 20)  # 20 where the save was quicker than the kill

    process = start("-m", "vocjax")
    next(line for line in process.stderr if ": epoch " in line)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=120)
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    terminated = int(saved_state(run)["step"])
    assert terminated > begun
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"vocjax: stopped by signal; step {terminated} of 200 is saved in {run}. "
        "Give the same command to continue from there."
    )

    for workdir in (run, reference):
        train_and_evaluate(config, workdir)
    assert_same_outcome(run, reference)
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [line["epoch"] for line in lines] == list(range(5, 101, 5))
