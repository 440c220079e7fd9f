"""The study's own figures, and which of them a run repeats."""

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from vocjax.runs.reader import Run

# For each task: its `rows`, with the digits that the slides print, and the `data` behind them. The
# `fields` of a row and its `epochs` are those of a config that repeats it.
STUDY: dict[str, Any] = json.loads(
    resources.files("vocjax.reporting").joinpath("study.json").read_text(encoding="utf-8")
)


def repeated(run: Run) -> dict[str, Any] | None:
    """Return the row of the study whose fields a run's config has, `None` if there is none.

    Of rows that differ in their epochs alone it is the first with at least the run's epochs, as
    runs on less data are shorter; else the longest.
    """
    return _row(run, lambda name: True)


def recipe(run: Run) -> dict[str, Any] | None:
    """Return the row of the study with a run's network and optimizer, perhaps on other data."""
    return _row(run, lambda name: not name.startswith("data."))


def _row(run: Run, counts: Callable[[str], bool]) -> dict[str, Any] | None:
    rows = [
        row
        for row in STUDY[run.task]["rows"]
        if all(run.field(name) == value for name, value in row["fields"].items() if counts(name))
    ]
    epochs = run.config.get("epochs", 0)
    return min(rows, key=lambda r: (r["epochs"] < epochs, abs(r["epochs"] - epochs)), default=None)
