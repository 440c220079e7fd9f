"""A sweep: a config trained at every point of a grid of fields, ranked on photographs of train."""

import hashlib
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.config import load_config
from vocjax.errors import UserError, did_you_mean, naming
from vocjax.mesh import ask_for_determinism
from vocjax.metrics.names import METRIC_NAMES
from vocjax.plans.printed import columns
from vocjax.runs import writer
from vocjax.runs.reader import is_run
from vocjax.training.loop import Outcome, Watch, completed
from vocjax.training.together import kind, train_together
from vocjax.training.validate import validate

FILE = "sweep.json"
SEED = "seed"
LONGEST = 40  # characters of a value in the name of a directory

# Fields that decide by what the runs are ranked, or on which images: these can't be compared.
RANKED_BY = (
    "best.metric",
    "best.mode",
    "data.classes",
    "data.data_dir",
    "data.dataset",
    "data.held_out",
    "data.image_set",
    "data.several",
    "data.split",
    "task",
)


class Point(NamedTuple):
    """A point of the grid: its run directory's name, its config, and its values by field."""

    directory: str
    config: ConfigDict
    values: dict[str, Any]


def parse(sweeps: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each field of flags like "config.optimizer.learning_rate=1e-3,3e-4".

    Commas within brackets and quotes belong to a value. `UserError` for another form.
    """
    fields: dict[str, list[str]] = {}
    for sweep in sweeps:
        name, _, values = sweep.partition("=")
        field = name.removeprefix("--").removeprefix("config.")
        if field == name.removeprefix("--") or not all(found := _split(values)):
            raise UserError(
                f"--sweep {sweep} can't be read; it names a field and its values, as in "
                "--sweep config.optimizer.learning_rate=1e-3,3e-4."
            )
        if field in fields:
            raise UserError(
                f"--sweep config.{field} is given twice; give all its values in one, separated by "
                "commas."
            )
        fields[field] = found
    return fields


def _split(text: str) -> list[str]:
    """Split a text at the commas that stand in no brackets and no quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote or character in "\"'":
            quote = "" if character == quote else quote or character
        else:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def grid(
    config: str | Path, fields: Mapping[str, Sequence[str]], overrides: Sequence[str], workdir: Path
) -> list[Point]:
    """Return the points of all combinations of values, each with a config that can be run.

    `overrides`, `--config.FIELD=VALUE`, are for all. `UserError`, with the point's name, for a
    config that can't be run, or where the points could not be ranked.
    """
    _check_fields(fields, overrides)
    points: dict[str, Point] = {}
    for texts in itertools.product(*fields.values()):
        own = [f"--config.{field}={text}" for field, text in zip(fields, texts, strict=True)]
        loaded = load_config(config, [*overrides, *own])
        values = {field: _value(loaded, field) for field in fields}
        directory = ",".join(f"{_short(f, fields)}={_text(v)}" for f, v in values.items())
        if directory in points:
            raise UserError(f"two points of the sweep are {directory}; give every value once.")
        with naming(directory):
            changes = {f: v for f, v in values.items() if f != SEED}
            told = ", ".join(f"{_short(f, fields)} {_text(v)}" for f, v in changes.items())
            loaded.name = f"{loaded.name}, {told}" if told else loaded.name
            if loaded.deterministic:
                ask_for_determinism()  # before the checks use JAX
            complete = completed(loaded, workdir / directory)
            validate(complete)
            _check_ranking(complete, fields)
        points[directory] = Point(directory, complete, values)
    return list(points.values())


def _check_fields(fields: Mapping[str, Sequence[str]], overrides: Sequence[str]) -> None:
    given = {override.removeprefix("--config.").partition("=")[0] for override in overrides}
    for field in fields:
        if field in given:
            raise UserError(
                f"config.{field} is given by --config.{field} and by --sweep; give one of them."
            )
        if field in RANKED_BY:
            raise UserError(
                f"config.{field} can't be swept: it decides by what, or on which images, the runs "
                f"are ranked. Start a sweep for each value, --config.{field}=VALUE."
            )


def _check_ranking(config: ConfigDict, fields: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` where a rank would be none: of the official val, or of several losses."""
    if not config.data.held_out:
        raise UserError(
            "data.held_out is 0, and a choice by the official val would leave no honest figure: "
            "give --config.data.held_out=0.2, which ranks on a fifth of the photographs of train, "
            "and look at val once, with the settings that you chose."
        )
    if config.best.metric == "loss" and any(field.startswith("loss.") for field in fields):
        raise UserError(
            "a sweep of config.loss can't be ranked by the loss; name a metric by "
            "--config.best.metric and --config.best.mode."
        )


def _value(config: ConfigDict, field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = value[name]
    if isinstance(value, ConfigDict):
        names = did_you_mean(field, (f"{field}.{name}" for name in value))
        raise UserError(f"config.{field} is a group of fields; sweep one of them.{names}")
    return value


def _short(field: str, fields: Mapping[str, Any]) -> str:
    """Return the last part of a field's name, or all of it where that would not tell which."""
    last = field.rpartition(".")[2]
    unclear = last == "name" or [f.rpartition(".")[2] for f in fields].count(last) > 1
    return field if unclear else last


def _text(value: Any) -> str:
    """Return a value as a part of a directory's name."""
    whole = "-".join(map(_text, value)) if isinstance(value, tuple) else str(value)
    text = re.sub(r"[^\w.+-]+", "_", whole) or "none"
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def run(points: Sequence[Point], workdir: Path, watch: Watch) -> dict[str, Outcome]:
    """Train the points, each in its directory of `workdir`; return the outcome of each.

    Those that differ in the seed and in numbers of the optimizer alone go into one program on
    accelerators. A finished point is left as it is, and one that fails stops no other.
    """
    if is_run(workdir):
        raise UserError(f"{workdir} is the directory of a run; give another --workdir to a sweep.")
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(kind(point.config), []).append(point)
    outcomes: dict[str, Outcome] = {}
    for some in kinds.values():
        configs, workdirs = [p.config for p in some], [workdir / p.directory for p in some]
        found = train_together(configs, workdirs, watch=watch)
        outcomes |= zip([p.directory for p in some], found, strict=True)
    return outcomes


def ranked(points: Sequence[Point], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return what sweep.json holds: the settings, the best one first.

    The seeds of one setting are ranked by the mean of `best.metric` over them, of the state after
    the last epoch; a setting of which a run failed, or has no such value, comes last.
    """
    best, data = points[0].config.best, points[0].config.data
    sign = 1 if best.mode == "min" else -1
    settings: dict[str, dict[str, Any]] = {}
    for point in points:
        fields = {field: value for field, value in point.values.items() if field != SEED}
        setting = settings.setdefault(str(fields), {"fields": fields, "runs": []})
        outcome, about = outcomes[point.directory], {"directory": point.directory}
        if isinstance(outcome, UserError):
            setting["runs"].append(about | {"error": str(outcome)})
            continue
        measured = {split: outcome[split].get(best.metric) for split in ("train", "val")}
        stopped = {k: outcome[k] for k in ("stopped_early",) if k in outcome}
        about |= {"epoch": outcome["epoch"], **stopped, **measured, "best": outcome["best"]}
        setting["runs"].append(about | {"seed": point.config.seed})
    for setting in settings.values():
        values = [of["val"] for of in setting["runs"] if of.get("val") is not None]
        setting["whole"] = len(values) == len(setting["runs"])
        if values:
            mean = float(np.mean(values))
            setting |= {"mean": mean, "least": min(values), "most": max(values)}
    order = sorted(
        settings.values(),
        key=lambda of: (not of["whole"], "mean" not in of, sign * of.get("mean", 0.0)),
    )
    return {
        "metric": best.metric,
        "mode": best.mode,
        "measured_on": f"photographs of train (data.held_out={data.held_out})",
        "settings": order,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return a sweep as a text of lines, the best setting first."""
    label, arrow, form = METRIC_NAMES.get(result["metric"], (result["metric"], "", ".4g"))
    settings = result["settings"]
    names = {field: _short(field, settings[0]["fields"]) for field in settings[0]["fields"]}
    rows = [["rank", *names.values(), f"{label} {arrow}".strip(), "least to most", "runs"]]
    for rank, setting in enumerate(settings, start=1):
        runs = setting["runs"]
        done = sum("error" not in of for of in runs)
        mean, least, most = (
            format(setting[name], form) if name in setting else "\N{EN DASH}"
            for name in ("mean", "least", "most")
        )
        span = f"{least} to {most}" if len(runs) > 1 and "mean" in setting else ""
        counted = f"{len(runs)}" if done == len(runs) else f"{done} of {len(runs)}"
        row = [str(rank) if setting["whole"] else "\N{EN DASH}"]
        row += [*(_text(setting["fields"][field]) for field in names), mean, span, counted]
        rows.append(row)
    return f"ranked on {result['measured_on']}, after the last epoch\n{columns(rows).rstrip()}"


def carry_out(
    config: str | Path,
    workdir: Path,
    sweeps: Sequence[str],
    overrides: Sequence[str],
    watch: Watch = Watch(),  # noqa: B008
) -> int:
    """Run a sweep, write sweep.json, print the table and return the exit code, 1 if a run failed.

    `UserError` before anything runs for what can't be run or ranked; `Interrupted` as
    `train_and_evaluate`: the same command continues.
    """
    points = grid(config, parse(sweeps), overrides, workdir)
    print(f"{len(points)} runs in {workdir}", file=sys.stderr)
    outcomes = run(points, workdir, watch)
    result = ranked(points, outcomes)
    writer.write_json(workdir / FILE, result)
    failed = {name: found for name, found in outcomes.items() if isinstance(found, UserError)}
    if jax.process_index() == 0:
        print(table(result))
        print(f"sweep: {workdir / FILE}")
        for name, error in failed.items():
            print(f"vocjax: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0
