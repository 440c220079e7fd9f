"""A run directory has one process at a time, and a process that died has none."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import filelock
import pytest

from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.runs import lock
from vocjax.runs.reader import read_config
from vocjax.training.loop import train_and_evaluate

HOLDS = """
import sys, time
from pathlib import Path
from vocjax.runs.lock import alone
with alone(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(child_environment):
    """`holder(workdir)` starts another process that has a directory."""
    started = []

    def start(workdir):
        command = [sys.executable, "-c", HOLDS, str(workdir)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment())
        started.append(process)
        assert process.stdout.readline() == b"mine\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_directory_in_use_is_refused_and_that_of_a_killed_process_is_taken_over(
    holder, quick_run, tmp_path
):
    run = tmp_path / "run"
    other = holder(run)
    who = rf"in use by process {other.pid} on {socket.gethostname()}, since 20\d\d-\S+\. Wait"
    with pytest.raises(UserError, match=who):
        quick_run(run)
    assert sorted(path.name for path in run.iterdir()) == [lock.USER, lock.LOCK]
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert quick_run(run)["step"] == 4
    assert not {lock.USER, lock.LOCK} & {path.name for path in run.iterdir()}


def test_a_run_in_use_can_be_read_and_one_that_is_finished_needs_no_lock(
    holder, finished_run, made_once, tmp_path
):
    run = tmp_path / "run"
    run.symlink_to(finished_run("pca"))
    holder(run)
    results = json.loads((run / "results.json").read_text())
    assert train_and_evaluate(read_config(run), run) == results
    assert evaluate(run)["metrics"]["mse"] == pytest.approx(results["val"]["mse"])


def test_who_has_it_is_said_while_it_lasts_and_nothing_is_left(tmp_path):
    run = tmp_path / "a" / "b"
    with lock.alone(run):
        user = json.loads((run / lock.USER).read_text())
        assert (user["pid"], user["host"]) == (os.getpid(), socket.gethostname())
        with pytest.raises(UserError, match="in use by process"), lock.alone(run):
            pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="mine"), lock.alone(run):
        (run / "kept").touch()
        raise ValueError("mine")
    assert [path.name for path in run.iterdir()] == ["kept"]


def test_where_the_file_system_has_no_locks_it_says_so(monkeypatch, tmp_path, capsys):
    def acquire(self):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with lock.alone(tmp_path / "run"):
        pass
    assert "has no locks ([Errno 37] No locks available)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
