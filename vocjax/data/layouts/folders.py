"""A folder for each class, which holds its images."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from vocjax.data.classes import MOST
from vocjax.data.devkit import ABSENT, PRESENT, Record, Source
from vocjax.data.layouts import names
from vocjax.data.layouts.files import Folder
from vocjax.data.layouts.lists import STEMS, TRAIN, VAL, by_folder, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, normal, shown
from vocjax.errors import UserError


def read(directory: Path, request: Request) -> Source:
    """Read `train/CLASS/*` and `val/CLASS/*`, or `CLASS/*`, of which a share is held out.

    The id of an image is its path in `directory`, or in the only folder that this holds, without
    ending. The classes are the folders, or those of them that `--classes` names, in its order.
    Raises `UserError` where no folder has an image, two images have one id, or folders mean
    something else.
    """
    folder = _unwrapped(directory, request.classes)
    images = folder.images
    parts, warnings = by_folder(images)
    warnings += folder.unread()
    if folder.path != directory:
        warnings += (f"the folders of the classes are those in {folder.path}.",)
    tops = {id_.split("/")[0] for id_ in images}
    deep = "all" not in parts or (len(tops) == 1 and {top.lower() for top in tops} <= STEMS)
    class_of = {
        id_: id_.split("/")[deep] for ids in parts.values() for id_ in ids if id_.count("/") > deep
    }
    found = sorted({*class_of.values()})
    if not found:
        raise UserError(
            f"{directory} has no folder of a class with images. Expected "
            f"{directory / 'train' / 'cat'} and {directory / 'val' / 'cat'}, or "
            f"{directory / 'cat'}, and so on. Images without classes are --images DIR."
        )
    _check_classes(folder.path, class_of)
    if len(found) > MOST and not request.classes:
        raise UserError(
            f"{directory} has {len(found)} folders with images; expected at most {MOST} classes. "
            "Name some of them with --classes, or give the folder that holds those of the classes."
        )
    where = "--classes" if request.classes else str(directory)
    named = names.as_they_are(request.classes or found, where)
    columns = {name: k for k, name in enumerate(named.classes.names)}
    unread = [name for name in found if name not in columns]
    if unread == found:
        raise UserError(
            f"--classes names {shown(list(columns))}, and {directory} has the folders "
            f"{shown(found)}. Name some of the folders, or leave the flag out."
        )
    if unread:
        warnings += (f"nothing reads the folders {shown(unread)}: --classes does not name them.",)
    splits = {id_.split("/")[0] for id_ in class_of} if deep else set()
    warnings += _empty(folder.path, {*found, *columns}, splits)
    loose = [id_ for ids in parts.values() for id_ in ids if id_ not in class_of]
    if loose:
        warnings += (
            f"nothing reads {counted(len(loose), 'image')} outside of folders: {shown(loose)}.",
        )
    kept = {part: [i for i in ids if class_of.get(i) in columns] for part, ids in parts.items()}
    split = split_of(kept, request.held_out, class_of=class_of)
    records = []
    for id_ in sorted(split.of):
        labels = np.full(len(columns), ABSENT, np.int8)
        labels[columns[class_of[id_]]] = PRESENT
        records.append(Record(id_, images[id_], None, labels, split.of[id_], "none"))
    return Source(records, named.classes, f"folders{split.said}", warnings=warnings)


def _unwrapped(directory: Path, classes: Collection[str]) -> Folder:
    """Return the folder of the classes: `directory`, or the only one in it that holds images."""
    folder = Folder(directory)
    paths = [id_.split("/") for id_ in folder.images]
    tops = {path[0] for path in paths}
    known = any(top.lower() in STEMS or top in classes for top in tops)
    if len(tops) != 1 or known or any(len(path) < 3 for path in paths):
        return folder
    file = next(iter(folder.images.values()))
    return _unwrapped(directory / file.relative_to(directory).parts[0], classes)


def _check_classes(directory: Path, class_of: Mapping[str, str]) -> None:
    """Raise `UserError` where folders are those of a devkit, of masks, or of splits in a class."""
    paths = {id_: [part.lower() for part in id_.split("/")[:-1]] for id_ in class_of}
    every = {part for path in paths.values() for part in path}
    if "jpegimages" in every:
        raise UserError(
            f"{directory} is a devkit, not a folder for each class. Give --devkit instead of "
            "--folders."
        )
    if {"images", "masks"} <= every:
        raise UserError(
            f"{directory} holds images and masks, not a folder for each class. Give --images DIR "
            "--masks DIR instead of --folders."
        )
    split = {id_ for id_, path in paths.items() if {*path[1:]} & STEMS}
    inner = {part for id_ in split for part in paths[id_][1:]}
    if inner & {*TRAIN} and inner & {*VAL}:
        name = class_of[min(split)]
        raise UserError(
            f"{directory} has splits in the folder {name}. Expected the splits first, as in "
            f"{directory / 'train' / name} and {directory / 'val' / name}. Move the folders."
        )


def _empty(directory: Path, made: Collection[str], splits: Collection[str]) -> tuple[str, ...]:
    """Return a warning about folders of classes without an image, in `directory` or its splits."""
    roots = [directory]
    if splits:
        roots = [path for path in directory.iterdir() if normal(path.name) in splits]
    inside = {normal(path.name) for root in roots for path in root.iterdir() if path.is_dir()}
    empty = sorted(name for name in inside - {*made} if name[0] != "." and name[:2] != "__")
    if not empty:
        return ()
    return (f"no image is read from the folders {shown(empty)}, which make no class.",)
