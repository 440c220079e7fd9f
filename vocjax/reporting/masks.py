"""What task 3's pictures look like: arrays in, a matplotlib `Figure` out."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vocjax.data.devkit import VOID
from vocjax.reporting import figures as draw

CELL = 1.15  # inches of an image: five of them are as wide as a figure
LINE = 0.19  # inches of a legend's line
PALE = "#c9d0d5"
# What can be wrong with a pixel, in the order of `errors`.
WRONG = {
    "missed": draw.COLOURS[0],
    "falsely found": draw.COLOURS[4],
    "another class": draw.COLOURS[3],
}
NOT_WRONG = (0.0, 0.0, 0.0)  # `painting.overlay` leaves those pixels as they are
WRONG_PALETTE = np.rint(255 * np.array([NOT_WRONG, *map(to_rgb, WRONG.values())])).astype(np.uint8)

Key = Mapping[str, Any]  # what a legend names -> its colour

BELOW: dict[str, Any] = {
    "loc": "outside lower left",
    "handlelength": 1.6,
    "handletextpad": 0.5,
    "columnspacing": 1.2,
    "labelspacing": 0.3,
}


class Dice(NamedTuple):
    """A run's Dice on validation, a value for each seed; name and soft Dice of the study's run."""

    name: str
    soft: Sequence[float]
    hard: Sequence[float]
    study: tuple[str, float] | None


def errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Tell what is wrong with each pixel: 0 nothing, 1 missed, 2 falsely found, 3 another class.

    Shapes: `truth` and `prediction` [...], class indices, 0 the background, void 255 in the truth.
    The result is uint8 [...], void where the truth is.
    """
    wrong = np.where(prediction == 0, 1, np.where(truth == 0, 2, 3))
    return np.where(truth == VOID, VOID, np.where(truth == prediction, 0, wrong)).astype(np.uint8)


@matplotlib.rc_context(draw.STYLE)
def sheet(columns: Mapping[str, np.ndarray], keys: Sequence[Key], rows: Sequence[str]) -> Figure:
    """Images side by side, an example a row, with legends below.

    Args:
        columns: heading -> images uint8 [n, side, side, 3], of the same examples.
        keys: the legends, one below the other: name -> colour.
        rows: what stands before each row; empty for nothing.
    """
    images = np.stack(list(columns.values()), axis=1)
    n, across, side = images.shape[:3]
    pitch = side + max(1, side // 16)
    paper = np.full((n, pitch, across, pitch, 3), 255, np.uint8)
    paper[:, :side, :, :side] = images.transpose(0, 2, 1, 3, 4)
    paper = paper.reshape(n * pitch, across * pitch, 3)[: side - pitch, : side - pitch]
    width = CELL * across
    in_a_line = int(width / 1.4)
    patches = _in_lines(keys, in_a_line)
    lines = len(patches) // in_a_line
    beside = 0.35 if rows else 0
    figure = Figure(figsize=(width + beside, CELL * n + 0.55 + LINE * lines))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04)
    axis = figure.add_subplot()
    # Images of more pixels than the page has dots for are smoothed; the pixels of small ones stay.
    fine = side > CELL * draw.DPI
    axis.imshow(paper, interpolation="antialiased" if fine else "nearest")
    axis.spines[:].set_visible(False)
    axis.set_anchor("N")
    axis.set_xticks(pitch * np.arange(across) + side / 2, list(columns))
    axis.set_yticks(pitch * np.arange(n) + side / 2 if rows else [], rows)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    if patches:
        figure.legend(handles=patches, ncols=in_a_line, **BELOW | {"handlelength": 1.0})
    return figure


def _in_lines(keys: Sequence[Key], in_a_line: int) -> list[Patch]:
    """Patches in the order that a legend of so many columns takes: each key begins a line."""
    cells = []
    for key in keys:
        cells += [Patch(fc=c, ec=draw.QUIET, lw=0.5, label=name) for name, c in key.items()]
        # A label that is blank, not empty: one that is empty would be left out.
        cells += [Patch(fc="none", label=" ") for _ in range(-len(key) % in_a_line)]
    return [cells[i] for column in range(in_a_line) for i in range(column, len(cells), in_a_line)]


@matplotlib.rc_context(draw.STYLE)
def iou_bars(iou: Mapping[str, float], mean: float) -> Figure:
    """Bars of intersection over union by class, the best above, and a line at their mean."""
    names = sorted(iou, key=lambda name: iou[name])
    values = [iou[name] for name in names]
    figure, axis = _with_rows(names, [f"{value:.3f}".removeprefix("0") for value in values])
    colours = [draw.QUIET if name == "background" else draw.COLOURS[0] for name in names]
    axis.barh(range(len(names)), values, height=0.75, color=colours)
    axis.axvline(mean, color=draw.INK, linewidth=1, linestyle=(0, (4, 3)))
    axis.set(xlabel="intersection over union", xlim=(0, max(1.02 * max(values), 0.05)))
    return figure


