"""Run directories, as the trainer leaves them and the report reads them.

- `config.json`: the whole config, among it `task`, `name`, `model`, `data`, `optimizer`, `epochs`.
- `run.json`: how to repeat the run: command, commit, `code` (a hash of the source), versions,
  device, data set, paths as seen from the run directory, and all starts, with what each `changed`
  in the config; `reused`: the run that this one is a copy of. See `runs/fingerprint.py`.
- `baselines.json` and, for a classifier, `before.npz`: the metrics of the simple baselines and the
  codes before training. Both are copied into the two files below; a resumed run reads them here.
- `metrics.jsonl`: a line for each epoch, with the values on `train` and `val`.
- `results.json`: the final values and those of the baselines; absent until the run is finished.
  `stopped_early` says why a run ended before its last epoch.
  A metric that is not defined on a split is not there, and `absent` has the reason.
- `samples.npz`: the arrays that the report draws.
- `run.lock`, `in_use.json`: only while a process trains; see `runs/lock.py`.

Only `config.json` must be there: it makes a directory a run.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from ml_collections import ConfigDict

from vocjax import bounds
from vocjax.config import base_config, from_json
from vocjax.errors import UserError, check_choice
from vocjax.files import finite

BASELINES, BEFORE = "baselines.json", "before.npz"
EXPORTED = ("model.safetensors", "model.stablehlo", "model.onnx")  # of `vocjax export`
TASKS = ("reconstruction", "classification", "segmentation")
SPLITS = ("train", "val")
# What is read of results.json besides the figures themselves, and its types.
RESULTS: dict[str, Any] = {"epoch": int, "step": int, "seconds": int | float}
RESULTS |= dict.fromkeys((*SPLITS, "baselines"), dict)


@dataclass(frozen=True)
class Run:
    """One run directory in memory; what is missing is empty, or `None` for the results."""

    directory: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    epochs: list[dict[str, Any]]
    results: dict[str, Any] | None
    samples: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """The experiment's own name, or else the directory's."""
        return str(self.config.get("name") or self.directory.name)

    @property
    def task(self) -> str:
        """One of `TASKS`."""
        return self.config["task"]

    @property
    def dataset(self) -> str:
        """Which data set, and whether only a part of it was there."""
        made = lookup(self.provenance, "dataset")
        name = lookup(made, "name") or lookup(self.config, "data", "dataset") or "unknown data"
        return f"{name} (partial)" if lookup(made, "partial") else str(name)

    @property
    def data(self) -> str:
        """What the run was trained on: data set, image size, classes, numbers of images."""
        height, width, channels = (
            lookup(self.config, "data", key) for key in ("size", "width", "channels")
        )
        classes = lookup(self.config, "data", "classes") or []
        images = lookup(self.provenance, "images") or {}
        return joined(
            self.dataset,
            joined(height, width or height, channels, by="\N{MULTIPLICATION SIGN}"),
            ", ".join(map(str, classes)) if len(classes) <= 4 else f"{len(classes)} classes",
            joined(*(f"{count} {split}" for split, count in images.items())),
            by=" · ",
        )

    @property
    def device(self) -> str:
        """How many devices of which kind; empty where it is not known."""
        kind, count = (lookup(self.provenance, "device", key) for key in ("kind", "count"))
        return f"{count} \N{MULTIPLICATION SIGN} {kind}" if kind and count else ""

    @property
    def outcome(self) -> str:
        """How many epochs and steps the run has, and its seconds."""
        if self.results is None:
            last = self.epochs[-1]["epoch"] if self.epochs else 0
            planned = self.config.get("epochs")
            return f"unfinished: last epoch {last}" + (f" of {planned}" if planned else "")
        epoch, step, seconds = (self.results.get(key) for key in ("epoch", "step", "seconds"))
        took = f"{seconds:,.1f} s" if seconds else ""
        work = joined(counted(epoch, "epoch"), counted(step, "step"), took)
        stopped = self.results.get("stopped_early")
        return joined("stopped early" if stopped else "finished", work, by=": ")

    def field(self, name: str) -> Any:
        """Return the config's value of a field by its full name ("model.name"), else `None`."""
        return lookup(self.config, *name.split("."))

    def baseline(self, kind: str) -> dict[str, Any]:
        """Return {split: {metric: value}} of a baseline, {} where the run has none of that kind.

        The kind is the name without its size: "PCA" of "PCA, at most 16 components".
        """
        measured = lookup(self.results, "baselines") or {}
        return next((v for name, v in measured.items() if name.split(",")[0] == kind), {})


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read run directories, and folders that hold them one level down, each run once.

    The order is that of `directories`, within a folder by start. `UserError` where there are none,
    one is neither, or a file of a run can't be read.
    """
    if not directories:
        raise UserError(
            "No run directory given, expected at least one: `vocjax report DIR... --output FILE`."
        )
    runs: dict[Path, Run] = {}
    for directory in directories:
        inside = [p.parent for p in directory.glob("*/config.json") if is_run(p.parent)]
        paths = [directory] if is_run(directory) else inside
        if not paths:
            found = "is a file" if directory.is_file() else "does not exist"
            if directory.is_dir():
                found = "is no run: no config.json lies in it or in a folder directly in it"
            if is_exported(directory):
                found = "is an exported model and no run"
            raise UserError(
                f"{directory} {found}. Expected the directory of a run, or a folder of such "
                "directories: give the --workdir of a `vocjax train`."
            )
        read = [read_run(path) for path in paths]
        read.sort(key=lambda run: (str(lookup(run.provenance, "started") or ""), run.directory))
        for run in read:
            runs.setdefault(run.directory.resolve(), run)
    return list(runs.values())


def read_run(directory: Path) -> Run:
    """Read one run directory, finished or not; `UserError` where a file is broken."""
    config = read_json(directory / "config.json") or {}
    check_choice(f"task in {directory / 'config.json'}", config.get("task"), TASKS)
    return Run(
        directory=directory,
        config=config,
        provenance=read_provenance(directory),
        epochs=read_epochs(directory),
        results=read_results(directory),
        samples=read_arrays(directory / "samples.npz"),
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise `UserError` where the block finds that a file of a run is broken."""
    try:
        yield
    except (OSError, ValueError, EOFError, NotImplementedError, BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} can't be read: {error}. Expected the file as `vocjax train` writes it: "
            "restore it, or train again in another directory."
        ) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object of a run, `None` where the file is absent; `UserError` if it is broken."""
    if not path.exists():
        return None
    with _reading(path):
        tree = finite(bounds.read_json(path))
        if not isinstance(tree, dict):
            raise ValueError(f"it holds a {type(tree).__name__}, not an object")
    return tree


def read_provenance(directory: Path) -> dict[str, Any]:
    """Read the run.json of a run, {} where it is absent; `UserError` if it is broken."""
    path = directory / "run.json"
    made = read_json(path) or {}
    with _reading(path):
        for field, kind in (("paths", dict), ("starts", list), ("custom", list)):
            if not isinstance(made.get(field, kind()), kind):
                raise ValueError(f"its {field} is {made[field]!r}")
        for field, way in made.get("paths", {}).items():
            if not isinstance(way, str):
                raise ValueError(f"its path of {field} is {way!r}")
    return made


def is_run(directory: Path) -> bool:
    """Return whether a directory holds a run, finished or not."""
    return (directory / "config.json").is_file() and not is_exported(directory)


def is_exported(directory: Path) -> bool:
    """Return whether a directory is what `vocjax export` writes."""
    return any((directory / name).is_file() for name in EXPORTED)


def read_config(workdir: Path) -> ConfigDict:
    """Return the config of a run; `UserError` if the directory holds none that can be read.

    A field that is not there has its value from `base_config`; the task refuses a model or a loss
    without one of its fields.
    """
    path = workdir / "config.json"
    if is_exported(workdir):
        raise UserError(
            f"{workdir} is an exported model, which `vocjax predict`, `vocjax evaluate --dataset` "
            "and vocjax.load read. For all else give the directory of the run that it comes from."
        )
    if not is_run(workdir):
        raise UserError(
            f"{workdir} holds no run (no config.json); "
            f"`vocjax train --config FILE --workdir {workdir}` makes one."
        )
    try:
        return completed(bounds.read_bytes(path).decode())
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged: {reason}. Restore it, or train again.") from error


def completed(text: str) -> ConfigDict:
    """Return the config in a JSON text, with the values of `base_config` for what is not there.

    Raises `ValueError` for images that no file can have.
    """
    config = base_config().unlock()
    config.update(from_json(text))
    height, width = config.data.size, config.data.width or config.data.size
    if height * width > bounds.PIXELS:
        raise ValueError(f"its images have {height} x {width} pixels")
    return config.lock()


def read_results(directory: Path) -> dict[str, Any] | None:
    """Read the results of a finished run, `None` for another; `UserError` for other types."""
    path = directory / "results.json"
    results = read_json(path)
    with _reading(path):
        for name, kind in RESULTS.items():
            value = lookup(results, name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ValueError(f"{name} is {value!r}")
    return results


def results_of(directory: Path, checkpoint: str, step: int) -> dict[str, Any]:
    """Return what is known of a checkpoint: results.json, or what `vocjax evaluate` wrote of it."""
    if checkpoint == "last":
        return read_results(directory) or {}
    known = (read_json(directory / f"evaluation_{split}_{checkpoint}.json") for split in SPLITS)
    return next((found for found in known if found and found.get("step") == step), {})


def read_epochs(directory: Path) -> list[dict[str, Any]]:
    """Read the metrics.jsonl of a run; half a last line, which a killed run leaves, is ignored."""
    path = directory / "metrics.jsonl"
    epochs: dict[int, dict[str, Any]] = {}
    with _reading(path):
        lines = bounds.read_bytes(path).decode().splitlines() if path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                record = finite(bounds.parse_json(line))
            except ValueError as error:
                if number == len(lines):
                    break
                raise ValueError(f"line {number}: {error}") from error
            # A resumed run can have written an epoch twice: the later line is the valid one.
            if (epoch := lookup(record, "epoch")) is not None:
                if type(epoch) is not int:
                    raise ValueError(f"line {number}: epoch is {epoch!r}, which is no whole number")
                epochs[epoch] = record
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of a run, {} where the file is absent; `UserError` if it is broken."""
    if not path.exists():
        return {}
    with _reading(path):
        return bounds.read_arrays(path, bounds.NUMBERS + bounds.TEXTS, bounds.ARRAYS)


def lookup(tree: Any, *path: str) -> Any:
    """Return the value at a path of keys in nested dicts, `None` where any of them is missing."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def counted(number: int | None, noun: str) -> str:
    """Return a number with its noun, empty for none."""
    return f"{number:,} {noun}{'s' if number > 1 else ''}" if number else ""


def joined(*parts: Any, by: str = ", ") -> str:
    """Return the parts that are not empty as one text."""
    return by.join(str(part) for part in parts if part)
