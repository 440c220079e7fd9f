"""What the kept files hold, and how its numbers are written."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocjax.runs.groups import Spread
from vocjax.runs.reader import SPLITS, Run

RESULTS = Path(__file__).parents[1] / "results"


def read_kept(study: str) -> dict[str, list[Run]]:
    """Return the runs of a study's kept files by data set, the toy set first."""
    files = sorted(RESULTS.glob(f"{study}_*.json"), key=lambda p: ("toy" not in p.stem, p.stem))
    return {
        path.stem.removeprefix(f"{study}_").replace("_", " "): read_file(path) for path in files
    }


def read_file(path: Path) -> list[Run]:
    """Return the runs of a kept file."""
    return [
        Run(Path(run.pop("directory")), **run, samples={})
        for run in json.loads(path.read_text())
        if "directory" in run
    ]


def has(run: Run, changes: Sequence[str]) -> bool:
    """Return whether a config has the values of an experiment's changes ("model.residual=1")."""
    return all(run.field(name) == _value(text) for name, text in (c.split("=", 1) for c in changes))


def _value(text: str) -> Any:
    """Return the value of a change as config.json has it: a tuple is a list there."""
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return list(value) if isinstance(value, tuple) else value


def read_records(name: str) -> list[dict[str, Any]]:
    """Return the records of a kept file, [] where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def read_differences(study: str, data: str) -> dict[str, list[dict[str, Any]]]:
    """Return the paired differences that a kept file of a study holds, by what runs saw."""
    records = read_records(f"{study}_{data.replace(' ', '_')}")
    return next((record["paired"] for record in records if "paired" in record), {})


def pair(splits: dict[str, Any] | None, metric: str = "mse", digits: int = 4) -> str:
    """Return `train / val` of a metric; empty without splits."""
    return (
        " / ".join(number(splits[split].get(metric), digits) for split in SPLITS) if splits else ""
    )


def number(value: Any, digits: int = 4) -> str:
    """Return a number with so many digits, several seeds as mean ± deviation, a text as it is.

    A metric that is not defined, `None`, is a dash.
    """
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, Spread):
        return f"{value.mean:.{digits}f} ± {value.deviation:.{digits}f}"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def known(values: dict[str, Any], metric: str) -> str:
    """Return a metric with three digits; empty where it was not measured."""
    return number(values[metric], 3) if metric in values else ""


def markdown(rows: list[list[str]]) -> str:
    """Return rows, the first of them the header, as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"
