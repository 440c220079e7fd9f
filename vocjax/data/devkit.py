"""Reads and checks a PASCAL VOC devkit: its lists, labels, images and class masks.

Layout and formats: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV
88(2), 2010, and the development kit's documentation of each year.
"""

import io
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image, UnidentifiedImageError

from vocjax.errors import UserError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
VOID = 255
SPLITS = ("train", "val")
PRESENT, DIFFICULT, ABSENT = 1, 0, -1


def _palette() -> np.ndarray:
    """VOC's colour map: the bits of an index, lowest first, are dealt to R, G and B in turn."""
    bits = np.arange(256)[:, None] >> np.arange(3)
    colours = sum(((bits >> 3 * k) & 1) << (7 - k) for k in range(3))
    return np.asarray(colours, np.uint8)


PALETTE = _palette()  # uint8 [256, 3]
PALETTE.setflags(write=False)


class Counts(NamedTuple):
    """Number of images in the (train, val) lists."""

    main: tuple[int, int]
    segmentation: tuple[int, int]


# 2008 is missing on purpose: the organisers' pages disagree (4,332 and 4,340 images in Main).
OFFICIAL_COUNTS = {
    2007: Counts((2501, 2510), (209, 213)),
    2009: Counts((3473, 3581), (749, 750)),
    2010: Counts((4998, 5105), (964, 964)),
    2011: Counts((5717, 5823), (1112, 1111)),
    2012: Counts((5717, 5823), (1464, 1449)),
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
    """Find the folder of one year, which holds JPEGImages and ImageSets.

    Args:
        directory: that folder itself, or one that holds `VOC<year>`, `VOCdevkit/VOC<year>` or (as
            the archive of 2011 does) `TrainVal/VOCdevkit/VOC<year>`.
        year: 2007 to 2012; None for a devkit of one's own, which is the folder itself.

    Raises:
        UserError: there is no such folder, or it is that of another year.
    """
    directory = directory.absolute()
    name = f"VOC{year}"
    if year is None:
        if not (directory / "ImageSets").is_dir():
            raise UserError(
                f"{directory} holds no ImageSets. A devkit has JPEGImages, ImageSets/Main with "
                "train.txt, val.txt and a list for each class, and where there are masks "
                "SegmentationClass and ImageSets/Segmentation."
            )
        return directory
    if (directory / "ImageSets").is_dir():
        if re.fullmatch(r"VOC20\d\d", directory.name) and directory.name != name:
            raise UserError(
                f"{directory} is {directory.name}, and {name} is wanted. Give the folder of "
                f"{name}, or prepare the data set {directory.name.lower()}."
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


def read(directory: Path, *, every_class: bool = True) -> list[Record]:
    """Read the lists and labels of a year's folder, sorted by image id.

    The lists of ImageSets say what is in a devkit. Main or Segmentation may be missing as a whole.
    Labels come from Main's class lists; for images in Segmentation alone from their annotation
    (present if any object of the class is not difficult), or else from the classes in their mask.
    Unless `every_class` must be listed, one that has no list at all is absent throughout.

    Raises:
        UserError: a list, image, mask or annotation is missing or wrong; the text names the file.
    """
    sets = directory / "ImageSets"
    main, segmentation = _membership(sets / "Main"), _membership(sets / "Segmentation")
    if not main and not segmentation:
        raise UserError(
            f"{sets} lists no image. Expected Main/train.txt and Main/val.txt, or the same in "
            "Segmentation, one image id a line. Copy the ImageSets of the official archive."
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


def decode_image(content: bytes, path: Path) -> Image.Image:
    """Decode a whole JPEG, colour or greyscale; `path` is for the message.

    Raises:
        UserError: not a JPEG, broken, truncated, or of another colour model.
    """
    image = _decode(content, path, "JPEG")
    if image.mode not in ("RGB", "L"):
        raise UserError(
            f"{path} is a {image.mode} JPEG, and RGB or greyscale is wanted. Convert it to RGB."
        )
    return image


def decode_mask(content: bytes, path: Path) -> np.ndarray:
    """Decode a class mask to its indices, uint8 [height, width]: 0 to 20, and 255 for void.

    Palette colours are not looked at. `path` is for the message.

    Raises:
        UserError: not a PNG, broken, neither palette nor greyscale, or an index out of range.
    """
    image = _decode(content, path, "PNG")
    if image.mode not in ("P", "L"):
        raise UserError(
            f"{path} is a {image.mode} image, and a mask of class indices is wanted (a palette or "
            "greyscale PNG). Use the official file of SegmentationClass: colours aren't read back."
        )
    mask = np.array(image)
    wrong = np.unique(mask[(mask > len(CLASSES)) & (mask != VOID)])
    if wrong.size:
        raise UserError(
            f"{path} holds the class index {', '.join(map(str, wrong[:5]))}, and 0 to 20 and 255 "
            "are wanted. Use the official file of SegmentationClass."
        )
    return mask


def _decode(content: bytes, path: Path, file_format: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=[file_format])
        image.load()
    except Exception as error:  # Pillow has no common base for what broken files raise
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "other content" if unknown else str(error)
        raise UserError(
            f"{path} can't be decoded as {file_format} ({reason}). Replace it by the file of the "
            "official archive, or take its id out of the lists in ImageSets."
        ) from error
    return image


def _existing(path: Path, id_: str) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path} is missing, and the lists in ImageSets name {id_}. Put the file there, or "
            "take the id out of the lists."
        )
    return path


def _membership(folder: Path) -> dict[str, str]:
    """Image id -> "train" or "val"; empty where the folder holds no list at all."""
    if not any(folder.glob("*.txt")):
        return {}
    membership: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for (id_,) in _rows(path, columns=1):
            if id_ in membership:
                raise UserError(
                    f"{path} lists {id_}, which {membership[id_]}.txt lists already. Each image "
                    "stands once, in train.txt or in val.txt: take one of the two lines out."
                )
            membership[id_] = split
    return membership


def _listed_labels(
    folder: Path, membership: dict[str, str], every_class: bool
) -> dict[str, np.ndarray]:
    """Image id -> labels, from the lists CLASS_train.txt and CLASS_val.txt."""
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
                        "the list of the official archive."
                    )
                labels[id_][column] = int(states[id_])
    return labels


