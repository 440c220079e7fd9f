"""How long runs will take, from the seconds of equal or similar ones."""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vocjax.config import shipped, to_json
from vocjax.errors import UserError
from vocjax.plans.states import CONTINUE, TRAIN, State, run_directories
from vocjax.runs import groups, reader

SAME_TIME = ("name", "seed", "data.split_seed", "data.data_dir", "init_from")


class Timed(NamedTuple):
    """A finished run: its directory without seed, its config, and the seconds of its training."""

    series: str
    config: dict[str, Any]
    seconds: float


def expected_seconds(
    configs: Mapping[str, ConfigDict], states: Mapping[str, State], known: Iterable[list[Timed]]
) -> dict[str, float | None]:
    """Return the seconds that each run to be trained or continued takes; `None` where unknown.

    `known` are lists of finished runs, the best source first. A run takes as long as the runs of
    its config with whatever seeds do, or else as those of its directory's name on the same data set
    do, in proportion to the epochs; one that is begun goes on as it began.
    """
    found: dict[str, float | None] = {}
    sources = list(known)
    for name, state in states.items():
        epochs = configs[name].epochs
        if state.epochs:
            found[name] = state.seconds / state.epochs * (epochs - state.epochs)
        elif state.action in (TRAIN, CONTINUE):
            found[name] = _whole(json.loads(to_json(configs[name])), name, sources)
    return found


def _whole(config: dict[str, Any], directory: str, sources: list[list[Timed]]) -> float | None:
    key, series = groups.without(config, *SAME_TIME), groups.series(directory, config["seed"])
    for runs in sources:
        if same := [r.seconds for r in runs if groups.without(r.config, *SAME_TIME) == key]:
            return statistics.fmean(same)
    for runs in sources:
        rates = [
            r.seconds / max(r.config["epochs"], 1)
            for r in runs
            if r.series == series and _work(r.config) == _work(config)
        ]
        if rates:
            return statistics.fmean(rates) * max(config["epochs"], 1)
    return None


def _work(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two runs must share if their epochs are to be compared."""
    data = config["data"]
    size = data["size"], data.get("width") or data["size"]
    return data["dataset"], *size, data["channels"], config["epochs"] > 0


def timed_runs(folders: Iterable[Path]) -> list[Timed]:
    """Return the finished runs in and below folders; those that can't be read are left out."""
    found = []
    for directory in run_directories(folders):
        try:
            results = reader.read_results(directory)
            config = json.loads(to_json(reader.read_config(directory)))
        except UserError:
            continue
        if results and results.get("seconds"):
            series = groups.series(directory.name, config["seed"])
            found.append(Timed(series, config, results["seconds"]))
    return found


def kept_runs() -> list[Timed]:
    """Return the runs of `experiments/results`; none in a wheel, which does not have it."""
    home = next(iter(shipped("experiments").values())).parent / "results"
    records = (r for file in sorted(home.glob("*_*.json")) for r in json.loads(file.read_text()))
    return [
        Timed(
            groups.series(r["directory"], r["config"]["seed"]),
            r["config"],
            r["results"]["seconds"],
        )
        for r in records
        if "directory" in r
    ]
