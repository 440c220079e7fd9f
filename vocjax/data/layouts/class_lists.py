"""Reads the lists of a devkit of one's own: of splits, and of classes in ImageSets/Main."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT
from vocjax.data.layouts.files import Folder
from vocjax.data.layouts.lists import STEMS, WHOLE, Entry, choose_stems, read_lists
from vocjax.data.layouts.text import counted, image_id, normal, read_lines, shown
from vocjax.errors import UserError

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
        match = re.fullmatch(r"(.+)_([^_]+)", normal(stem))
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
    classes = {}
    for name, lists in by_class.items():
        # A list of train or val says more than one of trainval.
        order = sorted(lists, key=lambda stem: stem.lower() not in WHOLE)
        rows = {id_: s for stem in order for id_, s in _states(lists[stem], images).items()}
        classes[name] = {id_: state for id_, state in rows.items() if id_ in members}
        file = next(iter(lists.values())).name
        if not classes[name]:
            said.append(f"{file} names no image that is in train or val.")
        elif ABSENT in rows.values() and classes[name].keys() < members:
            lacks = sorted(members - classes[name].keys())
            said.append(
                f"the lists of {name} ({file}) have no line for {counted(len(lacks), 'image')}, "
                f"taken as without the class: {shown(lacks)}."
            )
    return Lists(parts, classes, tuple(said))


def _members(by_class: Iterable[dict[str, Path]], images: Folder) -> dict[str, dict[str, Entry]]:
    lists = [(stem, path) for of in by_class for stem, path in of.items()]
    chosen, _ = choose_stems(stem for stem, _ in lists)
    parts: dict[str, dict[str, Entry]] = {}
    for part, stem in chosen.items():
        parts[part] = {}
        for path in [path for other, path in lists if other.lower() == stem.lower()]:
            found = {id_: images.find(id_) for id_ in _states(path, images)}
            parts[part] |= {id_: Entry(f[1], "") for id_, f in found.items() if f}
    both = sorted(parts.get("train", {}).keys() & parts.get("val", {}).keys())
    if both:
        raise UserError(
            f"{lists[0][1].parent}: lists of classes name {shown(both)} for train and for val. "
            "Add train.txt and val.txt, which say where each image belongs."
        )
    return parts


def _states(path: Path, images: Folder) -> dict[str, int]:
    """Return id -> state of one class list; one with ids alone lists what shows the class."""
    lines = read_lines(path)
    pairs = [line.rsplit(None, 1) for _, line in lines]
    full = [len(pair) == 2 and pair[1] in STATES for pair in pairs]
    states: dict[str, int] = {}
    for (number, line), pair, complete in zip(lines, pairs, full, strict=True):
        where = f"{path}, line {number}"
        found = images.find(image_id(pair[0] if complete else line, images.path, where))
        if not complete and (any(full) or (not found and len(pair) == 2)):
            raise UserError(
                f"{where}: {line!r}; expected an image id and 1 (the class is there), 0 (it is "
                "difficult) or -1. Correct the line."
            )
        if found:
            states[found[0]] = STATES[pair[1]] if complete else PRESENT
    return states
