"""What a run says while it trains: metrics.jsonl, the same by other writers, and progress."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from tqdm import tqdm

from vocjax.data.dataset import Dataset
from vocjax.files import append_text, finite, to_json, write_text
from vocjax.runs.reader import read_epochs
from vocjax.training.writers import Writer


class Records:
    """The metrics log and the progress display of a run; only the first host writes and shows."""

    def __init__(
        self,
        workdir: Path,
        name: str,
        first_step: int,
        steps: int,
        make_bar: Callable[..., Any] = tqdm,
    ) -> None:
        """Continue after `first_step`; epochs logged later are dropped, because they run again.

        `epochs` are the records of the run so far, on every host. `make_bar` makes the progress
        display; it has tqdm's arguments, `update` and `close`.
        """
        self._path = workdir / "metrics.jsonl"
        self._name, self._first_step, self._steps = name, first_step, steps
        self._begun = time.monotonic()
        self._writes = jax.process_index() == 0
        self._writers: list[Writer] = []
        shown = {"total": steps, "initial": first_step, "desc": name, "unit": "step"}
        shows = self._writes and sys.stderr.isatty()
        self._bar = make_bar(**shown, leave=False, disable=not shows)
        self.epochs = [record for record in read_epochs(workdir) if record["step"] <= first_step]
        if not self._writes:
            return
        write_text(self._path, "".join(to_json(record) + "\n" for record in self.epochs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        for writer in self._writers:
            writer.close()

    def add(self, writer: Writer) -> None:
        """Write the values from now on also by a writer, which is closed with the records."""
        self._writers.append(writer)

    def step(self) -> None:
        """Move the bar by one step."""
        self._bar.update()

    def begin(self, data: Dataset, parameters: int, notes: Sequence[str] = ()) -> None:
        """Say what the run works on, and further notes on it, a line each."""
        counts = " and ".join(f"{n} {split}" for split, n in data.counts.items())
        where = "on the device" if data.splits["train"].resident else "streamed"
        at = f"from step {self._first_step} of {self._steps}" if self._steps else "no step to train"
        for line in (f"{counts} images {where}, {parameters:,} parameters, {at}", *notes):
            self.say(line)

    def phase(self, first: int, end: int, trained: int, frozen: int) -> None:
        """Say what learns in the epochs from `first`, counted from 0, to before `end`."""
        epochs = f"epochs {first + 1} to {end}"
        self.say(f"{epochs}: {trained:,} parameters learn, {frozen:,} are frozen")

    def say(self, line: str) -> None:
        """Say something about the run, in a line."""
        if self._writes:
            tqdm.write(f"{self._name}: {line}", file=sys.stderr)

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Log an epoch: {"epoch", "step", "seconds", "images_per_second", "train", "val"}."""
        self.epochs.append(record)
        if not self._writes:
            return
        append_text(self._path, to_json(record) + "\n")
        scalars = {
            f"{split}/{metric}": value
            for split in ("train", "val")
            for metric, value in finite(record[split]).items()
        }
        for writer in self._writers:
            writer.scalars(record["step"], scalars)
        values = ", ".join(
            f"{metric} {_shown(record['train'][metric])} / {_shown(record['val'][metric])}"
            for metric in list(record["val"])[:2]
        )
        seconds = (time.monotonic() - self._begun) / (record["step"] - self._first_step)
        left = seconds * (self._steps - record["step"])
        self.say(
            f"epoch {record['epoch']}/{epochs}, train / val {values}, "
            f"{record['images_per_second']:.0f} images/s, {left:.0f} s left"
        )

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Show pictures of examples of val, uint8 [n, height, width, 3] by name."""
        for writer in self._writers:
            writer.images(step, {f"val/{name}": images for name, images in pictures.items()})


def _shown(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.4g}"
