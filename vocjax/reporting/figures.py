"""Plots: arrays in, a matplotlib `Figure` out.

Nothing here reads a file, keeps state or knows a task. pyplot stays out: its list of open figures
is global state, while a `Figure` made directly is freed with its last reference.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vocjax import painting

WIDTH = 6.0  # inches: text set for this width is still readable when a phone shrinks the figure
DPI = 160  # sharp on dense screens, and light enough for a page of figures

# Okabe and Ito, "Color Universal Design" (2008), without yellow and black: told apart by
# colour-blind readers too, and visible on white. Past the last colour the marker's shape changes.
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
    "axes.grid": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "grid.color": "#e4e4e4",
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names come from people, and may hold a dollar sign
}


@matplotlib.rc_context(STYLE)
def image_rows(
    rows: Mapping[str, np.ndarray], captions: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Labelled rows of images, column by column the same example.

    Args:
        rows: label -> images `[N, height, width, 3 or 1]`, float in [0, 1] (values outside are
            clipped) or uint8. Every row has the same N; heights and widths may differ between rows.
        captions: label -> N short texts, of the same number of lines, set below that row's images.

    Raises:
        ValueError: no rows, rows of different N, or a row with other than N captions.
    """
    captions = captions or {}
    columns = {len(images) for images in rows.values()}
    if len(columns) != 1 or any({len(texts)} != columns for texts in captions.values()):
        raise ValueError(
            f"rows of {[len(images) for images in rows.values()]} images with "
            f"{[len(texts) for texts in captions.values()]} captions: every row needs as many "
            "images as there are columns, and as many captions if it has any"
        )
    (n,) = columns
    cell = min(1.1, WIDTH / n)
    lines = {label: texts[0].count("\n") + 1 for label, texts in captions.items()}
    heights = [cell * images.shape[1] / images.shape[2] for images in rows.values()]
    written = sum((0.25 if label.strip() else 0.07) + 0.15 * lines.get(label, 0) for label in rows)
    # Labels need room where there are few images.
    width = max(n * cell, WIDTH / 2)
    figure = Figure(figsize=(width, sum(heights) + written))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, hspace=0)
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (label, images) in zip(axes, rows.items(), strict=True):
        strip, centres = _strip(images)
        axis.imshow(strip, interpolation="nearest")
        axis.set_title(label.strip(), pad=4)
        axis.spines[:].set_visible(False)
        axis.set(xticks=[], yticks=[], anchor="W")
        if label in captions:
            axis.set_xticks(centres, captions[label], fontsize=min(7.5, 10 * cell))
            axis.tick_params(length=0, pad=2)
    return figure


def _strip(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, H, W, C]` side by side with white gaps, uint8 `[H, *, 3]`, and their centres."""
    images = painting.as_bytes(images)
    n, height, width, _ = images.shape
    gap = max(1, width // 16)
    strip = np.full((height, n, width + gap, 3), 255, np.uint8)
    strip[:, :, :width] = images.transpose(1, 0, 2, 3)
    centres = np.arange(n) * (width + gap) + (width - 1) / 2
    return strip.reshape(height, -1, 3)[:, :-gap], centres


@matplotlib.rc_context(STYLE)
def probability_bars(probability: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> Figure:
    """The predicted probability of each image's true class: one bar an image, sorted, by class.

    A line stands at .5, and below each class how many of its bars rise above it.

    Args:
        probability: float `[N]` in [0, 1], of the image's true class.
        groups: int `[N]`, the true class: indices into `names`.
        names: what the classes are called; a class without images is left out.
    """
    figure = Figure(figsize=(WIDTH, 2.9))
    axis = figure.add_subplot()
    width = 0.85 if len(probability) <= 100 else 1.0
    gap = max(1.0, len(probability) / 50)
    start, ticks, labels = 0.0, [], []
    for index, name in enumerate(names):
        bars = -np.sort(-probability[groups == index])
        if not len(bars):
            continue
        x = start + np.arange(len(bars))
        axis.bar(x, bars, width=width, color=COLOURS[index % len(COLOURS)], linewidth=0)
        ticks.append(start + (len(bars) - 1) / 2)
        labels.append(f"{name}\n{np.sum(bars > 0.5)} of {len(bars)} > .5")
        start += len(bars) + gap
    axis.axhline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(ylim=(0, 1), ylabel="probability of the true class")
    axis.set_xlim(-1, start - gap)
    axis.set_xticks(ticks, labels, rotation=90 if len(ticks) > 6 else 0)
    axis.tick_params(axis="x", length=0)
    return figure


@matplotlib.rc_context(STYLE)
def learning_curves(
    records: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    best_epoch: int | None = None,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Training and validation values by epoch: a panel for each metric, in rows of two.

    Args:
        records: `{"epoch": int, "train": {metric: value}, "val": {metric: value}}` for each epoch,
            and "model" for what the parameters themselves tell. Where a value is missing or not
            finite the curve has no point.
        metrics: the names of the values to draw.
        best_epoch: marked by a line across every panel and a ring on the validation curve.
        levels: split -> a value to compare with, dotted.
    """
    columns = min(2, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.7 * rows))
    for index, metric in enumerate(metrics):
        _curves(
            figure.add_subplot(rows, columns, index + 1), records, metric, best_epoch, levels or {}
        )
    # Below the axes: inside there is no corner that a curve may not pass through.
    legend = {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}
    handles = [
        legend[name]
        for name in ("train", "val", "model", f"best, epoch {best_epoch}")
        if name in legend
    ]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=3, handlelength=1.2, columnspacing=1.2
    )
    return figure


def _curves(
    axis: Axes,
    records: Sequence[Mapping[str, Any]],
    metric: str,
    best_epoch: int | None,
    levels: Mapping[str, float],
) -> None:
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
        if split in levels:
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


@matplotlib.rc_context(STYLE)  # again: ticks are made when they are drawn
def encode_webp(figure: Figure) -> bytes:
    """WebP of a figure at `DPI` dots an inch: the same figure gives the same bytes.

    Lossless, but for figures that hold photographs, which would be four times as large.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, pil_kwargs={"compress_level": 0})
    picture = Image.open(raw).convert("RGB")
    buffer = io.BytesIO()
    lossy = any(axis.images for axis in figure.axes)
    picture.save(buffer, format="WEBP", lossless=not lossy, quality=88 if lossy else 100)
    return buffer.getvalue()
