"""The sentences of the report: what came out, from the results of the runs that are there.

No figure is written here; each comes from a run, from its baselines or from the study's table.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vocjax.metrics.names import METRIC_NAMES
from vocjax.reporting.study import STUDY, repeated
from vocjax.reporting.table import is_linear
from vocjax.runs.reader import Run, counted, joined, lookup, replicates, without


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


OTHERS = 3  # runs besides the best that a paragraph names


class Entry(NamedTuple):
    """A run of one or more seeds, and the mean of its values."""

    seeds: Sequence[Run]
    value: float

    @property
    def run(self) -> Run:
        """The first seed."""
        return self.seeds[0]


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
        """How much better the best run is than the best trivial baseline, as the digits show it."""
        if self.trivial is None:
            return 0.0
        ours, theirs = (float(self.measure.shown(x)) for x in (self.best.value, self.trivial[1]))
        return theirs - ours if self.measure.less else ours - theirs


def measure_of(run: Run) -> Measure:
    """Return the measure of a run's task and targets."""
    if run.task == "reconstruction":
        return RECONSTRUCTION
    if run.task == "classification":
        return ACCURACY if len(run.field("data.classes") or ()) == 2 else PRECISION
    return FOREGROUND if run.field("model.target") == "foreground" else PIXELS


def contests(runs: Sequence[Run]) -> list[Contest]:
    """Return which of a step's runs compare; those with the most runs, and honest masks, first."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for seeds in replicates([run for run in runs if run.results is not None]):
        run, measure = seeds[0], measure_of(seeds[0])
        values = [value for value in map(measure.of, seeds) if value is not None]
        if values:
            key = joined(*_data(run), by=" "), str(run.field("model.target")), _masks(run)
            groups.setdefault(key, []).append(Entry(seeds, float(np.mean(values))))
    found = [Contest(measure_of(entries[0].run), entries) for entries in groups.values()]
    return sorted(found, key=lambda c: (_masks(c.best.run) != "nearest", -len(c.entries)))


def described(run: Run) -> str:
    """Return what a run's results are of, to tell groups apart."""
    classes = run.field("data.classes") or ()
    named = joined(*classes) if len(classes) <= 3 else f"{len(classes)} classes"
    target = run.field("model.target")
    masks = "" if _masks(run) == "nearest" else f"{_masks(run).replace('_', ', ')} masks"
    kind = "" if target in (None, "foreground") else "classes of pixels"
    return joined(run.dataset, named, "foreground" if target == "foreground" else kind, masks)


def _data(run: Run) -> tuple[str, ...]:
    """What the data of comparable runs have in common: size and channels may differ."""
    classes = ", ".join(map(str, run.field("data.classes") or ()))
    images = lookup(run.provenance, "images") or {}
    fingerprint = lookup(run.provenance, "dataset", "fingerprint") or ""
    size = run.field("data.size") if run.task == "reconstruction" else ""
    return run.dataset, classes, str(images), str(fingerprint), str(size)


def _masks(run: Run) -> str:
    return run.field("data.masks") or "nearest"


def outcome(contest: Contest) -> str:
    """Return the sentence of a step at the top of the page."""
    measure, best = contest.measure, contest.best
    text = f"{best.run.name}{_code(best.run)} has {measure.label} of {_value(contest, best)} on "
    text += f"validation images, {_verdict(contest, trivial_only=True)}"
    study = _studys_best(contest)
    return text + (f"; the study's slides report {study}." if study else ".")


def conclusion(found: Mapping[str, Contest]) -> str:
    """Return the last sentence: which steps, by their titles, are better than knowing nothing."""
    known = {title: contest.gain for title, contest in found.items() if contest.trivial}
    if not known:
        return ""
    worse = [title for title, gain in known.items() if gain <= 0]
    if not worse:
        steps = "The one step" if len(known) == 1 else f"All {len(known)} steps"
        verb = "is" if len(known) == 1 else "are"
        return f"{steps} {verb} better than a prediction that looks at no image."
    if len(worse) == len(known):
        return "No step is better than a prediction that looks at no image."
    names = _listed(f"“{title}”" for title in worse)
    return (
        f"{len(known) - len(worse)} of {len(known)} steps are better than a prediction that looks "
        f"at no image; {names} {'is' if len(worse) == 1 else 'are'} not."
    )


def shows(contest: Contest) -> str:
    """Return what a group of comparable runs shows, two to four sentences."""
    measure, best = contest.measure, contest.best
    count = len(contest.entries)
    first = f"{best.run.name} is the best of {count} here" if count > 1 else best.run.name
    verb = ", with" if count > 1 else " has"
    sentences = [
        f"{first}{verb} {measure.label} of {_value(contest, best)} on validation: "
        f"{_verdict(contest)}.",
        _doubt(contest),
        *_of_other_codes(contest),
        _recipe(contest),
        *_handed_over(contest),
    ]
    return " ".join(filter(None, sentences))


def _code(run: Run) -> str:
    size = lookup(run.results, "code")
    return f" ({counted(size, 'number')} in the code)" if size else ""


def _value(contest: Contest, entry: Entry) -> str:
    shown = contest.measure.shown
    if len(entry.seeds) == 1:
        return shown(entry.value)
    values = [v for v in map(contest.measure.of, entry.seeds) if v is not None]
    return f"{shown(entry.value)} (mean of {len(values)} seeds, {_range(contest, values)})"


