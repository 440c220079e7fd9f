"""What lies in folders of runs: a table of the runs, and how two of them differ."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vocjax.config import flat
from vocjax.errors import UserError, check_choice
from vocjax.metrics.names import METRIC_NAMES
from vocjax.plans.printed import columns
from vocjax.plans.states import run_directories
from vocjax.runs import fingerprint, lock, reader
from vocjax.runs.reader import SPLITS, TASKS, lookup

NONE = "\N{EN DASH}"
# They have a column of their own, differ from place to place, or follow from others.
LEFT_OUT = {"name", "seed", "task", "data.data_dir", "data.names", "data.palette"}
SAME = {"name", "task", "seed", "differences"}  # say nothing where all runs say the same
PARTS = {"run.json", "metrics.jsonl", "results.json", "checkpoints", "config.json.part"}


class Listed(NamedTuple):
    """A run as it lies there, finished or not; `fields` are those of its config by full name."""

    directory: Path
    fields: dict[str, Any]
    made: dict[str, Any]
    epochs: list[dict[str, Any]]
    results: dict[str, Any] | None
    trains: bool = False  # a process does just now

    @property
    def state(self) -> str:
        """How far the run is, in words."""
        epoch = self.epochs[-1]["epoch"] if self.epochs else 0
        if self.results is None:
            until = f"epoch {epoch} of {self.fields['epochs']}"
            return f"training, {until}" if self.trains else f"unfinished, {until}"
        return "stopped early" if self.results.get("stopped_early") else "finished"

    @property
    def seconds(self) -> float | None:
        """The seconds of its training; None where nothing is known of them."""
        spent = [record["seconds"] for record in self.epochs if "seconds" in record]
        return (self.results or {}).get("seconds", sum(spent) if spent else None)

    def measured(self, split: str) -> dict[str, float]:
        """Return the metrics of the last state that was evaluated."""
        return lookup(self.results or (self.epochs[-1] if self.epochs else None), split) or {}

    def last(self, metric: str) -> float | None:
        """Return a metric of val of the last state that was evaluated."""
        return self.measured("val").get(metric)

    def best(self, metric: str) -> tuple[float, int] | None:
        """Return the best value on val over the epochs, and the first epoch that has it."""
        known = [(value, record["epoch"]) for record in self.epochs
                 if (value := lookup(record, "val", metric)) is not None]  # fmt: skip
        sign = 1 if self.is_less_better(metric) else -1
        return min(known, key=lambda pair: sign * pair[0]) if known else None

    def is_less_better(self, metric: str) -> bool:
        """Return whether less of a metric is better, which only the config knows of an own one."""
        if metric == self.fields["best.metric"]:
            return self.fields["best.mode"] == "min"
        return METRIC_NAMES.get(metric, ("", "↓"))[1] == "↓"


def find(directories: Sequence[Path]) -> tuple[list[Listed], dict[Path, str]]:
    """Return the runs in and below folders, and why others can't be read.

    What `vocjax export` wrote beside the runs is passed over. `UserError` where there is neither.
    """
    runs, broken = [], {}
    for path in run_directories(directories):
        if reader.is_exported(path) and path not in directories:
            continue
        try:
            runs.append(read(path))
        except UserError as error:
            broken[path] = str(error)
    for folder in directories:
        for path in sorted({*folder.glob("*"), folder}) if folder.is_dir() else ():
            held = {inside.name for inside in path.iterdir()} if path.is_dir() else set()
            if held & PARTS and "config.json" not in held:
                broken[path] = f"{path} has no config.json, and so is no run, or not yet."
    if not runs and not broken:
        raise UserError(
            f"no run lies in {', '.join(map(str, directories))} or below; give the --workdir of a "
            "`vocjax train`, or a folder of such directories."
        )
    named = [*(run.directory for run in runs), *broken]
    for folder in directories:
        if not any(folder in (path, *path.parents) for path in named):
            broken[folder] = f"no run lies in {folder} or below."
    return runs, broken


def read(directory: Path) -> Listed:
    """Read a run without its arrays; `UserError` where it can't be read."""
    fields = flat(reader.read_config(directory).to_dict())
    check_choice(f"task in {directory / 'config.json'}", fields["task"], TASKS)
    return Listed(
        directory,
        fields,
        reader.read_provenance(directory),
        reader.read_epochs(directory),
        reader.read_results(directory),
        lock.is_in_use(directory),
    )


def table(runs: Sequence[Listed], sort: str = "") -> list[list[str]]:
    """Return the rows of a table of runs, the header first.

    With `sort`, a metric of val, the run with the best last value comes first, and runs without it
    last; best and last are of this metric then, else of the run's own `best.metric`. Differences
    are those from the most common values among the runs of the same task. `UserError` where no run
    has the metric.
    """
    if sort:
        check_choice("--sort", sort, sorted({name for run in runs for name in run.measured("val")}))
        runs = sorted(runs, key=lambda run: _rank(run, sort))
    usual = {task: most_common([r for r in runs if r.fields["task"] == task]) for task in TASKS}
    head = ["run", "name", "task", "state", "metric", "best", "epoch", "last", "seconds", "seed"]
    rows = [[*head, "differences"]]
    for run in runs:
        task, metric = run.fields["task"], sort or run.fields["best.metric"]
        best, epoch = run.best(metric) or (None, None)
        rows.append([
            str(run.directory), run.fields["name"], task, run.state, metric, _number(best),
            NONE if epoch is None else str(epoch), _number(run.last(metric)),
            NONE if run.seconds is None else f"{run.seconds:.1f}", str(run.fields["seed"]),
            ", ".join(_differing(run.fields, usual[task])),
        ])  # fmt: skip
    return rows


