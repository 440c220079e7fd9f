"""Which runs can be compared, by what measure, and what the trivial baselines have."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vocjax.metrics.names import METRIC_NAMES
from vocjax.reporting.differences import value_of_each
from vocjax.runs.groups import replicates
from vocjax.runs.reader import Run, joined, lookup


class Measure(NamedTuple):
    """What a step is judged by: a metric of validation, and that of predictions that know nothing.

    `of_runs` are the metric's names, the first that a run has; `of_baselines` is its name among the
    values of a baseline.
    """

    of_runs: tuple[str, ...]
    of_baselines: str
    label: str  # as a sentence has it
    trivial: tuple[str, ...]  # kinds of baselines that look at no image

    @property
    def less(self) -> bool:
        """Whether less is better."""
        return METRIC_NAMES[self.of_baselines][1] == "↓"

    def of(self, run: Run) -> float | None:
        """Return a run's value, `None` without one."""
        found = (lookup(run.results, "val", name) for name in self.of_runs)
        return next((value for value in found if value is not None), None)

    def shown(self, value: float) -> str:
        """Return a value with the metric's digits."""
        return format(value, METRIC_NAMES[self.of_baselines][2])


RECONSTRUCTION = Measure(("mse",), "mse", "a mean squared error", ("mean image",))
ACCURACY = Measure(
    ("elementwise_accuracy",),
    "elementwise_accuracy",
    "an accuracy",
    ("majority class (frequency)",),
)
PRECISION = Measure(
    ("map_11_points",), "map_11_points", "a mean average precision", ("majority class (frequency)",)
)
FOREGROUND = Measure(
    ("hard_dice_per_image_at_threshold", "hard_dice_per_image"),
    "hard_dice_per_image",
    "a Dice per image",
    ("one mask for all", "all foreground", "all background"),
)
PIXELS = Measure(("mean_iou_full_size",), "mean_iou_full_size", "a mean IoU", ("all background",))


class Entry(NamedTuple):
    """A run of one or more seeds, and the mean of its values."""

    seeds: Sequence[Run]
    values: Sequence[float]

    @property
    def run(self) -> Run:
        """The first seed."""
        return self.seeds[0]

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def margin(self) -> float:
        """How far off a value must be to differ from this one not by chance alone.

        It is the range of the seeds about their mean, or two standard errors over images, if these
        are more. Of what is not measured image by image nothing is known: 0.
        """
        of_seeds = max(abs(value - self.value) for value in self.values)
        return max(of_seeds, 2 * standard_error(self))


class Contest(NamedTuple):
    """Runs that can be compared: of the same data and targets, by the same measure."""

    measure: Measure
    entries: Sequence[Entry]

    @property
    def best(self) -> Entry:
        """The entry with the best value, the first of those."""
        return (min if self.measure.less else max)(self.entries, key=lambda entry: entry.value)

    @property
    def references(self) -> dict[str, float]:
        """The values of the best run's baselines, the trivial ones first."""
        found = {}
        for name, splits in (lookup(self.best.run.results, "baselines") or {}).items():
            value = lookup(splits, "val", self.measure.of_baselines)
            if value is not None:
                found[name] = value
        return dict(sorted(found.items(), key=lambda item: item[0] not in self.measure.trivial))

    @property
    def trivial(self) -> tuple[str, float] | None:
        """The best of the trivial baselines, with its name."""
        known = [(n, v) for n, v in self.references.items() if n in self.measure.trivial]
        sign = 1 if self.measure.less else -1
        return min(known, key=lambda item: sign * item[1], default=None)

    @property
    def gain(self) -> float:
        """How much better the best run is than the best trivial baseline, as the digits show it.

        It is 0 where that can be chance.
        """
        return self.lead(self.trivial[1]) if self.trivial is not None else 0.0

    def lead(self, other: float) -> float:
        """Return how much better the best run is than another value, 0 where that can be chance."""
        ours, theirs = (float(self.measure.shown(x)) for x in (self.best.value, other))
        lead = theirs - ours if self.measure.less else ours - theirs
        return lead if abs(lead) > self.best.margin else 0.0


def measure_of(run: Run) -> Measure:
    """Return the measure of a run's task and targets."""
    if run.task == "reconstruction":
        return RECONSTRUCTION
    if run.task == "classification":
        return ACCURACY if len(run.field("data.classes") or ()) == 2 else PRECISION
    return FOREGROUND if run.field("model.target") == "foreground" else PIXELS


def contests(runs: Sequence[Run]) -> list[Contest]:
    """Return which of a step's runs compare.

    Those measured on validation images come first, of these those of honest masks, and then those
    with the most runs.
    """
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for seeds in replicates([run for run in runs if run.results is not None]):
        run, measure = seeds[0], measure_of(seeds[0])
        values = [value for value in map(measure.of, seeds) if value is not None]
        if values:
            key = joined(*_data(run), by=" "), str(run.field("model.target")), masks_of(run)
            groups.setdefault(key, []).append(Entry(seeds, values))
    found = [Contest(measure_of(entries[0].run), entries) for entries in groups.values()]
    return sorted(found, key=_order)


def _order(contest: Contest) -> tuple[bool, bool, int]:
    run = contest.best.run
    return bool(held_out(run)), masks_of(run) != "nearest", -len(contest.entries)


def described(run: Run) -> str:
    """Return what a run's results are of, to tell groups apart."""
    classes = run.field("data.classes") or ()
    named = joined(*classes) if len(classes) <= 3 else f"{len(classes)} classes"
    target = run.field("model.target")
    masks = "" if masks_of(run) == "nearest" else f"{masks_of(run).replace('_', ', ')} masks"
    tuning = "held-out photographs of train" if held_out(run) else ""
    kind = "" if target in (None, "foreground") else "classes of pixels"
    return joined(
        run.dataset, named, "foreground" if target == "foreground" else kind, masks, tuning
    )


def held_out(run: Run) -> float:
    """Return which share of train stands in for validation, 0 where none does."""
    return float(run.field("data.held_out") or 0)


def standard_error(entry: Entry) -> float:
    """Return that of a value over images, 0 where it is not known."""
    found, measure = value_of_each(entry.run), measure_of(entry.run)
    if found is not None and measure in (ACCURACY, FOREGROUND):
        decided = found[np.isfinite(found)]
        return float(decided.std() / np.sqrt(len(decided))) if len(decided) else 0.0
    images = lookup(entry.run.provenance, "images", "val")
    if measure is not ACCURACY or not images:
        return 0.0
    return float(np.sqrt(entry.value * (1 - entry.value) / images))


def _data(run: Run) -> tuple[str, ...]:
    """What the data of comparable runs have in common: size and channels may differ.

    The size may not where what is measured depends on it: reconstructions, and masks at the size of
    the network.
    """
    classes = ", ".join(map(str, run.field("data.classes") or ()))
    images = lookup(run.provenance, "images") or {}
    fingerprint = lookup(run.provenance, "dataset", "fingerprint") or ""
    size = ""
    if measure_of(run) in (RECONSTRUCTION, FOREGROUND):
        padded = "padded" if run.field("data.fit") == "pad" else ""
        size = joined(run.field("data.size"), run.field("data.width"), padded)
    return run.dataset, classes, str(images), str(fingerprint), size, str(held_out(run))


def masks_of(run: Run) -> str:
    """Return how a run's masks were made."""
    return run.field("data.masks") or "nearest"