def _range(contest: Contest, values: Sequence[float]) -> str:
    return f"{contest.measure.shown(min(values))} to {contest.measure.shown(max(values))}"


def _verdict(contest: Contest, trivial_only: bool = False) -> str:
    """Say which baselines the best run is better than, and which are better."""
    measure = contest.measure
    references = contest.references
    if trivial_only:
        references = dict([contest.trivial] if contest.trivial else [])
    ours = float(measure.shown(contest.best.value))
    sides: dict[str, list[str]] = {"better than": [], "the same as": [], "worse than": []}
    for name, value in references.items():
        theirs = float(measure.shown(value))
        ahead = (theirs > ours) if measure.less else (theirs < ours)
        side = "the same as" if theirs == ours else "better than" if ahead else "worse than"
        sides[side].append(f"{_named(name)} ({measure.shown(value)})")
    parts = [f"{side} {_listed(names)}" for side, names in sides.items() if names]
    return ", but ".join(parts) if parts else "without a baseline to compare with"


def _named(baseline: str) -> str:
    """Return a baseline's name as a sentence has it: "PCA with at most 16 components"."""
    name = baseline.split(" (")[0].replace(", ", " with ")
    return f"the {name}" if name in ("mean image", "majority class") else name


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)


def _doubt(contest: Contest) -> str:
    """Say how sure an accuracy is: by its standard error over images."""
    images = lookup(contest.best.run.provenance, "images", "val")
    if contest.measure is not ACCURACY or not images or contest.trivial is None:
        return ""
    p = contest.best.value
    error = float(np.sqrt(p * (1 - p) / images))
    if not error:
        return ""
    ratio = abs(p - contest.trivial[1]) / error
    chance = "" if ratio > 2 else ", which can be chance"
    return (
        f"With {images} images one standard error is {error:.3f}: the difference from "
        f"{_named(contest.trivial[0])} is {ratio:.1f} of them{chance}."
    )


def _of_other_codes(contest: Contest) -> list[str]:
    """Say what the other codes have, the best ones first, beside PCA with as many numbers."""
    sign = 1 if contest.measure.less else -1
    others = [entry for entry in contest.entries if entry is not contest.best]
    sentences = []
    for entry in sorted(others, key=lambda entry: sign * entry.value)[:OTHERS]:
        pca = lookup(entry.run.baseline("PCA"), "val", contest.measure.of_baselines)
        if entry.run.task == "reconstruction" and pca is not None:
            sentences.append(
                f"{entry.run.name}{_code(entry.run)} has {_value(contest, entry)}, PCA with as "
                f"many numbers {contest.measure.shown(pca)}."
            )
    return sentences


def _recipe(contest: Contest) -> str:
    """Say what the study's own recipe has here, and what its slides report."""
    ours = [entry for entry in contest.entries if repeated(entry.run)]
    if not ours:
        return ""
    sign = 1 if contest.measure.less else -1
    entry = min(ours, key=lambda e: sign * e.value)
    row, run = repeated(entry.run), entry.run
    assert row is not None
    # Of segmentation the slides have soft Dice; another measure of the same run.
    metric = "soft_dice_per_image" if run.task == "segmentation" else contest.measure.of_baselines
    here, there = lookup(run.results, "val", metric), row["val"].get(metric)
    if here is None or there is None:
        return ""
    label, _, digits = METRIC_NAMES[metric]
    name = "It repeats" if entry is contest.best else f"{run.name} repeats"
    masks = " on masks in which void is object" if run.task == "segmentation" else ""
    return (
        f"{name} the study's recipe ({row['name']}): {label} {format(here, digits)} here, {there} "
        f"on the study's own data{masks}."
    )


def _studys_best(contest: Contest) -> str:
    """Return the best figure of the slides for this measure, with its name."""
    run, metric = contest.best.run, contest.measure.of_baselines
    if is_linear(run) or contest.measure is PRECISION:
        return ""
    if contest.measure is FOREGROUND:
        metric = "soft_dice_per_image"
    rows = [row for row in STUDY[run.task]["rows"] if metric in row["val"]]
    if not rows or contest.measure is PIXELS:
        return ""
    sign = 1 if METRIC_NAMES[metric][1] == "↓" else -1
    row = min(rows, key=lambda row: sign * float(row["val"][metric]))
    label = METRIC_NAMES[metric][0]
    other = f" of {label}, which is not the same measure" if contest.measure is FOREGROUND else ""
    return f"{row['val'][metric]}{other} ({row['name']}, on the study's own data)"


def _handed_over(contest: Contest) -> list[str]:
    """Say what it is worth to begin with another run's encoder: the rest of the config is equal."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in contest.entries:
        rest = without(entry.run.config, "name", "seed", "data.split_seed", "init_from")
        start = str(entry.run.config.get("init_from") or "")
        found.setdefault(rest, {}).setdefault(Path(start).name, entry)
    sentences = []
    for by_start in found.values():
        scratch = by_start.pop("", None)
        for start, entry in by_start.items() if scratch else ():
            assert scratch is not None
            shown, less = contest.measure.shown, contest.measure.less
            difference = float(shown(entry.value)) - float(shown(scratch.value))
            gain = -difference if less else difference
            words = "better than" if gain > 0 else "worse than" if gain < 0 else "the same as"
            sentences.append(
                f"Begun with the encoder of {start}, the same network has {_value(contest, entry)}"
                f", {words} the {_value(contest, scratch)} of random initial values."
            )
    return sentences
