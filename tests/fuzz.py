"""Change sound files and requests at random, and read them: each is accepted, or refused.

    make fuzz SECONDS=60
    .venv/bin/python tests/fuzz.py --seconds 60 --seed 0 --only images weights

A case holds if the reader returns or raises `UserError`, within the limits of time and memory.
Anything else is a fault: the case is kept as a file, and the exit code is 1.
"""

import argparse
import math
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from fuzz_kinds import KINDS
from record import keep

# Of a case: seconds of processor time, and of the clock; memory beyond what the process has before.
MOST_SECONDS, MOST_WAIT, MOST_BYTES = 10, 120, 2 << 30
START_SECONDS = 120  # of a process: imports, and the data that it begins with
NUMBERS = (b"0", b"-1", b"1e400", b"NaN", b"9" * 40, b"2147483648", b"18446744073709551616")
WORDS = (b"\x00", b"\xff" * 4, b"\x7f\xff\xff\xff", b"../", b"[" * 500, b"&lt;", b"\\u0000", b'""')


class Case(NamedTuple):
    """What came out of a changed content: "" where it held, else why not."""

    accepted: bool
    fault: str


def mutated(draw: random.Random, contents: Sequence[bytes]) -> bytes:
    """Return one of the contents with one to four changes."""
    content = bytearray(draw.choice(contents))
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(content) + 1)
        length = draw.choice((1, 2, 4, 8, len(content) // 4 + 1))
        match draw.randrange(8):
            case 0 if content:
                content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = content[at : at + length] * draw.choice((1, 2, 50))
            case 3:
                content[at : at + length] = draw.randbytes(length)
            case 4:
                content[at : at + draw.choice((0, 4))] = draw.choice(WORDS)
            case 5 if found := list(re.finditer(rb"-?\d+(\.\d+)?", bytes(content))):
                start, end = draw.choice(found).span()
                content[start:end] = draw.choice(NUMBERS)
            case 6:
                other = draw.choice(contents)
                content[at:] = other[draw.randrange(len(other) + 1) :]
            case 7:
                value = draw.choice((0, 1, 2**31 - 1, 2**32 - 1, draw.getrandbits(32)))
                content[at : at + 4] = value.to_bytes(4, draw.choice(("little", "big")))
    return bytes(content)


def work(kind: str, pipe: Connection) -> None:
    """Read the contents that come through a pipe, and send what came out; a process of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes there what it dislikes
    contents, read = KINDS[kind]()
    from vocjax.errors import UserError

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "case"
        path.write_bytes(contents[0])
        read(path)  # what a first call imports and compiles is not the case's
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (max(size, held) + MOST_BYTES,) * 2)
        pipe.send(list(contents))
        while content := pipe.recv():
            path.write_bytes(content[0])
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # its signal ends the process
            try:
                read(path)
                pipe.send(Case(True, ""))
            except UserError as error:
                silent = "" if str(error).strip() else "a UserError without a sentence"
                pipe.send(Case(False, silent))
            except BaseException:
                pipe.send(Case(False, traceback.format_exc(limit=-6)))


class Worker:
    """A process that reads cases of a kind, and is started again when one kills it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.contents: Sequence[bytes] = self._start()

    def _start(self) -> Sequence[bytes]:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(self.kind, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError(f"{self.kind}: the process does not start")
        contents: Sequence[bytes] = self._pipe.recv()
        return contents

    def read(self, content: bytes) -> Case:
        """Return what comes out of a content."""
        try:
            self._pipe.send((content,))
            if self._pipe.poll(MOST_WAIT):
                found: Case = self._pipe.recv()
                return found
            fault = f"no end within {MOST_WAIT} s"
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            fault = f"the process ended with exit code {code}"
            if code == -signal.SIGPROF:
                fault = f"no end within {MOST_SECONDS} s of processor time"
        self.end()
        self._start()
        return Case(False, fault)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def fuzz(
    kind: str, seconds: float, seed: int, kept: Path, most: float = math.inf
) -> tuple[int, int, int]:
    """Read changed contents of a kind for some seconds; return how many, accepted, and faults.

    It ends earlier after `most` contents. Those that are at fault are kept as files, with what came
    out beside them.
    """
    worker, draw = Worker(kind), random.Random(f"{kind} {seed}")
    tried, accepted, faults = 0, 0, 0
    shows = sys.stdout.isatty()
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and tried < most:
            content = mutated(draw, worker.contents)
            case = worker.read(content)
            tried, accepted = tried + 1, accepted + case.accepted
            if case.fault:
                faults += 1
                kept.mkdir(parents=True, exist_ok=True)
                name = f"{kind}_{seed}_{tried}"
                (kept / name).write_bytes(content)
                (kept / f"{name}.txt").write_text(case.fault)
                print(f"{kind}: case {tried} of seed {seed} is at fault, kept as {kept / name}")
            if shows and tried % 50 == 0:
                print(f"\r{kind}: {tried}, {end - time.monotonic():.0f} s left ", end="")
    finally:
        worker.end()
    return tried, accepted, faults


def main() -> int:
    """Parse the flags; 0 if every case held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of all kinds; default: 60")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="these kinds")
    what = "where cases that are at fault are kept (default: runs/fuzz)"
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"), metavar="DIR", help=what)
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the figures in it")
    options = parser.parse_args()
    total = [0, 0, 0]
    print(f"{'kind':12} {'tried':>8} {'held':>8} {'accepted':>9} {'refused':>8}")
    for kind in options.only:
        found = fuzz(kind, options.seconds / len(options.only), options.seed, options.output)
        total = [a + b for a, b in zip(total, found, strict=True)]
        show(kind, *found)
    show("all", *total)
    if options.record is not None:
        tried, accepted, faults = total
        record = {"tried": tried, "held": tried - faults, "accepted": accepted}
        keep(options.record, {"name": "fuzz", "seconds": options.seconds, **record})
    return 1 if total[2] else 0


def show(kind: str, tried: int, accepted: int, faults: int) -> None:
    """Print a line of the table."""
    held = tried - faults
    end = "\r" if sys.stdout.isatty() else ""
    print(f"{end}{kind:12} {tried:8} {held:8} {accepted:9} {held - accepted:8}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
