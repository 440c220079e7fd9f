"""What a run says while it trains: metrics.jsonl always, TensorBoard where installed, progress."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import jax
from tqdm import tqdm

from vocjax.data.dataset import Dataset
from vocjax.files import finite, to_json, write_text
from vocjax.runs.reader import read_epochs

try:
    from tensorboardX import SummaryWriter
except ImportError:  # the extra `tensorboard` is not installed
    SummaryWriter = None


class Records:
    """The metrics log and the progress display of a run; only the first host writes and shows."""

    def __init__(self, workdir: Path, name: str, first_step: int, steps: int) -> None:
        """Continue after `first_step`; epochs logged later are dropped, because they run again."""
        self._path = workdir / "metrics.jsonl"
        self._name, self._first_step, self._steps = name, first_step, steps
        self._begun = time.monotonic()
        self._writes = jax.process_index() == 0
        self._tensorboard = None
        shown = {"total": steps, "initial": first_step, "desc": name, "unit": "step"}
        shows = self._writes and sys.stderr.isatty()
        self._bar = tqdm(**shown, leave=False, disable=not shows)
        if not self._writes:
            return
        kept = [record for record in read_epochs(workdir) if record["step"] <= first_step]
        write_text(self._path, "".join(to_json(record) + "\n" for record in kept))
        if SummaryWriter is not None and steps:
            folder = str(workdir / "tensorboard")
            self._tensorboard = SummaryWriter(folder, purge_step=first_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def step(self) -> None:
        """Move the bar by one step."""
        self._bar.update()

    def begin(self, data: Dataset, parameters: int, notes: Sequence[str] = ()) -> None:
        """Say what the run works on, and further notes on it, a line each."""
        counts = " and ".join(f"{n} {split}" for split, n in data.counts.items())
        where = "on the device" if data.splits["train"].resident else "streamed"
        at = f"from step {self._first_step} of {self._steps}" if self._steps else "no step to train"
        for line in (f"{counts} images {where}, {parameters:,} parameters, {at}", *notes):
            self.note(line)

    def phase(self, first: int, end: int, trained: int, frozen: int) -> None:
        """Say what learns in the epochs from `first`, counted from 0, to before `end`."""
        epochs = f"epochs {first + 1} to {end}"
        self.note(f"{epochs}: {trained:,} parameters learn, {frozen:,} are frozen")

    def note(self, line: str) -> None:
        """Say a line, on the first host."""
        if self._writes:
            tqdm.write(f"{self._name}: {line}", file=sys.stderr)

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Log an epoch: {"epoch", "step", "seconds", "images_per_second", "train", "val"}."""
        if not self._writes:
            return
        with self._path.open("a") as file:
            file.write(to_json(record) + "\n")
        if self._tensorboard is not None:
            for split in ("train", "val"):
                for metric, value in finite(record[split]).items():
                    self._tensorboard.add_scalar(f"{split}/{metric}", value, record["step"])
        values = ", ".join(
            f"{metric} {_shown(record['train'][metric])} / {_shown(record['val'][metric])}"
            for metric in list(record["val"])[:2]
        )
        seconds = (time.monotonic() - self._begun) / (record["step"] - self._first_step)
        left = seconds * (self._steps - record["step"])
        self.note(
            f"epoch {record['epoch']}/{epochs}, train / val {values}, "
            f"{record['images_per_second']:.0f} images/s, {left:.0f} s left"
        )


def _shown(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.4g}"
