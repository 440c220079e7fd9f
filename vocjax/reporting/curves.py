"""Plots of task 2: arrays in, a matplotlib `Figure` out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vocjax import painting
from vocjax.metrics.classification import reliability
from vocjax.reporting import figures as draw

NAMED = 6  # for more classes there is no room, and there are no colours
PALE = "#b9c4cc"
WRONG = "#b34700"  # of a text: darker than in `figures.COLOURS`


class Curve(NamedTuple):
    """A class's curve in the unit square, x and y [t], and the one number that summarises it."""

    x: np.ndarray
    y: np.ndarray
    value: float


@draw.styled
def probability_bars(probability: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> Figure:
    """The predicted probability of each image's true class: bars, sorted, in a panel a class.

    There is a line at .5, and above each panel how many bars exceed it.

    Shapes: `probability` float `[N]` in [0, 1]; `groups` int `[N]`, the true class, an index into
    `names`. A class without images is left out.
    """
    shown = np.unique(groups).tolist()
    across = min(4, len(shown))
    rows = math.ceil(len(shown) / across)
    figure = Figure(figsize=(draw.WIDTH, max(2.5, 1.25 * rows)))
    axes = figure.subplots(rows, across, squeeze=False, sharey=True)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, index in zip(axes.flat, shown, strict=False):
        bars = -np.sort(-probability[groups == index])
        axis.stairs(bars, fill=True, color=draw.COLOURS[0], linewidth=0)
        axis.axhline(0.5, color=draw.INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axis.set(xlim=(0, len(bars)), ylim=(0, 1), xticks=[], yticks=[0, 0.5, 1])
        axis.set_title(f"{names[index]}\n{np.sum(bars > 0.5)} of {len(bars)} > .5", fontsize=9)
    return figure


@draw.styled
def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """A confusion matrix: numbers are images, the colour is the share of the row.

    Shapes: `counts` int [K, K], rows truth, columns prediction.
    """
    many, pair = len(names) > NAMED, len(names) == 2
    cells = (0.25 if many else 1.0 if pair else 0.625) * len(names)
    beside = 0.5 + (0.0625 if many else 0.078125) * max(map(len, names))
    figure, axis = draw.one_plot(cells + beside, cells + (0.75 if pair else beside))
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


@draw.styled
def class_curves(
    curves: Mapping[str, Curve], measure: str, xlabel: str, ylabel: str, drawstyle: Any = "default"
) -> Figure:
    """A line for each class, with its value; of many classes the best and the worst are named."""
    many = len(curves) > NAMED
    ranked = sorted(curves, key=lambda name: -curves[name].value)
    named = [ranked[0], ranked[-1]] if many else list(curves)
    figure, axis = draw.one_plot(4.75, 4.5 + 0.25 * ((len(named) + many) // 2))
    for name in curves:
        if name not in named:
            axis.plot(*curves[name][:2], color=PALE, linewidth=0.8, drawstyle=drawstyle)
    lines = []
    for colour, name in zip(draw.COLOURS, named, strict=False):
        label = f"{name}, {measure} {curves[name].value:.3f}"
        lines += axis.plot(*curves[name][:2], color=colour, label=label, drawstyle=drawstyle)
    if many:
        mean = np.mean([curve.value for curve in curves.values()])
        label = f"mean of {len(curves)}, {measure} {mean:.3f}"
        lines += axis.plot([], [], color=PALE, linewidth=0.8, label=label)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=xlabel, ylabel=ylabel)
    axis.grid()
    # Of lines that are not given, matplotlib would leave out those with a name like "_cat".
    figure.legend(handles=lines, ncols=2, **draw.BELOW)
    return figure


@draw.styled
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
    # The confidence of a decision between two is never below one half.
    below.set_xlim(0.48 if confidence.min() >= 0.5 else 0, 1.01)
    below.set(xlabel="confidence", ylabel="decisions")
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return figure


@draw.styled
def verdicts(images: np.ndarray, rows: Mapping[str, Sequence[tuple[str, bool]]]) -> Figure:
    """Images, and below them what each of several runs says of them: a text, and if it is right.

    Shapes: `images` [n, height, width, 1 or 3]; a row has n texts of two lines.
    """
    n, (height, width) = len(images), images.shape[1:3]
    cell = draw.WIDTH / n
    heights = (cell * height / width, *[0.6] * len(rows))
    figure = Figure(figsize=(draw.WIDTH, sum(heights)))
    above, *below = figure.subplots(1 + len(rows), 1, height_ratios=heights)
    gap = max(1, width // 16)
    pictures = painting.grid(painting.as_bytes(images)[None], gap)
    above.imshow(pictures, interpolation="antialiased", aspect="auto")
    for axis in (above, *below):
        axis.set(xticks=[], yticks=[], xlim=(-0.5, pictures.shape[1] - 0.5))
        axis.spines[:].set_visible(False)
    centres = np.arange(n) * (width + gap) + (width - 1) / 2
    longest = max(len(line) for row in rows.values() for text, _ in row for line in text.split())
    size = min(9, 72 * cell / (0.62 * (longest + 1)))
    for axis, (name, texts) in zip(below, rows.items(), strict=True):
        axis.set_title(name, fontsize=10, pad=2)
        for x, (text, right) in zip(centres, texts, strict=True):
            mark, colour = ("", draw.INK) if right else (" \N{MULTIPLICATION SIGN}", WRONG)
            style: Any = {"ha": "center", "va": "center", "fontsize": size, "color": colour}
            axis.text(x, 0.5, text + mark, **style)
    return figure
