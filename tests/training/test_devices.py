"""One device, eight, or two processes: the same run."""

import json
import re
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from outcome import assert_same_outcome, saved_state

from vocjax.config import to_json
from vocjax.errors import UserError
from vocjax.hosts import PATIENCE, joined_hosts
from vocjax.mesh import local_rows, make_mesh, rows_per_batch
from vocjax.runs.checkpoints import has_checkpoint
from vocjax.runs.reader import read_epochs
from vocjax.training.loop import train_and_evaluate

BARE = """
from vocjax.tasks import make_task
from vocjax.tasks.task import Final

def bare(config):
    return make_task(config)._replace(baselines={}, finish=lambda trained: Final(), inspect=None)
"""
EIGHT = (
    BARE
    + """
import shutil, signal, sys
from pathlib import Path
import jax, numpy as np
from vocjax import mesh
from vocjax.config import from_json
from vocjax.runs.checkpoints import Checkpoints
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records

assert jax.device_count() == 8
folder = Path(sys.argv[1])
config = from_json((folder / "config.json").read_text())
task = bare(config)
train_and_evaluate(config, folder / "whole", task)

mesh.SPLIT_FROM, split = 1, config.copy_and_resolve_references()
split.shard_parameters = True
save, shares = Checkpoints.save, []

def note_shares(self, step, state, metrics=None):
    for tree in (state.params, state.opt_state):
        leaves = [x for x in jax.tree.leaves(tree) if any(side % 8 == 0 for side in x.shape)]
        shares.append({x.addressable_shards[0].data.size / x.size for x in leaves})
    save(self, step, state, metrics)

Checkpoints.save = note_shares
train_and_evaluate(split, folder / "split", task)
shutil.copytree(folder / "split", folder / "further")
split.epochs *= 2  # it is restored in parts, too
train_and_evaluate(split, folder / "further", task)
Checkpoints.save = save
assert shares and all(of == {1 / 8} for of in shares), shares

save, count_step, steps = Checkpoints.save, Records.step, []

def note_and_save(self, step, state, metrics=None):
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = jax.tree.leaves_with_path(state)
    held = {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
    assert all(x.sharding.num_devices == 8 for x in held.values())
    np.savez(folder / "held.npz", **held)
    save(self, step, state._replace(key=jax.random.wrap_key_data(state.key)), metrics)

def stop_at_seven(self):
    count_step(self)
    steps.append(None)
    if len(steps) == 7:
        signal.raise_signal(signal.SIGTERM)

Checkpoints.save, Records.step = note_and_save, stop_at_seven
try:
    train_and_evaluate(config, folder / "interrupted", task)
except Interrupted as stop:
    print(stop)
"""
)


@pytest.fixture(scope="module")
def padded_config(random_config):
    """20 steps of 9 and 3 images, which make one update; eight devices pad them to 16."""
    return random_config(
        epochs=10,
        batch_size=9,
        evaluate_every_epochs=5,
        **{
            "model.encoder": (8, 8),  # as many channels as devices, which can be split
            "optimizer.accumulate": 2,
            # Adam and rmsprop divide by the gradient's size, and with it rounding grows.
            "optimizer.name": "sgd",
            "optimizer.arguments": (("momentum", 0.9),),  # a state, whose small arrays are joined
            "optimizer.learning_rate": 0.02,
        },
    )


@pytest.fixture(scope="module")
def shared_config(tiny_config):
    """20 steps of the smallest model, for two processes: 5 or 4 images, and one of padding."""
    sgd = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.5, "data.classes": ()}
    return tiny_config("linear_autoencoder", epochs=4, batch_size=5, evaluate_every_epochs=2, **sgd)


