"""The sentences of the report: what came out, from the results of the runs that are there.

No figure is written here; each comes from a run, from its baselines or from the study's table.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vocjax.metrics.names import METRIC_NAMES
from vocjax.reporting.contests import (
    ACCURACY,
    FOREGROUND,
    PIXELS,
    PRECISION,
    Contest,
    Entry,
    held_out,
    standard_error,
)
from vocjax.reporting.differences import difference
from vocjax.reporting.study import STUDY, repeated
from vocjax.reporting.table import is_linear
from vocjax.runs.groups import without
from vocjax.runs.reader import Run, counted, lookup

OTHERS = 3  # runs besides the best that a paragraph names
STUDYS_CLASSES = {"aeroplane", "dog"}
BETTER, SAME, CLOSE, WORSE = "better than", "the same as", "too close to tell from", "worse than"


def outcome(contest: Contest) -> str:
    """Return the sentence of a step at the top of the page."""
    measure, best = contest.measure, contest.best
    text = f"{best.run.name}{_code(best.run)} has {measure.label} of {_value(contest, best)} on "
    text += f"{_images(best.run)}, {_verdict(contest)}"
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
        f"{first}{verb} {measure.label} of {_value(contest, best)} on {_images(best.run)}: "
        f"{_verdict(contest)}.",
        _doubt(contest),
        *_of_other_codes(contest),
        _recipe(contest),
        *_handed_over(contest),
    ]
    return " ".join(filter(None, sentences))


def _images(run: Run) -> str:
    return "held-out photographs of train" if held_out(run) else "validation images"


def _code(run: Run) -> str:
    size = lookup(run.results, "code")
    return f" ({counted(size, 'number')} in the code)" if size else ""


def _value(contest: Contest, entry: Entry) -> str:
    return _mean(entry.values, contest.measure.shown)


def _mean(values: Sequence[float], shown: Callable[[float], str]) -> str:
    mean = shown(float(np.mean(values)))
    if len(values) == 1:
        return mean
    return f"{mean} (mean of {len(values)} seeds, {shown(min(values))} to {shown(max(values))})"


def _verdict(contest: Contest) -> str:
    """Say which baselines the best run is better than, which are better, and what is not clear."""
    shown = contest.measure.shown
    sides: dict[str, list[str]] = {side: [] for side in (BETTER, SAME, CLOSE, WORSE)}
    for name, value in contest.references.items():
        lead, same = contest.lead(value), shown(value) == shown(contest.best.value)
        sides[_side(lead, same)].append(f"{_named(name)} ({shown(value)})")
    parts = [f"{side} {_listed(names)}" for side, names in sides.items() if names]
    return ", but ".join(parts) if parts else "without a baseline to compare with"


def _side(lead: float, same: bool) -> str:
    return SAME if same else BETTER if lead > 0 else WORSE if lead < 0 else CLOSE


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
    error = standard_error(contest.best)
    if contest.measure is not ACCURACY or not images or contest.trivial is None or not error:
        return ""
    ratio = abs(contest.best.value - contest.trivial[1]) / error
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
    values = [lookup(seed.results, "val", metric) for seed in entry.seeds]
    here, there = [value for value in values if value is not None], row["val"].get(metric)
    if not here or there is None:
        return ""
    label, _, digits = METRIC_NAMES[metric]
    name = "It repeats" if entry is contest.best else f"{run.name} repeats"
    masks = " on masks in which void is object" if run.task == "segmentation" else ""
    mean = _mean(here, lambda value: format(value, digits))
    return (
        f"{name} the study's recipe ({row['name']}): {label} {mean} here, {there} on the study's "
        f"own data{masks}."
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
    if run.task == "classification" and set(run.field("data.classes") or ()) != STUDYS_CLASSES:
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
        name = re.sub(r"_\d+$", "", Path(start).name)  # each seed has a run of its own
        found.setdefault(rest, {}).setdefault(name, entry)
    sentences = []
    for by_start in found.values():
        scratch = by_start.pop("", None)
        for start, entry in by_start.items() if scratch else ():
            assert scratch is not None
            words = _compared(contest, entry, scratch)
            sentences.append(
                f"Begun with the encoder of {start}, the same network has {_value(contest, entry)}"
                f", {words} the {_value(contest, scratch)} of random initial values."
            )
    return sentences


def _compared(contest: Contest, entry: Entry, other: Entry) -> str:
    """Say which of two entries is better: by the images that both have, or by their margins."""
    shown, sign = contest.measure.shown, -1 if contest.measure.less else 1
    lead = sign * (entry.value - other.value)
    if paired := difference(entry.seeds, other.seeds):
        _, low, high = paired.interval
        clear = low > 0 or high < 0
    else:
        clear = abs(lead) > max(entry.margin, other.margin)
    return _side(lead if clear else 0.0, shown(entry.value) == shown(other.value))
