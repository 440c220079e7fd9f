"""Runs that belong together: of the same data, or of the same config and other seeds."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from vocjax.runs.reader import SPLITS, Run, joined, lookup


def by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by their data: the data set's name, size and fingerprint."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        fingerprint = lookup(run.provenance, "dataset", "fingerprint") or ""
        groups.setdefault(joined(run.data, fingerprint[:8], by=" · "), []).append(run)
    return groups


def series(directory: str, seed: object) -> str:
    """Return a directory's name without the seed at its end: what repeated runs share."""
    return directory.removesuffix(f"_{seed}")


def by_series(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by their directories' names without the seeds, in the order of the first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(series(run.directory.name, run.config.get("seed")), []).append(run)
    return groups


def without(config: dict[str, Any], *fields: str) -> str:
    """Return a config without some fields (full names) as JSON: equal texts, equal configs."""
    shortened = {
        key: {k: v for k, v in value.items() if f"{key}.{k}" not in fields}
        if isinstance(value, dict)
        else value
        for key, value in config.items()
        if key not in fields
    }
    return json.dumps(shortened, sort_keys=True)


def replicates(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs whose configs differ in seeds alone, and in the run that they begin from.

    A run that repeats another's seed belongs to a further group: it adds nothing to a spread.
    """
    groups: dict[tuple[str, int], list[Run]] = {}
    repeated: Counter[tuple[str, Any]] = Counter()
    for run in runs:
        config = without(run.config, "seed", "init_from", "data.split_seed")
        with_seed = config, run.config.get("seed")
        groups.setdefault((config, repeated[with_seed]), []).append(run)
        repeated[with_seed] += 1
    return list(groups.values())


class Spread(NamedTuple):
    """A value over several seeds: mean, and standard deviation with the divisor n - 1."""

    mean: float
    deviation: float


def over_seeds(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return {split: {metric: Spread}} of finished replicates; for a single run its values.

    A metric is there if it is defined for each of them.
    """
    results = [run.results or {} for run in runs]
    if len(results) == 1:
        return {split: results[0][split] for split in SPLITS}
    return {
        split: {
            metric: Spread(statistics.mean(values), statistics.stdev(values))
            for metric in results[0][split]
            for values in [[r[split][metric] for r in results if metric in r[split]]]
            if len(values) == len(results)
        }
        for split in SPLITS
    }