@pytest.fixture(scope="module")
def on_one_device(padded_config, shared_config, bare, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    for name, config in (("padded", padded_config), ("shared", shared_config)):
        train_and_evaluate(config, folder / name, bare(config))
    return folder


@pytest.fixture(scope="module")
def on_eight_devices(padded_config, child_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight")
    (folder / "config.json").write_text(to_json(padded_config))
    flags = child_environment()["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    process = subprocess.run(
        [sys.executable, "-c", EIGHT, str(folder)],
        env=child_environment(XLA_FLAGS=flags, JAX_PLATFORMS="cpu"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "step 7 of 20 is saved" in process.stdout
    return folder


def assert_close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        distance = np.linalg.norm(np.float64(array) - theirs[name])
        assert distance <= 1e-5 * np.linalg.norm(np.float64(theirs[name])), name


def assert_close_records(run, other):
    ours, theirs = read_epochs(run), read_epochs(other)
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    for record, expected in zip(ours, theirs, strict=True):
        for split in ("train", "val"):
            assert record[split] == pytest.approx(expected[split], rel=1e-4)


def test_eight_devices_equal_one(on_one_device, on_eight_devices):
    one, eight = on_one_device / "padded", on_eight_devices / "whole"
    assert json.loads((eight / "run.json").read_text())["device"]["count"] == 8
    assert_close(saved_state(eight, 20), saved_state(one, 20))
    assert_close_records(eight, one)


def test_parameters_that_are_split_equal_replicas(on_eight_devices):
    split, whole = on_eight_devices / "split", on_eight_devices / "whole"
    assert_close(saved_state(split, 20), saved_state(whole, 20))
    assert_close_records(split, whole)
    assert read_epochs(on_eight_devices / "further")[-1]["step"] == 40


def test_state_saved_on_eight_is_restored_on_one(
    on_one_device, on_eight_devices, padded_config, bare
):
    run = on_eight_devices / "interrupted"
    with np.load(on_eight_devices / "held.npz") as held:
        restored = saved_state(run, 7)
        assert restored.keys() == set(held)
        for name, array in restored.items():
            np.testing.assert_array_equal(array, held[name], err_msg=name, strict=True)
    assert jax.device_count() == 1
    train_and_evaluate(padded_config, run, bare(padded_config))
    assert_close(saved_state(run, 20), saved_state(on_one_device / "padded", 20))
    assert_close_records(run, on_one_device / "padded")


TWO = (
    BARE
    + """
import os, signal, sys, time
from pathlib import Path
import jax
from vocjax import cli
from vocjax.config import load_config
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records

folder, written = Path(sys.argv[1]), []

def note_writing(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
    if writes or event in ("os.rename", "os.remove"):
        path = str(arguments[0])
        if path.startswith(str(folder)) and "/checkpoints" not in path:
            written.append(path)

sys.addaudithook(note_writing)
config = ["--config", str(folder / "pca" / "config.py"), "--workdir", str(folder / "pca" / "run")]
assert cli.main(["train", *config, "--distributed"]) == 0
assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 2, 1)
for name in ("device", "stream"):
    config = load_config(folder / "config.py", [f"--config.data.storage={name}"])
    train_and_evaluate(config, folder / name, bare(config))
assert bool(written) == (jax.process_index() == 0), written

count_step, steps = Records.step, []

def stop_at_three(self):
    count_step(self)
    steps.append(None)
    if len(steps) == 3 and jax.process_index() == 0:
        signal.raise_signal(signal.SIGINT)
    if len(steps) >= 3:
        time.sleep(1)  # JAX's service looks for a SIGTERM once a second

Records.step = stop_at_three
config = load_config(folder / "config.py")
try:
    train_and_evaluate(config, folder / "interrupted", bare(config))
except Interrupted as stop:
    print(f"signal {stop.signal_number}, {stop}")
"""
)


def address_of_two():
    """The environment with which two processes on this machine find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_COORDINATOR_BIND_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
        "JAX_PLATFORMS": "cpu",
    }


@pytest.fixture(scope="module")
def two_processes(shared_config, tiny_config, write_config, child_environment, tmp_path_factory):
    """A folder with runs that two processes did together, and what each of them said."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "pca").mkdir()
    write_config(shared_config, folder)
    write_config(tiny_config("pca"), folder / "pca")
    together = address_of_two()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(folder)],
            env=child_environment(JAX_PROCESS_ID=str(number), **together),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    return folder, said


def test_two_processes_equal_one(two_processes, on_one_device):
    folder, _ = two_processes
    assert json.loads((folder / "device" / "run.json").read_text())["device"]["count"] == 2
    assert_close(saved_state(folder / "device", 20), saved_state(on_one_device / "shared", 20))
    assert_close_records(folder / "device", on_one_device / "shared")


def test_two_processes_stream_what_they_would_keep(two_processes):
    folder, _ = two_processes
    assert_same_outcome(folder / "stream", folder / "device")


def test_two_processes_fit_a_closed_form(two_processes, finished_run):
    folder, _ = two_processes
    ours, theirs = (
        json.loads((run / "results.json").read_text())
        for run in (folder / "pca" / "run", finished_run("pca"))
    )
    assert ours["val"] == pytest.approx(theirs["val"], rel=1e-4)


def test_only_the_first_process_speaks(two_processes):
    """That only it writes files, the processes themselves assert."""
    _, ((_, first), (_, second)) = two_processes
    assert "epoch 4/4" in first
    assert "epoch" not in second


def test_ctrl_c_of_one_process_stops_both_at_the_same_step(
    two_processes, on_one_device, shared_config, bare
):
    folder, ((first, _), (second, _)) = two_processes
    run = folder / "interrupted"
    step = int(saved_state(run)["step"])
    assert 3 <= step < 20, two_processes[1]
    assert f"signal 2, stopped by signal; step {step} of 20 is saved in {run}." in first
    assert f"signal 15, stopped by signal; step {step} of 20 is saved in {run}." in second
    train_and_evaluate(shared_config, run, bare(shared_config))  # continued alone
    assert_close(saved_state(run, 20), saved_state(on_one_device / "shared", 20))
    assert_close_records(run, on_one_device / "shared")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_host_ends_with_a_sentence_where_another_dies(
    victim, tiny_config, write_config, child_environment, tmp_path
):
    config, run = (
        tiny_config("linear_autoencoder", epochs=10**6, **{"data.size": 4}),
        tmp_path / "r",
    )
    arguments = ["--config", str(write_config(config, tmp_path)), "--workdir", str(run)]
    together = address_of_two()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "vocjax", "train", *arguments, "--distributed"],
            env=child_environment(JAX_PROCESS_ID=str(number), **together),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        next(line for line in processes[0].stderr if ": epoch 20/" in line)
        processes[victim].kill()
        _, said = processes[1 - victim].communicate(timeout=PATIENCE + 30)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert processes[1 - victim].returncode not in (0, -signal.SIGKILL)
    words = r"vocjax: .*another host died or can't be reached.* The last checkpoint is whole: give"
    assert re.search(words, said), said
    assert has_checkpoint(run)


def test_joining_nobody_is_refused(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(UserError, match=r"set JAX_COORDINATOR_ADDRESS .* JAX_NUM_PROCESSES"),
        joined_hosts(),
    ):
        pass
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with (
        pytest.raises(UserError, match=r"can't join the other hosts: invalid literal .* 'two'"),
        joined_hosts(),
    ):
        pass


def test_rows_of_one_device():
    mesh = make_mesh()
    assert rows_per_batch(6, mesh) == 6
    rows = np.arange(6)
    np.testing.assert_array_equal(local_rows(rows, mesh), rows)
