"""Which images are for training and which for validation: by lists, folders or a share."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vocjax.data.layouts.files import SHARE, Folder, check_found, hold_out
from vocjax.data.layouts.text import counted, image_id, read_lines, shown
from vocjax.data.photo import ENDINGS
from vocjax.data.splits import photographs
from vocjax.errors import UserError

TRAIN = ("train", "training", "trainaug", "train_aug")
VAL = ("val", "valid", "validation", "test")  # the first that is there is val
WHOLE = ("default", "trainval", "all")  # CVAT writes default.txt
STEMS = {*TRAIN, *VAL, *WHOLE}  # names of lists and folders of splits, in small letters


class Entry(NamedTuple):
    """A line of a list: the file of an image, and its mask as far as the line names one."""

    image: Path
    mask: str


class Split(NamedTuple):
    """The split of each image."""

    of: dict[str, str]  # id -> "train" or "val"
    said: str  # what was held out, in words that follow the kind of a source; empty: nothing


def choose_stems(stems: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return which of the lists or folders is which part, and those that no part takes.

    The parts are "train" and "val", or where there is only one of them or neither, "all". Of val,
    valid and test the first counts; small and capital letters are the same.
    """
    by_name = {stem.lower(): stem for stem in sorted(stems) if stem.lower() in STEMS}
    parts: dict[str, str] = {}
    for part, names in (("train", TRAIN), ("val", VAL)):
        stem = next((by_name[name] for name in names if name in by_name), None)
        if stem:
            parts[part] = stem
    if len(parts) < 2:
        whole = [by_name[name] for name in WHOLE if name in by_name] or [*parts.values()]
        parts = {"all": whole[0]} if whole else {}
    left = [stem for stem in by_name.values() if stem not in parts.values()]
    return parts, left


def read_lists(paths: Mapping[str, Path], images: Folder) -> dict[str, dict[str, Entry]]:
    """Return part -> id -> entry of lists; one has ids or paths, with masks' paths beside or not.

    Raises `UserError` for an id that has no image, is in two lists, or leads out of the folder.
    """
    parts: dict[str, dict[str, Entry]] = {}
    place: dict[str, Path] = {}
    for part, path in paths.items():
        parts[part], missing = {}, []
        for number, line in read_lines(path, images.begins):
            where = f"{path}, line {number}"
            name, mask = _columns(line, images)
            id_ = image_id(name, images.path, where)
            found = images.find(id_)
            if found is None:
                missing.append(id_)
                continue
            if found[0] in place:
                raise UserError(
                    f"{where} lists {found[0]}, which {place[found[0]].name} lists already. An "
                    "image is listed once, in train or in val: remove one of the two lines."
                )
            place[found[0]] = path
            parts[part][found[0]] = Entry(found[1], mask)
        check_found(missing, images.path, str(path))
    return parts


def split_of(
    parts: Mapping[str, Iterable[str]],
    share: float | None,
    *,
    known: Mapping[str, str] = {},
    class_of: Mapping[str, str] = {},
) -> Split:
    """Return the split of the ids in `parts`; of "all", a share is held out, of each class alike.

    `known` are ids whose split another list says. Raises `UserError` where a share is asked for and
    the parts are train and val already, or where nothing can be held out.
    """
    if "all" not in parts:
        if share:
            raise UserError(
                f"--held_out {share} with data that says what is for training and what for "
                "validation. Leave the flag out, or remove the lists or folders of the splits."
            )
        return Split({id_: part for part, ids in parts.items() for id_ in ids}, "")
    ids = list(parts["all"])
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        if id_ not in known:
            groups.setdefault(class_of.get(id_, ""), []).append(id_)
    shot = dict(zip(ids, photographs(np.array(ids)).tolist(), strict=True))
    # Crops of one photograph can show several classes.
    held = {shot[id_] for of in groups.values() for id_ in hold_out(of, share or SHARE)}
    of = {id_: known.get(id_, "val" if shot[id_] in held else "train") for id_ in ids}
    if not {"train", "val"} <= {*of.values()} and not known:
        one = ", crops of one photograph by their names," * (len({*shot.values()}) == 1 < len(ids))
        raise UserError(
            f"{counted(len(ids), 'image')} ({shown(ids)}){one} can't be split into train and val. "
            "Add images, or say which are for which by folders train and val, or by lists where "
            "the layout has them."
        )
    return Split(of, f", {share or SHARE:g} of the images held out")


def by_folder(ids: Iterable[str]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return part -> ids, by their first folders if these are splits, and warnings.

    Where none is train, or none val, all are of the part "all".
    """
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        groups.setdefault(id_.split("/")[0] if "/" in id_ else "", []).append(id_)
    parts, _ = choose_stems(groups)
    if "train" not in parts:
        return {"all": [id_ for group in groups.values() for id_ in group]}, ()
    chosen = {part: groups.pop(stem) for part, stem in parts.items()}
    unread = [
        f"{counted(len(of), 'image')} in {name or 'no sub-folder'}" for name, of in groups.items()
    ]
    splits = f"{parts['train']} and {parts['val']} are the splits"
    return chosen, (f"nothing reads {shown(unread)}: {splits}.",) if unread else ()


def _columns(line: str, images: Folder) -> tuple[str, str]:
    """Return an image and a mask; two columns are two paths with endings of image files.

    Without endings they are two words, of which the first and not both together is an image.
    """
    for k, letter in enumerate(line):
        if letter in " \t,":
            left, right = line[:k].rstrip(" \t,"), line[k:].strip(" \t,")
            if all(Path(name).suffix.lower() in ENDINGS for name in (left, right)):
                return left, right
    words = line.replace(",", " ").split()
    two = len(words) == 2 and words[1] not in ("1", "+1", "0", "-1")  # those of a class list
    if two and images.is_named(words[0]) and not images.is_named(line):
        return words[0], words[1]
    return line, ""
