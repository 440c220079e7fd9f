"""What task 2's pictures look like: arrays in, a matplotlib `Figure` out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vocjax.metrics.classification import reliability
from vocjax.reporting import figures as draw

NAMED = 6  # more classes than this don't fit beside each other, or have a colour each
PALE = "#b9c4cc"


class Curve(NamedTuple):
    """A class's curve in the unit square, x and y [t], and the one number that sums it up."""

    x: np.ndarray
    y: np.ndarray
    value: float


@matplotlib.rc_context(draw.STYLE)
def probability_bars(probability: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> Figure:
    """The predicted probability of each image's true class: a bar for each image, sorted, by class.

    There is a line at .5, and below each class how many of its bars exceed it.

    Args:
        probability: float `[N]` in [0, 1], of the image's true class.
        groups: int `[N]`, the true class: indices into `names`.
        names: those of the classes; a class without images is left out.
    """
    figure = Figure(figsize=(draw.WIDTH, 2.9))
    axis = figure.add_subplot()
    width = 0.85 if len(probability) <= 100 else 1.0
    gap = max(1.0, len(probability) / 50)
    start, ticks, labels = 0.0, [], []
    for index, name in enumerate(names):
        bars = -np.sort(-probability[groups == index])
        if not len(bars):
            continue
        x = start + np.arange(len(bars))
        axis.bar(x, bars, width=width, color=draw.COLOURS[index % len(draw.COLOURS)], linewidth=0)
        ticks.append(start + (len(bars) - 1) / 2)
        labels.append(f"{name}\n{np.sum(bars > 0.5)} of {len(bars)} > .5")
        start += len(bars) + gap
    axis.axhline(0.5, color=draw.INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(ylim=(0, 1), ylabel="probability of the true class")
    axis.set_xlim(-1, start - gap)
    axis.set_xticks(ticks, labels, rotation=90 if len(ticks) > 6 else 0)
    axis.tick_params(axis="x", length=0)
    return figure


@matplotlib.rc_context(draw.STYLE)
def probability_panels(probability: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> Figure:
    """`probability_bars` for many classes: a panel for each, however few its images."""
    shown = [index for index in range(len(names)) if (groups == index).any()]
    rows = math.ceil(len(shown) / 4)
    figure = Figure(figsize=(draw.WIDTH, 1.25 * rows))
    axes = figure.subplots(rows, 4, squeeze=False, sharey=True)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, index in zip(axes.flat, shown, strict=False):
        bars = -np.sort(-probability[groups == index])
        axis.stairs(bars, fill=True, color=draw.COLOURS[0], linewidth=0)
        axis.axhline(0.5, color=draw.INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axis.set(xlim=(0, len(bars)), ylim=(0, 1), xticks=[], yticks=[0, 0.5, 1])
        axis.set_title(f"{names[index]}\n{np.sum(bars > 0.5)} of {len(bars)} > .5", fontsize=9)
    return figure


@matplotlib.rc_context(draw.STYLE)
def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """A confusion matrix: numbers are images, the colour is the share of the row.

    Shapes: `counts` int [K, K], rows truth, columns prediction.
    """
    many, pair = len(names) > NAMED, len(names) == 2
    cells = (0.25 if many else 1.0 if pair else 0.625) * len(names)
    beside = 0.5 + (0.0625 if many else 0.078125) * max(map(len, names))
    figure = Figure(figsize=(cells + beside, cells + (0.75 if pair else beside)))
    axis = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    for (row, column), count in np.ndenumerate(counts):
        if count or not many:
            colour = "white" if share[row, column] > 0.5 else draw.INK
            middle: Any = {"ha": "center", "va": "center", "fontsize": 6.5 if many else 11}
            axis.text(column + 0.5, row + 0.5, str(count), color=colour, **middle)
    centres, size = np.arange(len(names)) + 0.5, 8 if many else 10
    axis.set_xticks(centres, names, rotation=0 if pair else 90, fontsize=size)
    axis.set_yticks(centres, names, fontsize=size)
    axis.set(xlabel="likeliest class", ylabel="truth")
    axis.invert_yaxis()
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def roc_curves(curves: Mapping[str, Curve]) -> Figure:
    """ROC curves of classes, and the diagonal of chance."""
    figure = _of_classes(curves, "AUC", "default")
    axis = figure.axes[0]
    axis.plot([0, 1], [0, 1], color=draw.QUIET, linewidth=0.9, linestyle=":", zorder=0)
    axis.set(xlabel="false positive rate", ylabel="true positive rate")
    return figure


def precision_recall_curves(curves: Mapping[str, Curve]) -> Figure:
    """Precision against recall of classes; each curve begins at recall 1."""
    figure = _of_classes(curves, "AP", "steps-post")
    figure.axes[0].set(xlabel="recall", ylabel="precision")
    return figure


@matplotlib.rc_context(draw.STYLE)
def _of_classes(curves: Mapping[str, Curve], measure: str, drawstyle: Any) -> Figure:
    """A line a class, named with its value; of many classes the best and the worst are named."""
    many = len(curves) > NAMED
    ranked = sorted(curves, key=lambda name: -curves[name].value)
    named = [ranked[0], ranked[-1]] if many else list(curves)
    figure = Figure(figsize=(4.75, 4.5 + 0.25 * ((len(named) + many) // 2)))
    axis = figure.add_subplot()
    for name in curves:
        if name not in named:
            axis.plot(*curves[name][:2], color=PALE, linewidth=0.8, drawstyle=drawstyle)
    for colour, name in zip(draw.COLOURS, named, strict=False):
        label = f"{name}, {measure} {curves[name].value:.3f}"
        axis.plot(*curves[name][:2], color=colour, label=label, drawstyle=drawstyle)
    if many:
        mean = np.mean([curve.value for curve in curves.values()])
        label = f"mean of {len(curves)}, {measure} {mean:.3f}"
        axis.plot([], [], color=PALE, linewidth=0.8, label=label)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.grid()
    figure.legend(loc="outside lower left", ncols=2, handlelength=1.2, columnspacing=1.2)
    return figure


@matplotlib.rc_context(draw.STYLE)
def reliability_diagram(confidence: np.ndarray, right: np.ndarray) -> Figure:
    """Share right against confidence in bins of equal width, above a histogram of confidences.

    Shapes: `confidence` [m] in [0, 1], `right` [m], 0 or 1.
    """
    figure = Figure(figsize=(4.5, 4.5))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    mean_confidence, share_right, _ = reliability(confidence, right)
    above.plot([0, 1], [0, 1], color=draw.QUIET, linewidth=0.9, linestyle=":")
    line = above.plot(mean_confidence, share_right, "o-", color=draw.COLOURS[0], markersize=4)[0]
    line.set_clip_on(False)  # no half points where none or all are right
    above.set(ylim=(0, 1.02), ylabel="share right")
    above.grid()
    counts, edges = np.histogram(confidence, bins=15, range=(0, 1))
    below.stairs(counts, edges, fill=True, color=draw.COLOURS[0], alpha=0.6)
    # A decision between two is never less sure than one half.
    below.set_xlim(0.48 if confidence.min() >= 0.5 else 0, 1.01)
    below.set(xlabel="confidence", ylabel="decisions")
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return figure


@matplotlib.rc_context(draw.STYLE)
def accuracy_dots(
    accuracy: Mapping[str, Sequence[float]], study: Mapping[str, float], majority: float | None
) -> Figure:
    """Accuracies by name, best above: a dot a seed, their mean as a line, the study's as a cross.

    A dotted line stands at what deciding for the majority reaches, where that is known.
    """
    means = {name: float(np.mean(values)) for name, values in accuracy.items()}
    names = sorted(means, key=lambda name: means[name])
    figure = Figure(figsize=(draw.WIDTH, 1.125 + 0.3125 * len(names)))
    axis = figure.add_subplot()
    for height, name in enumerate(names):
        seeds = accuracy[name]
        axis.plot(seeds, [height] * len(seeds), "o", color=draw.COLOURS[0], alpha=0.35, mew=0)
        axis.plot([means[name]], [height], "|", color=draw.COLOURS[0], ms=14, mew=2)
        if name in study:
            axis.plot([study[name]], [height], "x", color=draw.COLOURS[1], ms=7, mew=1.5)
    if majority is not None:
        axis.axvline(majority, color=draw.QUIET, linewidth=1, linestyle=":")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="element-wise accuracy, validation", ylim=(-0.6, len(names) - 0.4))
    axis.tick_params(axis="y", length=0)
    axis.grid()
    return figure
