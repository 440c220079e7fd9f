"""Which of two classifiers is the better one: paired differences of accuracy, with intervals."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vocjax import losses
from vocjax.data.splits import class_columns, photographs
from vocjax.metrics.classification import Interval, paired_bootstrap
from vocjax.reporting import figures as draw
from vocjax.runs.reader import Run, counted
from vocjax.tasks.classification import present_and_known

Pair = tuple[str, str]


class Difference(NamedTuple):
    """How much better one is than another, over how many seeds."""

    interval: Interval
    seeds: int


def differences(runs: Sequence[Run]) -> dict[Pair, Difference]:
    """Return how much the first of each pair of names is better than the second.

    The pairs: names that differ in AE 256 and AE 2048 alone, and every name with the first one.
    The value is element-wise accuracy on validation, of the same images under the same seeds; its
    95 % interval a bootstrap over photographs (crops of one stand or fall together), which holds
    for these seeds. Runs that kept no probabilities are passed over.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        if "val/probability" in run.samples and run.results is not None:
            by_name.setdefault(run.name, []).append(run)
    names = list(by_name)
    sizes = [(n, n.replace("AE 256", "AE 2048")) for n in names if re.search(r"\bAE 256\b", n)]
    pairs = [pair for pair in sizes if pair[1] in by_name]
    compared = {frozenset(pair) for pair in pairs}
    pairs += [(name, names[0]) for name in names[1:] if {name, names[0]} not in compared]
    found = {(a, b): difference(by_name[a], by_name[b]) for a, b in pairs}
    return {pair: value for pair, value in found.items() if value is not None}


def difference(first: Sequence[Run], second: Sequence[Run]) -> Difference | None:
    """Return the difference of two names' runs, None if no two have seed and images in common."""
    values = []
    for a in first:
        for b in second:
            ids, others = a.samples["val/ids"], b.samples["val/ids"]
            if a.config.get("seed") == b.config.get("seed") and np.array_equal(ids, others):
                values.append((shares_right(a), shares_right(b), photographs(ids)))
    if not values:
        return None
    ours, theirs, groups = (np.concatenate(arrays) for arrays in zip(*values, strict=True))
    decided = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs, groups = ours[decided], theirs[decided], groups[decided]
    return Difference(paired_bootstrap(ours, theirs, groups), len(values))


def shares_right(run: Run) -> np.ndarray:
    """Return for each validation image the share of its counted classes that are right, [n].

    NaN where none counts.
    """
    columns = list(class_columns(run.config["data"]["classes"]))
    states = run.samples["val/labels"][:, columns]
    present, known = present_and_known(states, losses.is_exclusive(run.config["loss"]["name"]))
    right = (run.samples["val/probability"] > 0.5) == present
    shares = (right & known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), shares, np.nan)


@matplotlib.rc_context(draw.STYLE)
def forest(found: Mapping[Pair, Difference]) -> Figure:
    """Draw each difference in points of accuracy, with its interval."""
    figure = Figure(figsize=(draw.WIDTH, 0.8 + 0.6 * len(found)))
    axis = figure.add_subplot()
    for row, value in enumerate(found.values()):
        middle, low, high = (100 * end for end in value.interval)
        clear = low > 0 or high < 0
        colour = draw.COLOURS[0] if clear else draw.QUIET
        axis.plot([low, high], [row, row], color=colour, linewidth=1.6)
        axis.plot([middle], [row], "o", color=colour, markersize=5)
    axis.axvline(0, color=draw.INK, linewidth=0.9, linestyle=(0, (4, 3)))
    labels = [
        f"{a}\nagainst {b}\n({counted(value.seeds, 'seed')})" for (a, b), value in found.items()
    ]
    axis.set_yticks(range(len(found)), labels, fontsize=8)
    axis.set(xlabel="points of accuracy", ylim=(len(found) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    return figure
