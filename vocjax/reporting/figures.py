"""Plots of any task, and the style of all: arrays in, a matplotlib `Figure` out.

pyplot is not imported: its list of open figures is global state, while a `Figure` that is made
directly is freed with its last reference.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vocjax import painting

WIDTH = 6.0  # inches: text set for this width is still readable when a phone shrinks the figure
DPI = 160  # sharp on dense screens, and light enough for a page of figures

# Okabe and Ito, "Color Universal Design" (2008), without yellow and black: colour-blind readers can
# distinguish them, too, and they are visible on white. For more curves the marker's shape changes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = "o^sD"
INK, QUIET = "#222222", "#777777"

# Any: rc_context wants every key as a literal type.
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same picture on every machine
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "grid.color": "#e4e4e4",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names come from people, and can hold a dollar sign
}
BELOW: Any = {  # of a legend below the axes
    "loc": "outside lower left",
    "handlelength": 1.2,
    "handletextpad": 0.5,
    "columnspacing": 1.2,
    "labelspacing": 0.3,
}
styled = matplotlib.rc_context(STYLE)  # decorates every function that makes or draws a figure


def one_plot(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches with one plot in it."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


@styled
def image_rows(
    rows: Mapping[str, np.ndarray], captions: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Labelled rows of images; a column is one example.

    `rows` maps labels to images `[N, height, width, 3 or 1]`, float in [0, 1] (values outside are
    clipped) or uint8, whose sizes may differ between rows. `captions` maps labels to N short texts,
    of the same number of lines, set below that row's images.
    """
    captions = captions or {}
    (n,) = {len(images) for images in rows.values()}
    cell = min(1.1, WIDTH / n)
    lines = {label: texts[0].count("\n") + 1 for label, texts in captions.items()}
    heights = [cell * images.shape[1] / images.shape[2] for images in rows.values()]
    written = sum((0.25 if label.strip() else 0.07) + 0.17 * lines.get(label, 0) for label in rows)
    # Labels need room where there are few images.
    width = max(n * cell, WIDTH / 2)
    figure = Figure(figsize=(width, sum(heights) + written))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, hspace=0)
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (label, images) in zip(axes, rows.items(), strict=True):
        size = images.shape[2]
        gap = max(1, size // 16)
        axis.imshow(painting.grid(painting.as_bytes(images)[None], gap), interpolation="nearest")
        axis.set_title(label.strip(), pad=4)
        axis.spines[:].set_visible(False)
        axis.set(xticks=[], yticks=[], anchor="W")
        if label in captions:
            centres = np.arange(n) * (size + gap) + (size - 1) / 2
            longest = max(len(line) for text in captions[label] for line in text.split("\n"))
            size = min(9, 72 * cell / (0.62 * longest))
            axis.set_xticks(centres, captions[label], fontsize=size)
            axis.tick_params(length=0, pad=2)
    return figure


@styled
def learning_curve(
    records: Sequence[Mapping[str, Any]],
    metric: str,
    best_epoch: int | None = None,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Training and validation values of a metric by epoch.

    `records` are `{"epoch": int, "train": {metric: value}, "val": {metric: value}}`, and "model"
    for a metric of the parameters themselves; missing values and those that are not finite have no
    point. `best_epoch` has a vertical line, and a ring on the validation curve. `levels` maps
    splits to a value to compare with, dotted.
    """
    figure, axis = one_plot(3.4, 2.7)
    if best_epoch is not None:
        axis.axvline(best_epoch, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)))
    for split, colour in zip(("train", "val", "model"), COLOURS, strict=False):
        curve = {
            record["epoch"]: value
            for record in records
            if (value := (record.get(split) or {}).get(metric)) is not None and math.isfinite(value)
        }
        if not curve:
            continue
        if levels and split in levels:
            axis.axhline(levels[split], color=colour, linewidth=1, linestyle=":")
        # A single epoch draws no line: the dots keep it visible.
        marker = "o" if len(curve) <= 15 else ""
        epochs, values = list(curve), list(curve.values())
        axis.plot(epochs, values, color=colour, label=split, marker=marker, markersize=3)
        if split == "val" and best_epoch is not None and best_epoch in curve:
            ring = axis.plot([best_epoch], [curve[best_epoch]], "o", markersize=8, color=colour)[0]
            ring.set(markerfacecolor="none", label=f"best, epoch {best_epoch}")
    axis.set(xlabel="epoch", title=metric.replace("_", " "))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axis.grid(axis="y")
    # Below the axes: inside there is no corner that a curve may not pass through.
    figure.legend(ncols=3, **BELOW)
    return figure


class Row(NamedTuple):
    """A run's values on validation: label -> a value for each seed; the study's for the first."""

    name: str
    values: Mapping[str, Sequence[float]]
    study: float | None


@styled
def dots(
    panels: Mapping[str, Sequence[Row]], xlabel: str, levels: Mapping[str, float], level: str
) -> Figure:
    """Values of runs by name: dots at the mean of the seeds, lines from the least to the greatest.

    `panels` maps titles to rows, from above, with the same labels; `levels` maps titles to a value
    to compare with, dotted, whose name in the legend is `level`.
    """
    counts = [len(rows) for rows in panels.values()]
    of_row = max(0.2 + 0.11 * len(row.values) for rows in panels.values() for row in rows)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(panels) + of_row * sum(counts)))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        for y, row in enumerate(rows):
            for i, (label, values) in enumerate(row.values.items()):
                place, style = y + 0.28 * i - 0.14 * (len(row.values) - 1), {"color": COLOURS[i]}
                if values:
                    axis.plot([min(values), max(values)], [place, place], linewidth=1.6, **style)
                    mean = float(np.mean(values))
                    axis.plot([mean], [place], "os"[i], ms=5.5, ls="none", label=label, **style)
                if i == 0 and row.study is not None:
                    cross: Any = {"marker": "x", "ms": 7, "mew": 1.5, "ls": "none", "color": INK}
                    axis.plot([row.study], [place], label=f"study, {label}", **cross)
        axis.set_yticks(range(len(rows)), [textwrap.fill(r.name, 22) for r in rows], fontsize=9)
        axis.set(title=title, ylim=(len(rows) - 0.5, -0.5))
        axis.tick_params(axis="y", length=0)
        axis.grid()
        if title in levels:
            axis.axvline(levels[title], color=QUIET, lw=1, ls=":", label=level)
    axes[-1].set_xlabel(xlabel)
    # One of each kind of mark, whichever panels and rows have it.
    marks = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles=list(marks.values()), ncols=2, **BELOW)
    return figure


@styled  # again: ticks are made when they are drawn
def encode_webp(figure: Figure) -> bytes:
    """WebP of a figure at `DPI` dots an inch: the same figure gives the same bytes.

    Lossless, but for figures that hold photographs, which would be four times as large.
    """
    raw = io.BytesIO()
    with painting.missing_letters_are_boxes():
        figure.savefig(raw, format="png", dpi=DPI, pil_kwargs={"compress_level": 0})
    picture = Image.open(raw).convert("RGB")
    buffer = io.BytesIO()
    lossy = any(axis.images for axis in figure.axes)
    picture.save(buffer, format="WEBP", lossless=not lossy, quality=88 if lossy else 100)
    return buffer.getvalue()