def _rows(path: Path, columns: int) -> list[list[str]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. Main and Segmentation each want train.txt and val.txt, and Main "
            "CLASS_train.txt and CLASS_val.txt for all 20 classes: copy the list of the official "
            "archive."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't a text file ({error}). Copy the official list.") from error
    rows = [line.split() for line in lines]
    for number, row in enumerate(rows, 1):
        # An id becomes a file name, so it may not lead out of the devkit.
        if row and (len(row) != columns or not re.fullmatch(r"\w[\w.-]*", row[0])):
            expected = ("an image id", "an image id and 1, 0 or -1")[columns - 1]
            raise UserError(
                f"{path}, line {number}: {lines[number - 1]!r}, and {expected} is wanted. Mend the "
                "line, or copy the list of the official archive."
            )
    return [row for row in rows if row]


def _derived_labels(annotation: Path, mask: Path | None) -> np.ndarray:
    """Labels [20] of an image without class lists, from its annotation or else its mask."""
    labels = np.full(len(CLASSES), ABSENT, np.int8)
    if annotation.is_file():
        for name, difficult in _objects(annotation):
            column = CLASSES.index(name)
            labels[column] = max(labels[column], DIFFICULT if difficult else PRESENT)
    elif mask is not None:
        indices = np.unique(decode_mask(mask.read_bytes(), mask))
        labels[indices[(indices > 0) & (indices != VOID)] - 1] = PRESENT
    return labels


def _objects(annotation: Path) -> list[tuple[str, bool]]:
    """Class name and difficult flag of each annotated object."""
    try:
        objects = ElementTree.parse(annotation).getroot().findall("object")
    except ElementTree.ParseError as error:
        raise UserError(
            f"{annotation} isn't valid XML ({error}). Copy the file of the official archive, or "
            "take it away: then the labels come from the mask."
        ) from error
    named = [((item.findtext("name") or "").strip(), item) for item in objects]
    for name, _ in named:
        if name not in CLASSES:
            raise UserError(
                f"{annotation} has an object named {name!r}, and one of the 20 VOC classes is "
                f"wanted ({', '.join(CLASSES)}). Mend the name."
            )
    return [(name, (item.findtext("difficult") or "0").strip() == "1") for name, item in named]
