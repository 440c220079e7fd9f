"""Reads the lists of a devkit of one's own: of splits, and of classes in ImageSets/Main."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT
from vocjax.data.layouts.files import Folder, check_found
from vocjax.data.layouts.lists import STEMS, WHOLE, Entry, choose_stems, read_lists
from vocjax.data.layouts.text import counted, image_id, normal, read_lines, shown
from vocjax.errors import UserError
from vocjax.files import printable

STATES = {"1": PRESENT, "+1": PRESENT, "0": DIFFICULT, "-1": ABSENT}

States = dict[str, dict[str, int]]  # id -> name of a class -> state


class Lists(NamedTuple):
    """What a folder of ImageSets holds."""

    parts: dict[str, dict[str, Entry]]  # "train" and "val", or "all" -> id -> files
    classes: dict[str, dict[str, int]]  # name -> id -> state
    warnings: tuple[str, ...]


def read_folder(folder: Path, images: Folder) -> Lists:
    """Read all lists of a folder, which may be missing; those of classes only in Main.

    Without train.txt the lists of classes say which images are in a split: those that they name.
    Raises `UserError` for a list that is wrong.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = {path.stem: path for path in files if path.suffix.lower() == ".txt"}
    chosen, left = choose_stems(paths)
    by_class: dict[str, dict[str, Path]] = {}
    unread = [paths[stem].name for stem in left if stem.lower() not in WHOLE]
    for stem, path in paths.items():
        match = re.fullmatch(r"(.+)_([^_]+)", normal(printable(stem)))
        if stem in chosen.values() or stem in left:
            continue
        if folder.name != "Segmentation" and match and match[2].lower() in STEMS:
            by_class.setdefault(match[1], {})[match[2]] = path
        else:
            unread.append(path.name)
    if chosen:
        parts = read_lists({part: paths[stem] for part, stem in chosen.items()}, images)
    else:
        parts = _members(by_class.values(), images)
    members = {id_ for part in parts.values() for id_ in part}
    said = [f"nothing reads {shown(unread)} in {folder}."] if unread else []
    classes, outside, states = dict[str, dict[str, int]](), set[str](), set[int]()
    for name, lists in by_class.items():
        rows, contradictions = _joined(lists, images)
        said += contradictions
        classes[name] = {id_: state for id_, state in rows.items() if id_ in members}
        outside |= rows.keys() - members
        states |= {*rows.values()}
        file = next(iter(lists.values())).name
        if not rows:
            said.append(f"{file} names no image.")
        elif ABSENT in rows.values() and classes[name].keys() < members:
            lacks = sorted(members - classes[name].keys())
            said.append(
                f"the lists of {name} ({file}) have no line for {counted(len(lacks), 'image')}, "
                f"taken as without the class: {shown(lacks)}."
            )
    if outside:
        said.append(
            f"nothing reads the lines of class lists in {folder} about "
            f"{counted(len(outside), 'image')} that train and val do not have: "
            f"{shown(sorted(outside))}."
        )
    if DIFFICULT in states and ABSENT not in states:
        said.append(
            f"the class lists in {folder} have 0 and never -1. In VOC's lists 0 is a difficult "
            "class, which does not count, and -1 an absent one: write -1 if 0 means absent."
        )
    return Lists(parts, classes, tuple(said))


def _joined(lists: Mapping[str, Path], images: Folder) -> tuple[dict[str, int], list[str]]:
    """Return id -> state of all lists of a class, and in words where they contradict each other."""
    rows: dict[str, int] = {}
    said = []
    # A list of train or val says more than one of trainval, so it comes later.
    for stem in sorted(lists, key=lambda stem: stem.lower() not in WHOLE):
        more = _states(lists[stem], images)
        differ = sorted(id_ for id_ in rows.keys() & more.keys() if rows[id_] != more[id_])
        if differ:
            others = " and ".join(path.name for of, path in lists.items() if of != stem)
            said.append(
                f"{lists[stem].name} contradicts {others} in {counted(len(differ), 'image')}, and "
                f"{lists[stem].name} counts: {shown(differ)}."
            )
        rows |= more
    return rows, said


def _members(by_class: Iterable[dict[str, Path]], images: Folder) -> dict[str, dict[str, Entry]]:
    lists = [(stem, path) for of in by_class for stem, path in of.items()]
    chosen, _ = choose_stems(stem for stem, _ in lists)
    parts: dict[str, dict[str, Entry]] = {}
    for part, stem in chosen.items():
        parts[part] = {}
        for path in [path for other, path in lists if other.lower() == stem.lower()]:
            found = {id_: images.find(id_) for id_ in _states(path, images)}
            check_found([id_ for id_, f in found.items() if not f], images.path, str(path))
            parts[part] |= {id_: Entry(f[1], "") for id_, f in found.items() if f}
    both = sorted(parts.get("train", {}).keys() & parts.get("val", {}).keys())
    if both:
        raise UserError(
            f"{lists[0][1].parent}: lists of classes name {shown(both)} for train and for val. "
            "Add train.txt and val.txt, which say where each image belongs."
        )
    return parts


def _states(path: Path, images: Folder) -> dict[str, int]:
    """Return id -> state of one class list; one with ids alone lists what shows the class.

    An id that no image has stays as it is written.
    """
    lines = read_lines(path, images.begins)

    def find(text: str, number: int) -> str:
        id_ = image_id(text, images.path, f"{path}, line {number}")
        found = images.find(id_)
        return found[0] if found else id_

    pairs = [line.rsplit(None, 1) for _, line in lines]
    full = [len(pair) == 2 and pair[1] in STATES for pair in pairs]
    whole = [find(line, number) for number, line in lines]
    first = [find(pair[0], number) for (number, _), pair in zip(lines, pairs, strict=True)]
    # "a 1" can be an image's name, too.
    alone = {*whole} <= images.ids.keys() and not (all(full) and {*first} <= images.ids.keys())
    states: dict[str, int] = {}
    for k, (number, line) in enumerate(lines):
        stated = full[k] and not alone
        id_, state = (first[k], STATES[pairs[k][1]]) if stated else (whole[k], PRESENT)
        unclear = not stated and not alone and (any(full) or id_ not in images.ids)
        if unclear and (any(full) or len(pairs[k]) == 2):
            raise UserError(
                f"{path}, line {number}: {line!r}; expected an image id and 1 (the class is "
                "there), 0 (it is difficult) or -1. Correct the line."
            )
        if states.setdefault(id_, state) != state:
            raise UserError(
                f"{path}, line {number}: {line!r}, and a line above says {states[id_]} for this "
                "image. Remove one of the two lines."
            )
    return states