def _rank(run: Listed, metric: str) -> tuple[bool, float]:
    value = run.last(metric)
    sign = 1 if run.is_less_better(metric) else -1
    return value is None, sign * (value or 0.0)


def most_common(runs: Sequence[Listed]) -> dict[str, Any]:
    """Return the most common value of each field of some runs; of equals that of the first run."""
    names = dict.fromkeys(name for run in runs for name in run.fields)
    found = {}
    for name in names:
        values = [run.fields.get(name) for run in runs]
        (text, _), *_ = Counter(map(repr, values)).most_common(1)
        found[name] = next(value for value in values if repr(value) == text)
    return found


def _differing(fields: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    names = (name for name in usual if name not in LEFT_OUT)
    return [f"{n}={_text(fields.get(n))}" for n in names if fields.get(n) != usual[n]]


def differences(one: Path, other: Path) -> dict[str, list[list[str]]]:
    """Return how two runs differ by part, rows of (what, of one, of the other).

    Of config, code, data and versions only what differs is there; of the results each metric, with
    the difference as a fourth text. `UserError` where a run can't be read.
    """
    runs = [read(one), read(other)]
    config, versions = [run.fields for run in runs], [_versions(run.made) for run in runs]
    names = dict.fromkeys(f"{s} {m}" for r in runs for s in SPLITS for m in r.measured(s))
    results = [["state", *(run.state for run in runs)]]
    results += [["seconds", *(_number(run.seconds) for run in runs)]]
    for name in names:
        split, metric = name.split(" ", 1)
        values = [run.measured(split).get(metric) for run in runs]
        known = [value for value in values if value is not None]
        change = f"{known[1] - known[0]:+.4g}" if len(known) == 2 else ""
        results.append([name, *map(_number, values), change])
    code = [_code(run) for run in runs]
    return {
        "config": _unequal(*config),
        "code": _unequal(*code),
        "data": _unequal(*(_data(run.made) for run in runs)),
        "versions": _unequal(*versions),
        "results": results,
    }


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[list[str]]:
    names = dict.fromkeys([*one, *other])
    return [
        [name, _text(one.get(name)), _text(other.get(name))]
        for name in names
        if one.get(name) != other.get(name)
    ]


def _code(run: Listed) -> dict[str, Any]:
    starts = run.made.get("starts") or [run.made]
    commits = dict.fromkeys(str(start.get("commit")) for start in starts)
    dirty = any(start.get("dirty") for start in starts)
    versions = sorted(map(str, fingerprint.codes(run.directory)))
    changed = " with changes" if dirty else ""
    return {"code": ", ".join(versions), "commit": f"{', '.join(commits)}{changed}"}


def _data(made: Mapping[str, Any]) -> dict[str, Any]:
    facts, images = made.get("dataset") or {}, made.get("images") or {}
    origin = fingerprint.identity(made.get("init_from") or {})
    return {**facts, **{f"{split} images": n for split, n in images.items()}, "begins from": origin}


def _versions(made: Mapping[str, Any]) -> dict[str, Any]:
    device = {f"device {name}": value for name, value in (made.get("device") or {}).items()}
    return {"python": made.get("python"), **(made.get("versions") or {}), **device}


def _text(value: Any) -> str:
    return NONE if value is None else str(value)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.5g}"


# Printing ----------------------------------------------------------------------------------------


def lines(rows: Sequence[Sequence[str]], terminal: bool) -> str:
    """Return rows, the header first, as text: aligned on a terminal, else separated by tabs.

    On a terminal the header is bold, columns of `SAME` in which all rows say the same are left out,
    and lines are cut at its width.
    """
    if not terminal:
        return "".join("\t".join(row) + "\n" for row in rows)
    kept = [
        column
        for column in zip(*rows, strict=True)
        if column[0] not in SAME or len({*column[1:]}) > 1
    ]
    head, *others = columns([*zip(*kept, strict=True)]).splitlines()
    width = shutil.get_terminal_size().columns
    return "\n".join([f"\033[1m{_cut(head, width)}\033[0m", *(_cut(o, width) for o in others), ""])


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}\N{HORIZONTAL ELLIPSIS}"


def difference_lines(
    parts: Mapping[str, list[list[str]]], runs: Sequence[Path], terminal: bool
) -> str:
    """Return what `differences` found of two runs as text, as `lines` does."""
    told = []
    for part, rows in parts.items():
        filled = [[*row, "", ""][:4] for row in rows]
        if not terminal:
            filled = filled or [["the same", "", "", ""]]
            told += ["\t".join([part, *row]).rstrip("\t") for row in filled]
        elif rows:
            head = [part, *(str(run) for run in runs), "difference" if part == "results" else ""]
            told.append(lines([head, *filled], terminal))
        else:
            told.append(f"\033[1m{part}\033[0m  the same\n")
    return "\n".join(told) + "\n" * (not terminal)
