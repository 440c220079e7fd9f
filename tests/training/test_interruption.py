"""A run that was interrupted, however that happened, ends like one that was not, bit for bit."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vocjax import cli
from vocjax.training.interrupts import Interrupted, stop_requests
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records


@pytest.fixture
def signal_at(monkeypatch):
    """`signal_at({step: signals})` sends this process signals while it trains that step."""

    def plan(signals_at_step):
        steps, count_step = itertools.count(1), Records.step

        def step(self):
            count_step(self)
            for number in signals_at_step.get(next(steps), ()):
                signal.raise_signal(number)

        monkeypatch.setattr(Records, "step", step)

    return plan


@pytest.mark.parametrize(
    ("storage", "stops"),
    [
        pytest.param("device", (2,), id="within-an-epoch"),
        pytest.param("device", (3,), id="at-an-epochs-end"),
        pytest.param("stream", (1, 3, 8), id="streamed-again-and-again"),
    ],
)
def test_resumed_run_equals_the_uninterrupted_one(
    storage, stops, random_config, uninterrupted, signal_at, assert_same_outcome, tmp_path
):
    config = random_config(**{"data.storage": storage})
    signal_at(dict.fromkeys(stops, (signal.SIGTERM,)))
    for stop in stops:
        with pytest.raises(Interrupted, match=f"step {stop} of 12 is saved") as stopped:
            train_and_evaluate(config, tmp_path)
        assert stopped.value.signal_number == signal.SIGTERM
        assert not (tmp_path / "results.json").exists()
    train_and_evaluate(config, tmp_path)
    assert_same_outcome(tmp_path, uninterrupted)


def test_stop_in_the_last_step_lets_the_run_finish(tiny_config, signal_at, tmp_path):
    signal_at({4: (signal.SIGINT,)})
    results = train_and_evaluate(tiny_config("linear_autoencoder"), tmp_path)
    assert results["step"] == 4
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_second_ctrl_c_stops_at_once(
    tiny_config, signal_at, write_config, assert_same_outcome, tmp_path, capsys
):
    config = tiny_config("linear_autoencoder", evaluate_every_epochs=1)
    arguments = ["train", "--config", str(write_config(config, tmp_path)), "--workdir"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    signal_at({3: (signal.SIGINT, signal.SIGINT)})
    assert cli.main([*arguments, str(stopped)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "vocjax: stopped"
    assert [path.name for path in (stopped / "checkpoints").iterdir()] == ["2"]  # of epoch 1
    assert cli.main([*arguments, str(stopped)]) == 0
    assert cli.main([*arguments, str(whole)]) == 0
    assert_same_outcome(stopped, whole)


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


def test_signals_and_kills_of_a_process(
    tiny_config, write_config, child_environment, assert_same_outcome, saved_state, tmp_path
):
    config = tiny_config("linear_autoencoder", epochs=100, evaluate_every_epochs=5)
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

    def stop(number):
        """Signal after the first epoch; return the exit code and what else was said."""
        process = start("-m", "vocjax")
        next(line for line in process.stderr if ": epoch " in line)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    def last_step():
        return int(saved_state(run)["step"])

    # The first save is under way and nothing else is there; later, one replaces another.
    process = start("-c", DIE_WHILE_SAVING, "1", "0")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    process = start("-c", DIE_WHILE_SAVING, "2", "0.02")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    begun = last_step()
    assert begun in (10, 20, 30)  # 20 and 30 where the first save was quicker than the kill

    code, said = stop(signal.SIGTERM)
    assert code == 143
    terminated = last_step()
    assert terminated > begun
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"vocjax: stopped by signal; step {terminated} of 200 is saved in {run}. "
        "Give the same command to continue from there."
    )

    code, said = stop(signal.SIGINT)
    assert code == 130
    assert last_step() > terminated
    assert "Traceback" not in said

    process = start("-m", "vocjax")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"run directory: {run}" in said
    train_and_evaluate(config, reference)
    assert_same_outcome(run, reference)
    lines = map(json.loads, Path(run / "metrics.jsonl").read_text().splitlines())
    assert [line["epoch"] for line in lines] == list(range(5, 101, 5))
