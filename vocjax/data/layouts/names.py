"""Reads the names of classes, and their colours, from the files in which programs keep them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vocjax.data.classes import PALETTE, VOC, VOID, Classes, check_names
from vocjax.data.layouts.text import normal, read_lines, shown
from vocjax.errors import UserError

FILES = ("classes.txt", "class_names.txt", "labelmap.txt", "_classes.csv")  # the first counts
BACKGROUND = {"background", "_background_", "__background__"}
IGNORED = {"__ignore__", "_ignore_", "ignore", "void", "unlabeled"}


class Named(NamedTuple):
    """Classes, where their names come from, and what the values of masks mean if it is said."""

    classes: Classes
    where: str
    values: Mapping[int, int] = MappingProxyType({})  # value -> index; empty: as they are
    warnings: tuple[str, ...] = ()


def given(names: tuple[str, ...]) -> Named:
    """Return the classes that `--classes` names; raises `UserError` for wrong names."""
    return Named(Classes(_checked(names, "--classes")), "--classes")


def in_files(folders: Iterable[Path]) -> Named | None:
    """Return the classes of the first file of names in the folders; None where there is none.

    Another file with other classes gives a warning. Raises `UserError` for a file that is no list
    of classes.
    """
    paths = (folder / file for file in FILES for folder in dict.fromkeys(folders))
    found = [(path, _read(path)) for path in paths if path.is_file()]
    if not found:
        return None
    path, first = found[0]
    others = [
        f"{p.name} ({shown(list(n.classes.names))})"
        for p, n in found[1:]
        if n.classes.names != first.classes.names
    ]
    if not others:
        return first
    names = shown(list(first.classes.names))
    return first._replace(
        warnings=(f"{path.name} names {names}, and {' and '.join(others)}: {path.name} counts.",)
    )


def of_labels(names: Iterable[str], where: str) -> Named:
    """Return the classes of names that labels have: VOC's if all are VOC's, else in their order."""
    own = sorted({*names})
    if {*own} <= {*VOC.names}:
        return Named(VOC, "VOC's, which has all names of the labels")
    return as_they_are(own, where)


def as_they_are(found: Iterable[str], where: str) -> Named:
    """Return classes that folders or features name, whatever their names are."""
    check_names(tuple(found), where)
    return Named(Classes(tuple(found)), where)


def _read(path: Path) -> Named:
    lines = [normal(line) for _, line in read_lines(path)]
    if path.name == "_classes.csv":
        return _csv(path, lines)
    coloured = [re.fullmatch(r"(.*?):\s*(\d+),\s*(\d+),\s*(\d+)(:.*)?", line) for line in lines]
    if lines and all(coloured):
        return _coloured(path, [match for match in coloured if match])
    if path.name == "labelmap.txt":
        line = next(line for line, match in zip(lines, coloured, strict=True) if not match)
        raise UserError(
            f"{path} has the line {line!r}; expected a class and its colour, as in cat:128,0,0::. "
            "Correct it, or name the classes in classes.txt."
        )
    lines = [line for line in lines if line not in IGNORED]
    if lines and lines[0].lower() in BACKGROUND:
        lines = lines[1:]
    late = next((line for line in lines if line.lower() in BACKGROUND), None)
    if late:
        raise UserError(
            f"{path} names {late} after other classes; background is index 0 of masks, so it comes "
            "first or not at all. Move the line, and say with --mask_values what masks hold if "
            "they count otherwise."
        )
    return Named(Classes(_checked(tuple(lines), str(path))), path.name)


def _coloured(path: Path, lines: list[re.Match[str]]) -> Named:
    """CVAT's label map: `label:red,green,blue:parts:actions`; the background has a line, too."""
    palette, names = PALETTE.copy(), []
    for line in lines:
        name = line[1].strip()
        index = 0 if name.lower() in BACKGROUND else VOID if name.lower() in IGNORED else None
        if index is None:
            names.append(name)
            _checked(tuple(names), str(path))
            index = len(names)
        colour = [int(line[k]) for k in (2, 3, 4)]
        if max(colour) > 255:
            raise UserError(f"{path} gives {name} the colour {colour}; expected 0 to 255.")
        palette[index] = colour
    palette.setflags(write=False)
    return Named(Classes(_checked(tuple(names), str(path)), palette), path.name)


def _csv(path: Path, lines: list[str]) -> Named:
    """Roboflow's table: a head `Pixel Value, Class`, and a value and a name in each row."""
    rows = [[cell.strip() for cell in line.split(",", 1)] for line in lines]
    if not rows or [cell.lower() for cell in rows[0]] != ["pixel value", "class"]:
        raise UserError(
            f"{path} begins with {lines[0] if lines else 'nothing'!r}; expected Pixel Value, Class "
            "and rows such as 1, cat. Name the classes in classes.txt, and remove this file."
        )
    meaning: dict[int, str] = {}
    for row in rows[1:]:
        if len(row) != 2 or not row[0].isdigit() or int(row[0]) > 255 or int(row[0]) in meaning:
            raise UserError(
                f"{path} has the row {', '.join(row)!r}; expected a value from 0 to 255, each "
                "once, and the name of its class. Correct the row."
            )
        meaning[int(row[0])] = row[1]
    return of_values(meaning, str(path))._replace(where=path.name)


def of_values(meaning: Mapping[int, str], where: str) -> Named:
    """Return the classes that values of masks stand for, background and void among them or not."""
    fixed = {
        v: 0 if n.lower() in BACKGROUND else VOID
        for v, n in meaning.items()
        if n.lower() in BACKGROUND or n.lower() in IGNORED
    }
    order = [value for value in sorted(meaning) if value not in fixed]
    names = _checked(tuple(meaning[value] for value in order), where)
    values = fixed | {value: k for k, value in enumerate(order, 1)}
    plain = all(value == index for value, index in values.items())
    return Named(Classes(names), where, {} if plain else values)


def _checked(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    check_names(names, where)
    wrong = next((n for n in names if n.lower() in BACKGROUND | IGNORED), None)
    if wrong:
        raise UserError(
            f"{where} names the class {wrong}; masks have background as 0 and void as 255, and "
            "neither is a class. Leave the name out."
        )
    return names
