"""Run directories, as the trainer leaves them and the report reads them.

- `config.json`: the whole config, among it `task`, `name`, `model`, `data`, `optimizer`, `epochs`.
- `run.json`: how to have the run again: command, commit, versions, device, data set.
- `baselines.json` and, of a classifier, `before.npz`: the simple baselines' values and the codes
  that it began with. They end in the two files below; this is where a resumed run finds them.
- `metrics.jsonl`: a line for each epoch, with the values on `train` and `val`.
- `results.json`: the final values and those of the trivial baselines; absent until the run is done.
- `samples.npz`: the arrays that the task draws its figures from.

Only `config.json` has to be there: it is what makes a directory a run.
"""

import json
import statistics
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from vocjax.config import base_config, from_json
from vocjax.errors import UserError

TASKS = ("reconstruction", "classification", "segmentation")


@dataclass(frozen=True)
class Run:
    """One run directory in memory; what is not there is empty, or `None` for the results."""

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
        told = lookup(self.provenance, "dataset")
        name = lookup(told, "name") or lookup(self.config, "data", "dataset") or "unknown data"
        return f"{name} (partial)" if lookup(told, "partial") else str(name)

    @property
    def data(self) -> str:
        """What the run saw: data set, image size, classes, number of images."""
        size, channels = (lookup(self.config, "data", key) for key in ("size", "channels"))
        classes = lookup(self.config, "data", "classes") or []
        images = lookup(self.provenance, "images") or {}
        return joined(
            self.dataset,
            joined(size, size, channels, by="\N{MULTIPLICATION SIGN}"),
            ", ".join(map(str, classes)) if len(classes) <= 4 else f"{len(classes)} classes",
            joined(*(f"{count} {split}" for split, count in images.items())),
            by=" · ",
        )

    @property
    def device(self) -> str:
        """How many devices of which kind, empty where that isn't known."""
        kind, count = (lookup(self.provenance, "device", key) for key in ("kind", "count"))
        return f"{count} \N{MULTIPLICATION SIGN} {kind}" if kind and count else ""

    @property
    def setting(self) -> str:
        """What sets the run apart: model, optimizer, epochs, seed and directory."""
        model, optimizer = (lookup(self.config, key, "name") for key in ("model", "optimizer"))
        epochs, seed = (self.config.get(key) for key in ("epochs", "seed"))
        # What is fitted in closed form has an optimizer in its config and no epochs behind it.
        fitted = self.results is not None and not self.epochs
        steps = "closed form" if fitted else joined(optimizer, counted(epochs, "epoch"))
        seeded = f"seed {seed}" if seed is not None else ""
        masks = "legacy masks" if lookup(self.config, "data", "masks") == "legacy" else ""
        return joined(model, steps, masks, seeded, f"in {self.directory.name}")

    @property
    def outcome(self) -> str:
        """How far the run came, and in how long."""
        if self.results is None:
            last = self.epochs[-1]["epoch"] if self.epochs else 0
            planned = self.config.get("epochs")
            return f"unfinished: last epoch {last}" + (f" of {planned}" if planned else "")
        epoch, step, seconds = (self.results.get(key) for key in ("epoch", "step", "seconds"))
        took = f"{seconds:,.1f} s" if seconds else ""
        work = joined(counted(epoch, "epoch"), counted(step, "step"), took)
        return joined("finished", work, by=": ")

    @property
    def is_full_voc2009(self) -> bool:
        """Whether the data set is the one that the study used, and all of it."""
        name, partial = (lookup(self.provenance, "dataset", key) for key in ("name", "partial"))
        return name == "voc2009" and partial is False

    @property
    def facts(self) -> dict[str, str]:
        """How the run was made, in words; an empty text where that isn't known."""
        told = self.provenance
        source, partial = (lookup(told, "dataset", key) for key in ("source", "partial"))
        versions = {"Python": told.get("python"), **(lookup(told, "versions") or {})}
        seed, parameters = told.get("seed", self.config.get("seed")), told.get("parameters")
        # A run that was resumed tells of each start: the code may have changed between them.
        starts = told.get("starts") or [told]
        commits = (
            joined(start.get("commit"), start.get("dirty") and "with uncommitted changes")
            for start in starts
        )
        return {
            "Outcome": self.outcome,
            "Command": told.get("command") or "",
            "Seed": "" if seed is None else str(seed),
            "Commit": joined(*dict.fromkeys(commits), by="; then "),
            "Device": self.device,
            "Versions": joined(*(f"{name} {value}" for name, value in versions.items() if value)),
            "Data": joined(self.data, "complete" if partial is False else "", source),
            "Fingerprint": lookup(told, "dataset", "fingerprint") or "",
            "Parameters": "" if parameters is None else f"{parameters:,}",
            "Started": joined(
                told.get("started"), *(f"resumed {s.get('time')}" for s in starts[1:])
            ),
        }


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read run directories and folders of them: in the order given, within a folder by start.

    Args:
        directories: each a run directory, or a folder that holds run directories one level down. A
            run that is named twice is read once.

    Raises:
        UserError: there are no directories, one is neither, or a file in a run can't be read.
    """
    if not directories:
        raise UserError(
            "No run directory given, expected at least one: `vocjax report DIR... --output FILE`."
        )
    runs: dict[Path, Run] = {}
    for directory in directories:
        found = [read_run(path) for path in _run_directories(directory)]
        found.sort(key=lambda run: (str(lookup(run.provenance, "started") or ""), run.directory))
        for run in found:
            runs.setdefault(run.directory.resolve(), run)
    return list(runs.values())


def read_run(directory: Path) -> Run:
    """Read one run directory, finished or not.

    Raises:
        UserError: a file is broken, or the config's task is none of `TASKS`.
    """
    config = read_json(directory / "config.json") or {}
    if lookup(config, "task") not in TASKS:
        raise UserError(
            f"{directory / 'config.json'}: the task is {lookup(config, 'task')!r}, expected one of "
            f"{', '.join(TASKS)}. Was this directory written by `vocjax train`?"
        )
    return Run(
        directory=directory,
        config=config,
        provenance=read_json(directory / "run.json") or {},
        epochs=read_epochs(directory),
        results=read_json(directory / "results.json"),
        samples=_read_samples(directory / "samples.npz"),
    )


def lookup(tree: Any, *path: str) -> Any:
    """The value at a path of keys in nested dicts, `None` where any of them is missing."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def counted(number: int | None, noun: str) -> str:
    """A number with its noun, empty for none."""
    return f"{number:,} {noun}{'s' if number > 1 else ''}" if number else ""


