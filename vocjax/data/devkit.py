"""Reads and checks a PASCAL VOC devkit: its lists, its labels, and where its files lie.

Layout and formats: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV
88(2), 2010, and the development kit's documentation of each year. `layouts.kit` reads devkits that
users made, in which much is otherwise.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vocjax.data.classes import VOC, VOID, Classes
from vocjax.data.layouts.annotations import read_objects
from vocjax.data.layouts.text import image_id, read_lines, shown
from vocjax.errors import UserError, check_choice

YEARS = {f"voc{year}": year for year in range(2007, 2013)}
SPLITS = ("train", "val")
PRESENT, DIFFICULT, ABSENT = 1, 0, -1

Counts = tuple[tuple[int, int], tuple[int, int]]  # images in train and val of Main, Segmentation
# Without 2008: the organisers' pages disagree about it (4,332 and 4,340 images in Main).
OFFICIAL_COUNTS: dict[str, Counts] = {
    "voc2007": ((2501, 2510), (209, 213)),
    "voc2009": ((3473, 3581), (749, 750)),
    "voc2010": ((4998, 5105), (964, 964)),
    "voc2011": ((5717, 5823), (1112, 1111)),
    "voc2012": ((5717, 5823), (1464, 1449)),
}


class Record(NamedTuple):
    """One image, before its pixels are read."""

    id: str
    image: Path
    mask: Path | None  # None: the image is in no Segmentation list
    labels: np.ndarray | None  # int8 [classes]: 1 present, 0 difficult, -1 absent; None: the mask's
    main: str  # "none", "train" or "val"
    segmentation: str


class Source(NamedTuple):
    """What a layout found: images in the order of their ids, and what is known of all of them."""

    records: list[Record]
    classes: Classes
    origin: str  # in words, without a path
    values: Mapping[int, int] = MappingProxyType(
        {}
    )  # of the masks' pixels -> index; empty: read from each mask
    warnings: tuple[str, ...] = ()


def year_directory(directory: Path, year: int) -> Path:
    """Return the folder of one year, which holds JPEGImages and ImageSets.

    It is `directory` itself, or `VOC<year>`, `VOCdevkit/VOC<year>` or (in the archive of 2011)
    `TrainVal/VOCdevkit/VOC<year>` in it. Raises `UserError` where there is no such folder, or only
    another year's.
    """
    directory, name = directory.absolute(), f"VOC{year}"
    if (directory / "ImageSets").is_dir():
        if re.fullmatch(r"VOC20\d\d", directory.name) and directory.name != name:
            raise UserError(
                f"{directory} is {directory.name}; expected {name}. Give the folder of {name}, or "
                f"prepare the data set {directory.name.lower()}."
            )
        return directory
    parents = (directory, directory / "VOCdevkit", directory / "TrainVal" / "VOCdevkit")
    for parent in parents:
        if (parent / name / "ImageSets").is_dir():
            return parent / name
    others = [path.name for parent in parents for path in sorted(parent.glob("VOC20??"))]
    raise UserError(
        f"{directory} holds no {name}/ImageSets"
        + (f" (but {', '.join(others)})" if others else "")
        + f". Give the folder {name} of an unpacked devkit, or the folder that holds it."
    )


def read(directory: Path) -> Source:
    """Read the lists and labels of an official year's folder.

    Main or Segmentation may be missing as a whole. Labels come from the class lists of Main. For an
    image of Segmentation alone they come from its annotation (present if any object of the class is
    not difficult), or without one from its mask. Raises `UserError`, which names the file, for a
    list, image, mask or annotation that is missing or wrong.
    """
    sets = directory / "ImageSets"
    main, segmentation = _membership(sets / "Main"), _membership(sets / "Segmentation")
    if not main and not segmentation:
        raise UserError(
            f"{sets} lists no image. Expected Main/train.txt and Main/val.txt, or the same in "
            "Segmentation, with one image id in a line. Copy ImageSets from the official archive."
        )
    labels: dict[str, np.ndarray | None] = {**_listed_labels(sets / "Main", main)}
    records = []
    for id_ in sorted(main.keys() | segmentation.keys()):
        image = _existing(directory / "JPEGImages" / f"{id_}.jpg", id_)
        mask = None
        if id_ in segmentation:
            mask = _existing(directory / "SegmentationClass" / f"{id_}.png", id_)
        if id_ not in labels:
            labels[id_] = annotated_labels(directory / "Annotations" / f"{id_}.xml")
        membership = (main.get(id_, "none"), segmentation.get(id_, "none"))
        records.append(Record(id_, image, mask, labels[id_], *membership))
    return Source(records, VOC, "devkit", warnings=_unread(sets / "Main"))


def mask_labels(mask: np.ndarray, classes: int) -> np.ndarray:
    """Return the labels int8 [classes] of a mask: what it shows is present, the others absent."""
    labels = np.full(classes, ABSENT, np.int8)
    indices = np.unique(mask)
    labels[indices[(indices > 0) & (indices != VOID)].astype(int) - 1] = PRESENT
    return labels


def annotated_labels(annotation: Path) -> np.ndarray | None:
    """Return the labels int8 [20] of VOC's objects in an annotation; None where it is missing.

    Raises `UserError` for broken XML, and for an object that VOC has not.
    """
    if not annotation.is_file():
        return None
    labels = np.full(len(VOC.names), ABSENT, np.int8)
    for name, difficult in read_objects(annotation).items():
        check_choice(f"{annotation}: the name of an object", name, VOC.names)
        labels[VOC.names.index(name)] = DIFFICULT if difficult else PRESENT
    return labels


def _unread(folder: Path) -> tuple[str, ...]:
    found = (re.fullmatch(r"(.+)_(train|val)", path.stem) for path in sorted(folder.glob("*.txt")))
    names = sorted({match[1] for match in found if match} - {*VOC.names})
    if not names:
        return ()
    return (
        f"nothing reads the lists of {shown(names)} in {folder.name}: VOC has no such class. "
        "To use them, prepare the devkit under a name of your own (--dataset NAME).",
    )


def _existing(path: Path, id_: str) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path} is missing, but the lists in ImageSets name {id_}. Put the file there, or "
            "remove the id from the lists."
        )
    return path


def _membership(folder: Path) -> dict[str, str]:
    """Return image id -> "train" or "val"; empty if the folder holds no list at all."""
    if not any(folder.glob("*.txt")):
        return {}
    membership: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for (id_,) in _rows(path, columns=1):
            if id_ in membership:
                raise UserError(
                    f"{path} lists {id_}, which {membership[id_]}.txt lists already. An image is "
                    "listed once, in train.txt or in val.txt: remove one of the two lines."
                )
            membership[id_] = split
    return membership


def _listed_labels(folder: Path, membership: dict[str, str]) -> dict[str, np.ndarray]:
    """Return image id -> labels, from the lists CLASS_train.txt and CLASS_val.txt."""
    labels = {id_: np.full(len(VOC.names), ABSENT, np.int8) for id_ in membership}
    for split in SPLITS if membership else ():
        ids = [id_ for id_, member in membership.items() if member == split]
        for column, name in enumerate(VOC.names):
            path = folder / f"{name}_{split}.txt"
            states = dict(_rows(path, columns=2))
            for id_ in ids:
                if states.get(id_) not in ("1", "0", "-1"):
                    raise UserError(
                        f"{path} gives {states.get(id_, 'no label')} for {id_}, which {split}.txt "
                        "lists. Expected 1, 0 or -1 for each of its images: add the line, or copy "
                        "the official list."
                    )
                labels[id_][column] = int(states[id_])
    return labels


def _rows(path: Path, columns: int) -> list[list[str]]:
    if not path.is_file():
        raise UserError(
            f"{path} is missing. Main and Segmentation each need train.txt and val.txt, and Main "
            "CLASS_train.txt and CLASS_val.txt for all 20 classes. Copy the official list."
        )
    rows = []
    for number, line in read_lines(path):
        row = line.split()
        if len(row) != columns:
            expected = ("an image id", "an image id and 1, 0 or -1")[columns - 1]
            raise UserError(
                f"{path}, line {number}: {line!r}; expected {expected}. Correct the line, or copy "
                "the official list."
            )
        rows.append([image_id(row[0], Path("JPEGImages"), f"{path}, line {number}"), *row[1:]])
    return rows
