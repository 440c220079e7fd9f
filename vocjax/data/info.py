"""Describes a prepared data set: its counts as text, its classes as a contact sheet."""

import math
import unicodedata
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vocjax.data.devkit import DIFFICULT, OFFICIAL_COUNTS, PRESENT, SPLITS
from vocjax.data.index import Index, Prepared, counts
from vocjax.errors import UserError
from vocjax.files import replacing
from vocjax.painting import missing_letters_are_boxes, overlay

WITHOUT_CLASSES = 12  # images on a contact sheet of a data set that shows no class


def summary(prepared: Prepared) -> str:
    """Describe a prepared data set in lines of text: its source, sizes in pixels and counts."""
    index = prepared.index
    heights, widths = (_range(index.sizes[:, axis]) for axis in (0, 1))
    lines = [
        f"{prepared.name}: {len(index.ids)} images{', a part of its year' * prepared.partial}",
        f"  directory    {prepared.directory}",
        f"  source       {prepared.source}",
        f"  fingerprint  {prepared.fingerprint}",
        f"  height       {heights}",
        f"  width        {widths}",
        "",
        *_split_lines(prepared),
        "",
        *_class_lines(prepared),
    ]
    return "\n".join(lines)


def contact_sheet(prepared: Prepared, file: Path) -> None:
    """Draw one example of each class that is present, with its mask if it has one.

    Where no class is, the first images are drawn. The suffix of `file` gives the format (.png,
    .jpg, .pdf, .svg). Raises `UserError` for another suffix or none, and where the file can't be
    written.
    """
    index, kind = prepared.index, file.suffix[1:].lower()
    present = np.flatnonzero((index.labels == PRESENT).any(axis=0)).tolist()
    shown = [(f"{prepared.classes.names[k]}  ", _example(index, k)) for k in present]
    shown = shown or [("", row) for row in range(min(WITHOUT_CLASSES, len(index.ids)))]
    columns = min(4, len(shown))
    height = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(3.2 * columns, 1.6 * height), layout="constrained", dpi=120)
    for place, (name, row) in enumerate(shown, 1):
        axes = figure.add_subplot(height, columns, place)
        axes.imshow(_panel(prepared, row))
        axes.set_title(f"{name}{index.ids[row]}", fontsize=8, parse_math=False)
        axes.set_axis_off()
    try:
        if kind not in figure.canvas.get_supported_filetypes():
            raise ValueError(f"its ending is {file.suffix!r}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part, missing_letters_are_boxes():
            figure.savefig(part, format=kind)
    except (OSError, ValueError) as error:
        raise UserError(
            f"The figure {file} can't be written ({error}). Give a path that ends in .png, .jpg, "
            ".pdf or .svg, in a folder that you may write to."
        ) from error


def _range(lengths: np.ndarray) -> str:
    return f"{lengths.min()} to {lengths.max()} pixels, median {np.median(lengths):g}"


def _split_lines(prepared: Prepared) -> list[str]:
    here = counts(prepared.index)
    official = OFFICIAL_COUNTS.get(prepared.name)
    lines = [f"{'images':14}{'train':>8}{'val':>8}"]
    for number, name in enumerate(("Main", "Segmentation")):
        line = f"{name:14}" + "".join(f"{count:>8}" for count in here[number])
        if official:
            line += f"   of {official[number][0]} and {official[number][1]} in the official lists"
        lines.append(line)
    if prepared.partial and not official:
        lines.append(
            "The official counts of this year aren't certain: only its archive counts as whole."
        )
    return lines


def _class_lines(prepared: Prepared) -> list[str]:
    index = prepared.index
    if not prepared.classes.names:
        return ["no classes"]
    groups = {
        f"{name} {split}": index.labels[membership == split]
        for name, membership in (("Main", index.main), ("Segm.", index.segmentation))
        for split in SPLITS
    }
    lines = ["images with the class (+ those where it is only difficult)"]
    names = _column(prepared.classes.names)
    width = max(14, *(_width(name) + 1 for name in names))
    lines.append(" " * width + "".join(f"{title:>12}" for title in groups))
    for column, name in enumerate(names):
        line = name + " " * (width - _width(name))
        for labels in groups.values():
            present, difficult = (np.sum(labels[:, column] == s) for s in (PRESENT, DIFFICULT))
            line += f"{f'{present} +{difficult}' if difficult else present:>12}"
        lines.append(line)
    return lines


def _column(names: tuple[str, ...]) -> list[str]:
    """Return names without blanks, which split columns; with their indices where two are alike."""
    plain = [name.replace(" ", "_") for name in names]
    return [f"{n}({k})" if plain.count(n) > 1 else n for k, n in enumerate(plain, 1)]


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    letters = [c for c in text if not unicodedata.combining(c)]
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in letters)


def _example(index: Index, column: int) -> int:
    """Return the row that shows a class best: with a mask, and with few other classes."""
    present = index.labels == PRESENT
    rows = np.flatnonzero(present[:, column])
    others = present[rows].sum(axis=1)
    return int(rows[np.lexsort((rows, others, index.segmentation[rows] == "none"))[0]])


def _panel(prepared: Prepared, row: int) -> np.ndarray:
    example = prepared.examples[row]
    image, mask = example["image"], example["mask"][..., 0]
    if prepared.index.segmentation[row] == "none":
        return image
    return np.concatenate([image, overlay(image, mask, prepared.classes.palette)], axis=1)
