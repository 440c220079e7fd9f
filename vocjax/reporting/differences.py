"""Which of two runs is better: paired differences of accuracy or of Dice, with intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from vocjax.data.splits import photographs
from vocjax.metrics.classification import Interval, paired_bootstrap
from vocjax.reporting import figures as draw
from vocjax.runs.groups import without
from vocjax.runs.reader import Run, counted, joined, lookup

Pair = tuple[str, str]
# What the images of a task are compared by, and how it is called on an axis.
COMPARED = {
    "classification": ("elementwise_accuracy", "points of accuracy"),
    "segmentation": ("hard_dice_per_image_at_threshold", "points of hard Dice"),
}


class Difference(NamedTuple):
    """How much better one is than another, over how many seeds."""

    interval: Interval
    seeds: int


def differences(runs: Sequence[Run]) -> dict[Pair, Difference]:
    """Return how much the first of each pair of names is better than the second; of one task.

    The pairs: names whose configs differ in the encoder alone, the deeper one first, as its code is
    smaller, or in where it begins alone, from scratch last; and every name with the first one. The
    value is that of `value_of_each`, of the same images under the same seeds; its 95 % interval is
    a bootstrap over photographs (crops of one are drawn together), which holds for these seeds.
    Masks of another kind are other images, whose names are told apart. Runs without values are left
    out.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        if run.results is not None and value_of_each(run) is not None:
            by_name.setdefault(_label(run), []).append(run)
    firsts: dict[str, str] = {}  # of each kind of masks
    pairs: list[Pair] = []
    for a, b in combinations(by_name, 2):
        if _are_alike(by_name[a][0], by_name[b][0]):
            first, second = sorted((b, a), key=lambda name: _rank(by_name[name][0]))
            pairs.append((first, second))
    compared = {frozenset(pair) for pair in pairs}
    for name, members in by_name.items():
        first = firsts.setdefault(_masks(members[0]), name)
        if name != first and {name, first} not in compared:
            pairs.append((name, first))
    found = {(a, b): difference(by_name[a], by_name[b]) for a, b in pairs}
    return {pair: value for pair, value in found.items() if value is not None}


def _masks(run: Run) -> str:
    masks = run.field("data.masks") or "nearest"
    return "" if run.task != "segmentation" or masks == "nearest" else masks.replace("_", ", ")


def _label(run: Run) -> str:
    return joined(run.name, _masks(run))


def _are_alike(a: Run, b: Run) -> bool:
    """Whether configs differ in the encoder alone, or in whether it begins from scratch alone."""
    own = ("name", "seed", "data.split_seed", "init_from", "model.encoder")
    begins = [bool(run.config.get("init_from")) for run in (a, b)]
    encoders = [run.field("model.encoder") for run in (a, b)]
    same = begins[0] == begins[1] or encoders[0] == encoders[1]
    return same and without(a.config, *own) == without(b.config, *own)


def _rank(run: Run) -> tuple[bool, int]:
    """Order a pair: what begins from another run before what does not, the deeper encoder first."""
    return not run.config.get("init_from"), -len(run.field("model.encoder") or ())


def difference(first: Sequence[Run], second: Sequence[Run]) -> Difference | None:
    """Return the difference of two names' runs, `None` if no seed and images are common to both."""
    values = []
    for a in first:
        for b in second:
            of_a, of_b = value_of_each(a), value_of_each(b)
            if of_a is None or of_b is None or a.config.get("seed") != b.config.get("seed"):
                continue
            ids = a.samples["val/ids"]
            if np.array_equal(ids, b.samples["val/ids"]):
                values.append((of_a, of_b, photographs(ids)))
    if not values:
        return None
    ours, theirs, groups = (np.concatenate(arrays) for arrays in zip(*values, strict=True))
    decided = np.isfinite(ours) & np.isfinite(theirs)
    interval = paired_bootstrap(ours[decided], theirs[decided], groups[decided])
    return Difference(interval, len(values))


def value_of_each(run: Run) -> np.ndarray | None:
    """Return what a run is compared by, of each validation image: float [n], `None` without it.

    The share of a classifier's classes that are right; a segmenter's hard Dice of the foreground,
    at the threshold that it chose on train.
    """
    if run.task == "classification" and "val/probability" in run.samples:
        return shares_right(run)
    threshold, name = lookup(run.results, "threshold"), "val/hard_dice_by_threshold"
    if threshold is not None and run.samples.keys() >= {"thresholds", name, "val/ids"}:
        chosen = int(np.argmin(np.abs(run.samples["thresholds"] - threshold)))
        return run.samples[name][:, chosen]
    return None


def shares_right(run: Run) -> np.ndarray:
    """Return the share of each validation image's included classes that are right, float [n].

    NaN for an image of which no class is included.
    """
    probability, target, included = (
        run.samples[f"val/{name}"] for name in ("probability", "target", "weight")
    )
    right = ((probability > 0.5) == (target > 0)) & (included > 0)
    with np.errstate(invalid="ignore"):
        return right.sum(axis=1) / (included > 0).sum(axis=1)


@draw.styled
def forest(found: Mapping[Pair, Difference], task: str = "classification") -> Figure:
    """Draw each difference in points of what the task is compared by, with its interval."""
    figure, axis = draw.one_plot(draw.WIDTH, 0.8 + 0.6 * len(found))
    for row, value in enumerate(found.values()):
        middle, low, high = (100 * end for end in value.interval)
        colour = draw.COLOURS[0] if low > 0 or high < 0 else draw.QUIET
        axis.plot([low, high], [row, row], color=colour, linewidth=1.6)
        axis.plot([middle], [row], "o", color=colour, markersize=5)
    axis.axvline(0, color=draw.INK, linewidth=0.9, linestyle=(0, (4, 3)))
    labels = [
        f"{a}\nagainst {b}\n({counted(value.seeds, 'seed')})" for (a, b), value in found.items()
    ]
    axis.set_yticks(range(len(found)), labels, fontsize=8)
    axis.set(xlabel=COMPARED[task][1], ylim=(len(found) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    return figure
