"""Reads and checks a PASCAL VOC devkit: its lists, labels, and the paths of its files.

Layout and formats: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV
88(2), 2010, and the development kit's documentation of each year.
"""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from vocjax.data.classes import PALETTE as PALETTE
from vocjax.data.classes import VOC
from vocjax.data.classes import VOID as VOID
from vocjax.data.masks import read_mask
from vocjax.errors import UserError, check_choice

CLASSES = VOC.names
YEARS = {f"voc{year}": year for year in range(2007, 2013)}
DATASETS = ("toy", "custom", *YEARS)  # custom: the user's own images, in the layout of a devkit
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
    """One image of a devkit, before its pixels are read."""

    id: str
    image: Path
    mask: Path | None  # None: the image is in no Segmentation list
    labels: np.ndarray  # int8 [20]: 1 present, 0 difficult, -1 absent
    main: str  # "none", "train" or "val"
    segmentation: str


def year_directory(directory: Path, year: int | None) -> Path:
    """Return the folder of one year, which holds JPEGImages and ImageSets.

    It is `directory` itself, or `VOC<year>`, `VOCdevkit/VOC<year>` or (in the archive of 2011)
    `TrainVal/VOCdevkit/VOC<year>` in it. `year` is None for a devkit of the user's own, which is
    `directory` itself. Raises `UserError` where there is no such folder, or only another year's.
    """
    directory, name = directory.absolute(), f"VOC{year}"
    if (directory / "ImageSets").is_dir():
        if year and re.fullmatch(r"VOC20\d\d", directory.name) and directory.name != name:
            raise UserError(
                f"{directory} is {directory.name}; expected {name}. Give the folder of {name}, or "
                f"prepare the data set {directory.name.lower()}."
            )
        return directory
    if year is None:
        raise UserError(
            f"{directory} holds no ImageSets. A devkit has JPEGImages, ImageSets/Main with "
            "train.txt, val.txt and a list for each class, and for masks SegmentationClass and "
            "ImageSets/Segmentation."
        )
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


def read(directory: Path, *, every_class: bool = True) -> list[Record]:
    """Read the lists and labels of a year's folder, sorted by image id.

    Main or Segmentation may be missing as a whole. Labels come from the class lists of Main; a
    class without lists is an error if `every_class`, else absent. For an image of Segmentation
    alone labels come from its annotation (present if any object of the class is not difficult), or
    without one from its mask. Raises `UserError`, which names the file, for a list, image, mask or
    annotation that is missing or wrong.
    """
    sets = directory / "ImageSets"
    main, segmentation = _membership(sets / "Main"), _membership(sets / "Segmentation")
    if not main and not segmentation:
        raise UserError(
            f"{sets} lists no image. Expected Main/train.txt and Main/val.txt, or the same in "
            "Segmentation, with one image id in a line. Copy ImageSets from the official archive."
        )
    labels = _listed_labels(sets / "Main", main, every_class)
    records = []
    for id_ in sorted(main.keys() | segmentation.keys()):
        image = _existing(directory / "JPEGImages" / f"{id_}.jpg", id_)
        mask = None
        if id_ in segmentation:
            mask = _existing(directory / "SegmentationClass" / f"{id_}.png", id_)
        if id_ not in labels:
            labels[id_] = _derived_labels(directory / "Annotations" / f"{id_}.xml", mask)
        membership = (main.get(id_, "none"), segmentation.get(id_, "none"))
        records.append(Record(id_, image, mask, labels[id_], *membership))
    return records


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


def _listed_labels(
    folder: Path, membership: dict[str, str], every_class: bool
) -> dict[str, np.ndarray]:
    """Return image id -> labels, from the lists CLASS_train.txt and CLASS_val.txt."""
    labels = {id_: np.full(len(CLASSES), ABSENT, np.int8) for id_ in membership}
    for split in SPLITS if membership else ():
        ids = [id_ for id_, member in membership.items() if member == split]
        for column, name in enumerate(CLASSES):
            path = folder / f"{name}_{split}.txt"
            if not every_class and not any(folder.glob(f"{name}_*.txt")):
                continue
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
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. Main and Segmentation each need train.txt and val.txt, and Main "
            "CLASS_train.txt and CLASS_val.txt for all 20 classes. Copy the official list."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't a text file ({error}). Copy the official list.") from error
    rows = [line.split() for line in lines]
    for number, row in enumerate(rows, 1):
        # An id becomes a file name, so it may not lead out of the devkit.
        if row and (len(row) != columns or not re.fullmatch(r"\w[\w.-]*", row[0])):
            expected = ("an image id", "an image id and 1, 0 or -1")[columns - 1]
            raise UserError(
                f"{path}, line {number}: {lines[number - 1]!r}; expected {expected}. Correct the "
                "line, or copy the official list."
            )
    return [row for row in rows if row]


def _derived_labels(annotation: Path, mask: Path | None) -> np.ndarray:
    """Return the labels [20] of an image without class lists: by annotation, or mask."""
    labels = np.full(len(CLASSES), ABSENT, np.int8)
    if annotation.is_file():
        try:
            objects = ElementTree.parse(annotation).getroot().findall("object")
        except ElementTree.ParseError as error:
            raise UserError(
                f"{annotation} isn't valid XML ({error}). Copy the official file, or remove it: "
                "then the labels come from the mask."
            ) from error
        for item in objects:
            name = (item.findtext("name") or "").strip()
            check_choice(f"{annotation}: the name of an object", name, CLASSES)
            difficult = (item.findtext("difficult") or "0").strip() == "1"
            column = CLASSES.index(name)
            labels[column] = max(labels[column], DIFFICULT if difficult else PRESENT)
    elif mask is not None:
        indices = np.unique(read_mask(mask.read_bytes(), mask, VOC, {}))
        labels[indices[(indices > 0) & (indices != VOID)] - 1] = PRESENT
    return labels
