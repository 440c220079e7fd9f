"""A short table for a terminal: the study's figures, trivial ones, its recipe here, and ours."""

from collections.abc import Sequence

from vocjax.metrics.names import METRIC_NAMES
from vocjax.reporting.study import recipe
from vocjax.reporting.table import MISSING
from vocjax.runs.groups import Spread, over_seeds
from vocjax.runs.reader import Run

# For each task the metrics of its rows, and the kind of baseline that has learnt next to nothing.
SHOWN = {
    "reconstruction": (("mse",), "mean image"),
    "classification": (("elementwise_accuracy", "log_loss"), "majority class (frequency)"),
    "segmentation": (
        ("soft_dice_per_image", "hard_dice_per_image_at_threshold"),
        "one mask for all",
    ),
}
# A constant mask has no threshold to choose.
OF_CONSTANTS = {"hard_dice_per_image_at_threshold": "hard_dice_per_image"}
HEADER = ("", "metric on val", "study", "trivial", "its recipe", "ours")


def side_by_side(pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]]) -> str:
    """Return a table of pairs of finished runs, (the study's recipe, ours), as lines of text.

    Each is of one or several seeds, whose mean it is. The study's own figures are from its images;
    what is trivial is a baseline of our run. What they are called stands below.
    """
    rows, notes = [HEADER], []
    for theirs, ours in pairs:
        task = ours[0].task
        metrics, trivial = SHOWN[task]
        own = (recipe(theirs[0]) or {}).get("val", {})
        found = [over_seeds(runs)["val"] for runs in (theirs, ours)]
        simple = ours[0].baseline(trivial).get("val", {})
        for metric in metrics:
            label, direction, digits = METRIC_NAMES[metric]
            values = [simple.get(OF_CONSTANTS.get(metric, metric))]
            values += [_mean(of.get(metric)) for of in found]
            cells = (MISSING if value is None else format(value, digits) for value in values)
            step = "" if metric != metrics[0] else task
            rows.append((step, f"{label} {direction}", own.get(metric, MISSING), *cells))
        notes.append(f"{task}: {trivial}; {theirs[0].name}; {ours[0].name}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    where = (
        "The study's figures are those of its slides, from other images of the same classes, for "
        "classification in another split."
    )
    return "\n".join([*lines, "", *notes, where])


def _mean(value: float | Spread | None) -> float | None:
    return value.mean if isinstance(value, Spread) else value
