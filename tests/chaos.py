"""Kill a small training again and again: it must go on each time, and end like one left alone.

    make chaos
    .venv/bin/python tests/chaos.py --kills 20 --while-saving 5 --seed 0

Each run is killed once, at a random moment or while it writes a checkpoint, and continued by the
same command. Its state, metrics and results must equal those of the undisturbed run to the last
bit. The exit code is 1 where one does not; its directory is kept.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outcome import assert_same_outcome
from record import keep

from vocjax.runs.checkpoints import FOLDER

EPOCHS = 30
# Batch norm, dropout, augmentation and an average: everything that a run could forget.
CONFIG = (
    "--config=autoencoder_256",
    f"--config.epochs={EPOCHS}",
    "--config.data.size=16",
    "--config.model.encoder=(4,4)",
    "--config.model.decoder=(4,)",
    "--config.model.norm=batch",
    "--config.model.dropout=0.2",
    "--config.data.augment.flip=True",
    "--config.optimizer.average_decay=0.9",
)
LONGEST = 600  # seconds of a training that is not disturbed


def start(run: Path, data_dir: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the training in a directory, or continue it; what it says is added to `log`."""
    where = ("--workdir", str(run), f"--config.data.data_dir={data_dir}")
    command = [sys.executable, "-m", "vocjax", "train", *CONFIG, *where]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def finish(run: Path, data_dir: Path, log: Path) -> float:
    """Train to the end and return the seconds; raises `AssertionError` where that fails."""
    begun, process = time.monotonic(), start(run, data_dir, log)
    code = process.wait(LONGEST)
    said = log.read_text(errors="replace")
    assert code == 0, f"exit code {code}: {said.splitlines()[-1:]}"
    assert "Traceback" not in said, f"a traceback in {log}"
    return time.monotonic() - begun


def at_time(seconds: float) -> Callable[[Path], bool]:
    """Return what says whether a moment has come, so many seconds from now."""
    end = time.monotonic() + seconds
    return lambda run: time.monotonic() >= end


def at_save(number: int) -> Callable[[Path], bool]:
    """Return what says whether a run writes the so many-th checkpoint that can be seen."""
    seen: set[str] = set()

    def is_writing(run: Path) -> bool:
        # Orbax writes a checkpoint in a folder of another name, and renames this in the end.
        begun = {path.name for path in (run / FOLDER).glob("*tmp*")}
        seen.update(begun)
        return bool(begun) and len(seen) >= number

    return is_writing


def kill(process: subprocess.Popen[bytes], run: Path, is_time: Callable[[Path], bool]) -> bool:
    """Kill a process when the time has come; return whether it still ran."""
    while process.poll() is None and not is_time(run):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def state_of(run: Path) -> str:
    """Return in words what a run that was killed has left."""
    steps = [path.name for path in (run / FOLDER).glob("*")]
    whole = [int(name) for name in steps if name.isdigit()]
    half = f", {len(steps) - len(whole)} half-written" if len(whole) < len(steps) else ""
    return f"checkpoint {max(whole)}{half}" if whole else f"no checkpoint{half}"


def main() -> int:
    """Parse the flags, disturb and compare; 0 if all runs are equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="default: 20")
    what = "how many of them are while a checkpoint is written (default: 5)"
    parser.add_argument("--while-saving", type=int, default=5, help=what)
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the figures in it")
    options = parser.parse_args()
    draw, home = random.Random(options.seed), Path(tempfile.mkdtemp(prefix="chaos-"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    whole, data, failed, begun = home / "whole", home / "data", 0, time.monotonic()
    finish(home / "first", data, home / "first.log")  # draws the data, fills the cache
    seconds = finish(whole, data, home / "whole.log")
    steps = json.loads((whole / "results.json").read_text())["step"]
    print(f"undisturbed: {steps} steps, {EPOCHS} checkpoints, {seconds:.1f} s", flush=True)
    for number in range(1, options.kills + 1):
        run, log, tries = home / f"run_{number}", home / f"run_{number}.log", 0
        saves = number <= options.while_saving
        while True:  # the moment can be after the end
            shutil.rmtree(run, ignore_errors=True)
            moment = at_save(draw.randint(1, 8)) if saves else at_time(draw.uniform(0, seconds))
            started = time.monotonic()
            if kill(start(run, data, log), run, moment):
                break
            seconds = min(seconds, time.monotonic() - started)  # the machine has less other work
            tries += 1
            assert tries < 10, "ten runs ended before they could be killed"
        left, verdict = state_of(run), "equal"
        try:
            finish(run, data, log)
            assert_same_outcome(run, whole)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            verdict = f"DIFFERENT ({error}), kept in {run}"
            failed += 1
        else:
            shutil.rmtree(run)
        how = "while a checkpoint was written" if saves else "at a random moment"
        to_go = (time.monotonic() - begun) / number * (options.kills - number)
        print(f"{number}/{options.kills} killed {how}, {left}: {verdict}, {to_go:.0f} s left")
        sys.stdout.flush()
    print(f"{options.kills} killed, {options.kills - failed} equal to the last bit, seed", end=" ")
    print(f"{options.seed}, {time.monotonic() - begun:.0f} s")
    if options.record is not None:
        record = {"kills": options.kills, "while_saving": min(options.while_saving, options.kills)}
        record |= {"equal": options.kills - failed, "seconds": time.monotonic() - begun}
        keep(options.record, {"name": "chaos", **record})
    if not failed:
        shutil.rmtree(home)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