def joined(*parts: Any, by: str = ", ") -> str:
    """The parts that are there, as one text."""
    return by.join(str(part) for part in parts if part)


def by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by what they saw: the data set's name, size and fingerprint."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        fingerprint = lookup(run.provenance, "dataset", "fingerprint") or ""
        groups.setdefault(joined(run.data, fingerprint[:8], by=" · "), []).append(run)
    return groups


def replicates(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs whose configs differ in seeds alone, and in the run that they begin from.

    A run that repeats another's seed belongs to a further group: it adds nothing to a spread.
    """
    groups: dict[tuple[str, int], list[Run]] = {}
    repeated: Counter[str] = Counter()
    for run in runs:
        config = {k: v for k, v in run.config.items() if k not in ("seed", "init_from")}
        data = {k: v for k, v in config.get("data", {}).items() if k != "split_seed"}
        text = json.dumps(config | {"data": data}, sort_keys=True)
        with_seed = f"{run.config.get('seed')} {text}"
        groups.setdefault((text, repeated[with_seed]), []).append(run)
        repeated[with_seed] += 1
    return list(groups.values())


class Spread(NamedTuple):
    """A value over several seeds: mean, and standard deviation with the divisor n - 1."""

    mean: float
    deviation: float


def over_seeds(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return {split: {metric: Spread}} of finished replicates; of a single one, its values."""
    results = [run.results or {} for run in runs]
    if len(results) == 1:
        return {split: results[0][split] for split in ("train", "val")}
    return {
        split: {
            metric: Spread(statistics.mean(values), statistics.stdev(values))
            for metric in results[0][split]
            for values in [[result[split][metric] for result in results]]
        }
        for split in ("train", "val")
    }


def _run_directories(directory: Path) -> list[Path]:
    if (directory / "config.json").is_file():
        return [directory]
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise UserError(
            f"{directory} {what}. Expected the directory of a run, or a folder of such "
            "directories: give the --workdir of a `vocjax train`."
        )
    found = [path.parent for path in directory.glob("*/config.json")]
    if not found:
        raise UserError(
            f"{directory} is no run: it holds no config.json, and neither does any folder directly "
            "in it. Give the --workdir of a `vocjax train`, or a folder of such directories."
        )
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object of a run, `None` where the file is absent; `UserError` if it is broken."""
    if not path.exists():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    if not isinstance(tree, dict):
        raise _broken(path, f"it holds a {type(tree).__name__}, not an object")
    return tree


def is_run(directory: Path) -> bool:
    """Return whether a directory has a run, finished or not: a config.json makes it one."""
    return (directory / "config.json").is_file()


def read_config(workdir: Path) -> ConfigDict:
    """Return the config of a run; `UserError` if the directory holds none that can be read.

    Fields of `base_config` that a run of an older version lacks have their values from there; one
    of its model or loss that it lacks is for the task to refuse.
    """
    path = workdir / "config.json"
    if not is_run(workdir):
        raise UserError(
            f"{workdir} holds no run (no config.json); "
            f"`vocjax train --config FILE --workdir {workdir}` makes one."
        )
    config = base_config().unlock()
    try:
        config.update(from_json(path.read_text()))
    except (ValueError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{path} is damaged: {told}. Restore it, or train anew.") from error
    return config.lock()


def read_epochs(directory: Path) -> list[dict[str, Any]]:
    """Read a run's metrics.jsonl; a last line that kill -9 cut short is passed over."""
    path = directory / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            # A run that was killed may leave half a last line.
            if number == len(lines):
                break
            raise _broken(path, f"line {number}: {error}") from error
        # A run that was resumed may have written an epoch twice: the later line is the one it kept.
        if lookup(record, "epoch") is not None:
            epochs[record["epoch"]] = record
    return [epochs[epoch] for epoch in sorted(epochs)]


def _read_samples(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _broken(path, error) from error


def _broken(path: Path, reason: object) -> UserError:
    return UserError(
        f"{path} can't be read: {reason}. Expected the file as `vocjax train` writes it: restore "
        "it, or leave this run alone and train anew in another directory."
    )
