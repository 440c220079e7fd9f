"""Images per second of the input alone, by our threads and by grain, beside a training step.

    taskset -c 0 python -m experiments.input_speed --output runs/input.json
    taskset -c 0,1 python -m experiments.input_speed --output runs/input.json

A process decodes in as many threads as it may use cores: the two commands are one and two threads.
grain (`pip install '.[bench]'`) decodes the same rows by the same functions, in as many threads or
in a worker process, and a figure of it is kept only if its first batch equals ours. Without
`--dataset` photographs of VOC's size are drawn and prepared in a temporary folder: smooth noise,
JPEGs of about 85 kB, with masks. The step is that of `CONFIG`, alone on one batch, and fed by the
stream. All seconds are those of the clock on the wall, so the machine has to be idle. A record of
the same data, size and device in the file is replaced; kept as experiments/results/input.json the
file makes a table.
"""

import argparse
import importlib.metadata
import itertools
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.allocation import keep_memory
from vocjax.config import load_config
from vocjax.data import voc
from vocjax.data.dataset import open_dataset
from vocjax.data.index import Prepared
from vocjax.data.pipeline import Placed
from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.mesh import make_mesh, usable_cores
from vocjax.runs.provenance import environment

from .input_streams import (  # relative: the wheel has this folder as vocjax.experiments
    DRAWN,
    Decode,
    by_grain,
    draw,
    rates,
    streamed,
)
from .scale_worker import begin

CONFIG = "segmentation_unet"
SIZES = (64, 256, 512)
SECONDS, STEPS = 3.0, 5


def trainer(config: ConfigDict, like: Placed) -> Callable[[Placed], None]:
    """Return a function that takes a config's train step on a batch, and waits for its end.

    Batches have the shapes of `like`: the columns of labels are those of the data.
    """
    ready = begin(config, like)
    state = ready.state

    def step(batch: Placed) -> None:
        nonlocal state
        state, _ = jax.block_until_ready(ready.step(state, batch))

    return step


def steps_of(
    step: Callable[[Placed], None], stream: Iterator[Placed], steps: int
) -> tuple[float, float]:
    """Return the median seconds of a step with its wait for the batch, and of the wait alone."""
    taken, waits = [], []
    for _ in range(1 + steps):  # the first one compiles, or fills what is prefetched
        begun = time.perf_counter()
        batch = jax.block_until_ready(next(stream))
        waits.append(time.perf_counter() - begun)
        step(batch)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:]), statistics.median(waits[1:])


def measure(config: ConfigDict, prepared: Prepared, seconds: float, steps: int) -> dict[str, Any]:
    """Return the images per second of every stream, of the step alone, and of the step fed."""
    data, batch_size = open_dataset(config, prepared, make_mesh(), ("train",)), config.batch_size
    decode, stream = Decode(config, prepared), partial(streamed, data, batch_size)
    first = {name: np.asarray(array) for name, array in next(stream()).items()}
    grain = partial(by_grain, decode, batch_size, like=first)
    streams: dict[str, Callable[[], Iterator[Placed]]] = {
        "ours": stream,
        "grain": partial(grain, threads=usable_cores(), workers=0),
        "grain_process": partial(grain, threads=1, workers=1),
    }
    found = rates(streams, batch_size, seconds)
    batches = stream()
    step = trainer(config, next(batches))
    command = shlex.join(["python", "-m", "experiments.input_speed", *sys.argv[1:]])
    alone, _ = steps_of(step, itertools.repeat(next(batches)), steps)
    fed, waited = steps_of(step, batches, steps)
    return {
        "data": config.data.dataset,
        "pixels": config.data.size,
        "config": config.name,
        "batch_size": batch_size,
        "threads": usable_cores(),
        **found,
        "step": batch_size / alone,
        "step_fed": batch_size / fed,
        "waits": waited / fed,
        "provenance": environment() | {"command": command, "grain_version": grain_version()},
    }


def kept(output: Path) -> list[dict[str, Any]]:
    """Return the records of a file, none where it is not there; make its folder."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        return []
    try:
        records: list[dict[str, Any]] = json.loads(output.read_text())
    except ValueError as error:
        raise UserError(f"{output} has other content than records; name another file.") from error
    return records


def grain_version() -> str:
    """Return the version of grain, or that it is not installed."""
    try:
        return importlib.metadata.version("grain")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dataset", default=DRAWN, help="a prepared one; default: drawn anew")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="PIXELS")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"default: {SECONDS:g}")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    options = parser.parse_args()
    keep_memory()

    def key(record: dict[str, Any]) -> tuple[Any, ...]:
        device = record["provenance"]["device"]
        return *(record[name] for name in ("data", "threads", "pixels")), device["kind"]

    try:
        for name in ("seconds", "steps"):
            if getattr(options, name) <= 0:
                raise UserError(f"--{name} is {getattr(options, name)}; give more than 0.")
        if bad := [size for size in options.sizes if size < 1]:
            raise UserError(f"--sizes has {bad[0]}; give numbers of pixels, 1 or more.")
        known = kept(options.output)
        with tempfile.TemporaryDirectory() as scratch:
            if options.dataset == DRAWN:
                options.data_dir = Path(scratch)
                draw(options.data_dir)
            prepared = voc.load(options.dataset, options.data_dir)
            for size in options.sizes:
                fields = {"dataset": options.dataset, "size": size, "storage": "stream"}
                overrides = [f"--config.data.{name}={value}" for name, value in fields.items()]
                config = load_config(CONFIG, overrides)
                found = measure(config, prepared, options.seconds, options.steps)
                known = sorted([*(r for r in known if key(r) != key(found)), found], key=key)
                lines = [to_json(record) for record in known]
                write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")
                shown = f"input {found['ours']['median']:.0f}, step {found['step']:.1f} images/s"
                print(f"{size} px: {shown}, waits {found['waits']:.1%}", flush=True)
    except (UserError, OSError, ValueError) as error:
        print(f"input_speed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