@matplotlib.rc_context(draw.STYLE)
def destinations(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """What the pixels of each class are taken for: a confusion matrix as a bar a class.

    Shares that are right, missed, falsely found and taken for another class; behind each bar the
    object that the class is most often mistaken for. The class with the most right stands above.

    Shapes: `counts` int [K, K], rows truth, columns prediction, 0 the background.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right, missed = share.diagonal(), share[:, 0]
    background = np.arange(len(names)) == 0
    parts = {
        "right": right,
        "missed": np.where(background, 0, missed),
        "falsely found": np.where(background, 1 - right, 0),
        "another class": np.where(background, 0, 1 - right - missed),
    }
    order = [k for k in np.argsort(right, kind="stable") if counts[k].any()]
    mistaken = np.where(np.eye(len(names), dtype=bool) | background, 0, share)
    texts = [
        f"{names[mistaken[k].argmax()]} {100 * mistaken[k].max():.0f} %"
        if mistaken[k].max() >= 0.005
        else ""
        for k in order
    ]
    figure, axis = _with_rows([names[k] for k in order], texts)
    left = np.zeros(len(order))
    for (name, widths), colour in zip(parts.items(), (PALE, *WRONG.values()), strict=True):
        axis.barh(range(len(order)), widths[order], 0.75, left, color=colour, label=name)
        left += widths[order]
    axis.set(xlabel="share of the class's pixels", xlim=(0, 1))
    figure.set_figheight(figure.get_figheight() + 0.4)
    figure.legend(ncols=4, **BELOW | {"handlelength": 1.0})
    return figure


def _with_rows(names: Sequence[str], texts: Sequence[str]) -> tuple[Figure, Axes]:
    """An axis with a name before each row, from below, and a text behind it."""
    figure = Figure(figsize=(draw.WIDTH, 0.8 + 0.25 * len(names)))
    axis = figure.add_subplot()
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="y", length=0)
    style: Any = {"va": "center_baseline", "fontsize": 9, "transform": axis.get_yaxis_transform()}
    for height, text in enumerate(texts):
        axis.text(1.02, height, text, **style)
    return figure, axis


@matplotlib.rc_context(draw.STYLE)
def dice_by_threshold(
    thresholds: np.ndarray, train: np.ndarray, val: np.ndarray, chosen: int
) -> Figure:
    """Dice against the threshold on both splits, marked at the chosen one and at .5.

    Shapes: `thresholds`, `train` and `val` [n]; `chosen` is an index of them.
    """
    figure = Figure(figsize=(4.5, 3.3))
    axis = figure.add_subplot()
    at = thresholds[chosen]
    axis.axvline(0.5, color=draw.QUIET, linewidth=1, linestyle=":", label="0.5")
    axis.axvline(at, color=draw.INK, linewidth=1, linestyle=(0, (4, 3)), label=f"chosen, {at:g}")
    for name, curve, colour in zip(("train", "val"), (train, val), draw.COLOURS, strict=False):
        axis.plot(thresholds, curve, color=colour, label=name)
        axis.plot([at], [curve[chosen]], "o", color=colour, markersize=5)
    axis.set(xlabel="threshold", ylabel="hard Dice per image", xlim=(0, 1))
    axis.grid(axis="y")
    order = axis.get_legend_handles_labels()[0]
    figure.legend(handles=[*order[2:], *order[:2]], ncols=4, **BELOW)
    return figure


@matplotlib.rc_context(draw.STYLE)
def dice_dots(panels: Mapping[str, Sequence[Dice]], trivial: Mapping[str, float]) -> Figure:
    """Dice of runs by name, a panel a protocol: soft, hard below it, and the study's.

    Dots are the means of seeds, lines reach from the least to the greatest.

    Args:
        panels: title -> the runs below it, from above.
        trivial: title -> what calling every pixel foreground scores, where that is known.
    """
    counts = [len(runs) for runs in panels.values()]
    figure = Figure(figsize=(draw.WIDTH, 0.9 + 0.36 * len(panels) + 0.42 * sum(counts)))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for axis, (title, runs) in zip(axes, panels.items(), strict=True):
        _panel(axis, runs)
        axis.set_title(title)
        if title in trivial:
            axis.axvline(trivial[title], color=draw.QUIET, lw=1, ls=":", label="all foreground")
    axes[-1].set_xlabel("Dice per image, validation")
    # Of each kind of mark one, whichever panels and runs have it.
    marks = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles=list(marks.values()), ncols=2, **BELOW)
    return figure


def _panel(axis: Axes, runs: Sequence[Dice]) -> None:
    study: Any = {"ls": "none", "marker": "x", "ms": 7, "mew": 1.5, "label": "study, soft"}
    for row, run in enumerate(runs):
        _spread(axis, run.soft, row - 0.14, draw.COLOURS[0], "o", "soft")
        _spread(axis, run.hard, row + 0.14, draw.COLOURS[1], "s", "hard, of decisions")
        if run.study is not None:
            axis.plot([run.study[1]], [row - 0.14], color=draw.INK, **study)
    names = [textwrap.fill(run.name, 22) for run in runs]
    axis.set_yticks(range(len(runs)), names, fontsize=9)
    axis.set_ylim(len(runs) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid()


def _spread(
    axis: Axes, values: Sequence[float], height: float, colour: str, marker: str, label: str
) -> None:
    if values:
        axis.plot([min(values), max(values)], [height, height], color=colour, linewidth=1.6)
        mean = float(np.mean(values))
        axis.plot([mean], [height], marker, color=colour, ms=5.5, ls="none", label=label)
