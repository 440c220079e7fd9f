"""Reads the names of classes, and their colours, from the files in which programs keep them."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vocjax.data.classes import PALETTE, VOID, Classes, check_names
from vocjax.data.layouts.text import normal, read_lines, shown
from vocjax.errors import UserError

FILES = ("classes.txt", "class_names.txt", "labelmap.txt", "_classes.csv")  # the first counts
BACKGROUND = {"background", "_background_", "__background__"}
IGNORED = {"__ignore__", "_ignore_", "ignore", "void", "unlabeled"}
LABEL = r"(.*?):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?"  # a line of a label map
NUMBERED = r"(\d+)(\s*[:;,.)=]\s*|\s+)(.+)"  # a line with an index and a name


class Named(NamedTuple):
    """Classes, where their names come from, and what the values of masks mean if it is said."""

    classes: Classes
    where: str
    values: Mapping[int, int] = MappingProxyType({})  # value -> index; empty: as they are
    warnings: tuple[str, ...] = ()


def given(names: tuple[str, ...]) -> Named:
    """Return the classes that `--classes` names; raises `UserError` for wrong names."""
    plain = _without_numbers("--classes", [*names])
    return Named(Classes(_checked(tuple(plain), "--classes")), "--classes")


def find(classes: tuple[str, ...], folders: Iterable[Path]) -> Named | None:
    """Return `classes`, or else those of the first file of names in the folders; None without one.

    The colours of a label map count if it has the same names; another file with other classes gives
    a warning. Raises `UserError` for a file that is no list of classes.
    """
    files = {
        folder: {file.name.lower(): file for file in sorted(folder.iterdir(), reverse=True)}
        for folder in folders
        if folder.is_dir()
    }
    wanted = ("labelmap.txt",) if classes else FILES
    paths = (of[name] for name in wanted for of in files.values() if name in of)
    found = [given(classes)] * bool(classes) + [_read(path) for path in paths if path.is_file()]
    if not found:
        return None
    first, *others = found
    names, said = first.classes.names, []
    for other in others:
        if other.classes.names != names:
            said.append(f"{other.where} ({shown([*other.classes.names])})")
        if not first.classes.stated and {*other.classes.names} == {*names}:
            first = first._replace(classes=_coloured_as(first.classes, other.classes))
    if not said:
        return first
    said[:0] = [f"{first.where} names {shown([*names])}"]
    return first._replace(warnings=(f"{', and '.join(said)}: {first.where} counts.",))


def as_they_are(found: Iterable[str], where: str) -> Named:
    """Return classes that folders, labels or features name, whatever their names are."""
    check_names(tuple(found), where)
    return Named(Classes(tuple(found)), where)


def _coloured_as(classes: Classes, other: Classes) -> Classes:
    """Return classes with the colours that `other` gives to the same names."""
    palette = other.palette.copy()
    rows = [other.names.index(name) + 1 for name in classes.names]
    palette[1 : len(rows) + 1] = other.palette[rows]
    return classes._replace(palette=palette, stated=other.stated)


def _read(path: Path) -> Named:
    named = _parsed(path, [" ".join(normal(line).split()) for _, line in read_lines(path)])
    if not named.classes.names:
        raise UserError(
            f"{path} names no class. Write a class in each line, in the order of their indices in "
            "masks, or remove the file."
        )
    return named


def _parsed(path: Path, lines: list[str]) -> Named:
    kind = path.name.lower()
    if kind == "_classes.csv":
        return _csv(path, lines)
    coloured = [re.fullmatch(LABEL, line) for line in lines]
    if all(coloured):
        return _coloured(path, [match for match in coloured if match])
    if kind == "labelmap.txt":
        line = next(line for line, match in zip(lines, coloured, strict=True) if not match)
        raise UserError(
            f"{path} has the line {line!r}; expected a class and its colour, as in cat:128,0,0::. "
            "Correct it, or name the classes in classes.txt."
        )
    lines = _without_fixed(_without_numbers(str(path), lines))
    late = next((line for line in lines if line.lower() in BACKGROUND | IGNORED), None)
    if late:
        raise UserError(
            f"{path} names {late} among other classes; masks have background as 0 and void as 255, "
            "so the names after it may mean other indices. Background comes first or not at all, "
            "void last. Move the line, and say with --mask_values what masks hold if they count "
            "otherwise."
        )
    return Named(Classes(_checked(tuple(lines), str(path))), path.name)


def _without_fixed(lines: list[str]) -> list[str]:
    """Leave out background and void where they move no index."""
    if lines and lines[0].lower() in IGNORED:  # labelme has __ignore__ as -1
        lines = lines[1:]
    if lines and lines[0].lower() in BACKGROUND:
        lines = lines[1:]
    while lines and lines[-1].lower() in IGNORED:
        lines = lines[:-1]
    return lines


def _without_numbers(where: str, lines: list[str]) -> list[str]:
    """Leave out the indices before names, as in `0: background` and `1: cat`."""
    found = [match for line in lines if (match := re.fullmatch(NUMBERED, line))]
    if len(found) < len(lines) or not lines:
        return lines
    numbers, names = [int(match[1]) for match in found], [match[3] for match in found]
    first = int(names[0].lower() not in BACKGROUND)
    if numbers[-1] == VOID and names[-1].lower() in IGNORED:
        numbers = numbers[:-1]
    if numbers == [*range(first, first + len(numbers))]:
        return names
    if not any(match[2].strip() for match in found) and max(numbers) > len(numbers):
        return lines  # names such as `5 cents`
    raise UserError(
        f"{where} begins names with the numbers {', '.join(map(str, numbers[:5]))}; expected "
        "those of masks in their order, 0 for background, 1 for the first class and so on. Write "
        "the names alone, and say with --mask_values what masks hold if they count otherwise."
    )


def _coloured(path: Path, lines: list[re.Match[str]]) -> Named:
    """CVAT's label map: `label:red,green,blue:parts:actions`; the background has a line, too."""
    palette, names = PALETTE.copy(), []
    owners: dict[tuple[int, ...], str] = {}
    every = [line[1].strip() for line in lines]
    for name, line in zip(every, lines, strict=True):
        index = 0 if name.lower() in BACKGROUND else VOID if name.lower() in IGNORED else None
        if index is None:
            names.append(name)
            _checked(tuple(names), str(path))
            index = len(names)
        colour = tuple(int(line[k]) for k in (2, 3, 4))
        if max(colour) > 255:
            raise UserError(f"{path} gives {name} the colour {[*colour]}; expected 0 to 255.")
        if owners.setdefault(colour, name) != name:
            raise UserError(_one_colour(path, owners[colour], name, colour))
        palette[index] = colour
    black = tuple(palette[0].tolist())
    if owners.get(black, "background").lower() not in BACKGROUND:
        raise UserError(_one_colour(path, "background", owners[black], black))
    palette.setflags(write=False)
    ordered = _without_fixed(every) == names
    return Named(Classes(tuple(names), palette, True, ordered), path.name)


def _one_colour(path: Path, one: str, other: str, colour: tuple[int, ...]) -> str:
    return (
        f"{path} gives {one} and {other} one colour, {colour}; a mask in colours can't tell them "
        "apart. Give each its own, in the masks too, or name the classes in classes.txt instead if "
        "masks hold indices."
    )


def _csv(path: Path, lines: list[str]) -> Named:
    """Roboflow's table: a head `Pixel Value, Class`, and a value and a name in each row."""
    cells = csv.reader(lines, skipinitialspace=True)
    rows = [[row[0].strip(), ",".join(row[1:]).strip()] for row in cells if row]
    if not rows or [cell.lower() for cell in rows[0]] != ["pixel value", "class"]:
        raise UserError(
            f"{path} begins with {lines[0] if lines else 'nothing'!r}; expected Pixel Value, Class "
            "and rows such as 1, cat. Name the classes in classes.txt, and remove this file."
        )
    meaning: dict[int, str] = {}
    for row in rows[1:]:
        if not row[1] or not row[0].isdecimal() or int(row[0]) > 255 or int(row[0]) in meaning:
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
