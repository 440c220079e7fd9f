"""A folder for each class, which holds its images."""

from pathlib import Path

import numpy as np

from vocjax.data.devkit import ABSENT, PRESENT, Record, Source
from vocjax.data.layouts import names
from vocjax.data.layouts.files import Folder
from vocjax.data.layouts.lists import STEMS, by_folder, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, shown
from vocjax.errors import UserError


def read(directory: Path, request: Request) -> Source:
    """Read `train/CLASS/*` and `val/CLASS/*`, or `CLASS/*`, of which a share is held out.

    The id of an image is its path in `directory` without ending. The classes are the folders, or
    those of them that `--classes` names, in its order. Raises `UserError` where no folder has an
    image, or two images one id.
    """
    folder = Folder(directory)
    images = folder.images
    parts, warnings = by_folder(images)
    warnings += folder.unread()
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
