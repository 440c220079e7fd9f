"""Plots of task 3: arrays in, a matplotlib `Figure` out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vocjax import painting
from vocjax.data.classes import VOID
from vocjax.data.frame import Size, sides
from vocjax.reporting import figures as draw

CELL = 1.15  # inches of an image: five of them are as wide as a figure
STRIP = 0.32  # inches below an image, for two lines
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

Key = Mapping[str, Any]  # a legend: name -> colour


def errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the error of each pixel: 0 none, 1 missed, 2 falsely found, 3 another class.

    Shapes: `truth` and `prediction` [...], class indices, 0 the background, void 255 in the truth.
    The result is uint8 [...], void where the truth is void.
    """
    wrong = np.where(prediction == 0, 1, np.where(truth == 0, 2, 3))
    return np.where(truth == VOID, VOID, np.where(truth == prediction, 0, wrong)).astype(np.uint8)


def dice(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the Dice of each image's objects, float [n], NaN where there is none in either.

    A pixel is in both if it has the same class there. Shapes: class indices [n, height, width], 0
    the background; void pixels of the truth, 255, are left out.
    """
    known, pixels = truth != VOID, (1, 2)
    both = (known & (truth > 0) & (truth == prediction)).sum(axis=pixels)
    total = (known & (truth > 0)).sum(axis=pixels) + (known & (prediction > 0)).sum(axis=pixels)
    return np.where(total, 2 * both / np.maximum(total, 1), np.nan)


def channel(mask: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the mask of one class of each image: 1 there, 0 elsewhere, void stays.

    Shapes: `mask` uint8 [n, height, width], `classes` int [n]; the result is like `mask`.
    """
    own = mask == classes[:, None, None]
    return np.where(mask == VOID, VOID, own).astype(np.uint8)


def at_size(images: np.ndarray, size: Size) -> np.ndarray:
    """Return images or masks [n, height, width, ...] at a size, each the nearest pixel."""
    rows, columns = (
        (np.arange(side) + 0.5) * n // side
        for n, side in zip(images.shape[1:3], sides(size), strict=True)
    )
    return images[:, rows.astype(int)][:, :, columns.astype(int)]


@draw.styled
def sheet(
    columns: Mapping[str, np.ndarray],
    keys: Sequence[Key],
    rows: Sequence[str],
    under: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Images in columns, one row for each example, with the legends `keys` below.

    `columns` maps headings to images uint8 [n, height, side, 3], of the same examples; `rows` are
    the labels of the examples, or none; `under` maps headings to two short lines below each image.
    """
    images = np.stack(list(columns.values()), axis=1)
    n, across, height, side = images.shape[:4]
    gap = max(1, side // 16)
    strip = round(side * STRIP / CELL) if under else 0
    images = np.pad(images, [(0, 0)] * 2 + [(0, strip)] + [(0, 0)] * 2, constant_values=255)
    pitch, down = side + gap, height + strip + gap
    width = CELL * across
    in_a_line = int(width / 1.4)
    patches = _in_lines(keys, in_a_line)
    beside = 0.2 + 0.1 * max(map(len, rows), default=0) if rows else 0
    lines = max(heading.count("\n") for heading in columns)
    inches = CELL * n * down / pitch + 0.55 + 0.17 * lines + LINE * (len(patches) // in_a_line)
    figure, axis = draw.one_plot(width + beside, inches)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04)
    # Images with more pixels than the page has dots are smoothed; small ones keep their pixels.
    fine = side > CELL * draw.DPI
    axis.imshow(painting.grid(images, gap), interpolation="antialiased" if fine else "nearest")
    axis.spines[:].set_visible(False)
    axis.set_anchor("NE" if rows else "N")  # away from the labels at the left
    axis.set_xticks(pitch * np.arange(across) + side / 2, list(columns))
    axis.set_yticks(down * np.arange(n) + height / 2 if rows else [], rows)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    style: Any = {"ha": "center", "va": "center", "fontsize": 8.5}
    for i, heading in enumerate(columns):
        for row, text in enumerate((under or {}).get(heading, ())):
            axis.text(pitch * i + side / 2, down * row + height + strip / 2, text, **style)
    if patches:
        figure.legend(handles=patches, ncols=in_a_line, **draw.BELOW)
    return figure


def _in_lines(keys: Sequence[Key], in_a_line: int) -> list[Patch]:
    """Patches in the order of a legend with so many columns: each key begins a line."""
    cells = []
    for key in keys:
        cells += [Patch(fc=c, ec=draw.QUIET, lw=0.5, label=name) for name, c in key.items()]
        # A label that is blank, not empty: one that is empty would be left out.
        cells += [Patch(fc="none", label=" ") for _ in range(-len(key) % in_a_line)]
    return [cells[i] for column in range(in_a_line) for i in range(column, len(cells), in_a_line)]


@draw.styled
def iou_bars(iou: Mapping[str, float], mean: float) -> Figure:
    """Bars of intersection over union by class, the best is above, and a line at their mean."""
    names = sorted(iou, key=lambda name: iou[name])
    values = [iou[name] for name in names]
    figure, axis = _with_rows(names, [f"{value:.3f}".removeprefix("0") for value in values])
    colours = [draw.QUIET if name == "background" else draw.COLOURS[0] for name in names]
    axis.barh(range(len(names)), values, height=0.75, color=colours)
    axis.axvline(mean, color=draw.INK, linewidth=1, linestyle=(0, (4, 3)))
    axis.set(xlabel="intersection over union", xlim=(0, max(1.02 * max(values), 0.05)))
    return figure


@draw.styled
def destinations(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """What the pixels of each class are predicted as: a confusion matrix as a bar for each class.

    The bar has the shares that are right, missed, falsely found and of another class; at its right
    is the object that the class is most often mistaken for. Classes are sorted, the best is above.

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
    most = {k: f"{names[mistaken[k].argmax()]} {100 * mistaken[k].max():.0f} %" for k in order}
    texts = [text if mistaken[k].max() >= 0.005 else "" for k, text in most.items()]
    figure, axis = _with_rows([names[k] for k in order], texts)
    left = np.zeros(len(order))
    for (name, widths), colour in zip(parts.items(), (PALE, *WRONG.values()), strict=True):
        axis.barh(range(len(order)), widths[order], 0.75, left, color=colour, label=name)
        left += widths[order]
    axis.set(xlabel="share of the class's pixels", xlim=(0, 1))
    figure.set_figheight(figure.get_figheight() + 0.4)
    figure.legend(ncols=4, **draw.BELOW)
    return figure


def _with_rows(names: Sequence[str], texts: Sequence[str]) -> tuple[Figure, Axes]:
    """An axis with a name at the left of each row, from below, and a text at its right."""
    figure, axis = draw.one_plot(draw.WIDTH, 0.8 + 0.25 * len(names))
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="y", length=0)
    style: Any = {"va": "center_baseline", "fontsize": 9, "transform": axis.get_yaxis_transform()}
    for height, text in enumerate(texts):
        axis.text(1.02, height, text, **style)
    return figure, axis


@draw.styled
def dice_by_threshold(
    thresholds: np.ndarray, train: np.ndarray, val: np.ndarray, chosen: int
) -> Figure:
    """Dice against the threshold on both splits, marked at the chosen one and at .5.

    Shapes: `thresholds`, `train` and `val` [n]; `chosen` is an index of them.
    """
    figure, axis = draw.one_plot(4.5, 3.3)
    at = thresholds[chosen]
    axis.axvline(0.5, color=draw.QUIET, linewidth=1, linestyle=":", label="0.5")
    axis.axvline(at, color=draw.INK, linewidth=1, linestyle=(0, (4, 3)), label=f"chosen, {at:g}")
    for name, curve, colour in zip(("train", "val"), (train, val), draw.COLOURS, strict=False):
        axis.plot(thresholds, curve, color=colour, label=name)
        axis.plot([at], [curve[chosen]], "o", color=colour, markersize=5)
    axis.set(xlabel="threshold", ylabel="hard Dice per image", xlim=(0, 1))
    axis.grid(axis="y")
    order = axis.get_legend_handles_labels()[0]
    figure.legend(handles=[*order[2:], *order[:2]], ncols=4, **draw.BELOW)
    return figure
