"""Which images a task trains on and is evaluated on."""

import hashlib
import re
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from vocjax.data.classes import class_columns
from vocjax.data.devkit import ABSENT, PRESENT, SPLITS
from vocjax.data.index import Index
from vocjax.errors import UserError, check_choice

IMAGE_SETS = ("Main", "Segmentation")
OFFICIAL, LEGACY = "official", "legacy_917_139"
# The multi-label rule: what becomes of images that show more than one of the chosen classes.
MULTI_LABEL_RULES = {
    "keep": "each is used once, with all its labels",
    "drop": "they are left out",
    "repeat": "each is used once for each of its classes, with the label of that class alone",
}
# The study moved 400 of its 539 validation images to training.
_MOVED = 400 / 539
# VOC's ids from 2008 on, in any folder; any other id is the id of its own photograph.
_PHOTOGRAPH = re.compile(r"(?:.*/)?(20(?:0[7-9]|1[0-2])_\d{6})(?!\d)", re.DOTALL)


class Selection(NamedTuple):
    """The examples of a split: rows [n] of the index, and their labels [n, classes] int8.

    `several` is how many images of the split show more than one of the chosen classes. The
    multi-label rule decides about those: `labels` can differ from the index, and rows can repeat.
    """

    rows: np.ndarray
    labels: np.ndarray
    several: int


def choose(index: Index, data: ConfigDict, split: str) -> Selection:
    """Return the examples of a split, as a config's `data` asks for them.

    `data.split` "official" takes VOC's split (or a part of train, where `data.held_out` is set).
    "legacy_917_139" is the study's: of its 539 validation images, a shuffle moved 400 to the 517 of
    training. The shuffle depends on `data.split_seed`; of other numbers, the same share moves.
    Then crops of one photograph, or copies that the rule "repeat" makes, can be in both splits.
    Raises `UserError` where the split is neither train nor val, or no image is left.
    """
    check_choice("the split", split, SPLITS)
    if data.split == LEGACY:
        selection = _legacy(index, data, split)
    else:
        rows = select(index, data, split)
        selection = _apply_rule(index, rows, data)
    if not selection.rows.size:
        raise UserError(
            f"data.split={data.split} and data.several={data.several} leave no {split} images. "
            "Keep the images that show several of data.classes (data.several), or set another "
            "data.split."
        )
    return selection


def _legacy(index: Index, data: ConfigDict, split: str) -> Selection:
    train, val = (_apply_rule(index, select(index, data, s), data) for s in SPLITS)
    # The stream of this generator is frozen: every version of NumPy gives the same shuffle.
    shuffle = np.random.RandomState(data.split_seed).permutation(len(val.rows))
    moved, left = np.split(shuffle, [round(_MOVED * len(shuffle))])
    rows, labels = val.rows[left], val.labels[left]
    if split == "train":
        rows = np.concatenate([train.rows, val.rows[moved]])
        labels = np.concatenate([train.labels, val.labels[moved]])
    if data.several == "drop":  # dropped images did not move: they count where VOC had them
        several = (train if split == "train" else val).several
    else:
        present = index.labels[np.unique(rows)][:, class_columns(data)] == PRESENT
        several = int((present.sum(axis=1) > 1).sum())
    order = np.argsort(rows, kind="stable")
    return Selection(rows[order], labels[order], several)


def _apply_rule(index: Index, rows: np.ndarray, data: ConfigDict) -> Selection:
    """Apply the multi-label rule to rows that each show at least one of the classes, if any."""
    columns, labels = list(class_columns(data)), index.labels[rows]
    present = labels[:, columns] == PRESENT
    several = present.sum(axis=1) > 1
    if data.several == "drop":
        rows, labels = rows[~several], labels[~several]
    if data.several == "repeat" and columns:
        images, places = np.nonzero(present)
        others = present[images]
        others[np.arange(len(images)), places] = False
        rows, labels = rows[images], labels[images]
        labels[:, columns] = np.where(others, ABSENT, labels[:, columns])
    return Selection(rows, labels, int(several.sum()))


def select(index: Index, data: ConfigDict, split: str) -> np.ndarray:
    """Return the sorted rows of the data set's split that show one of `data.classes`, if any.

    A difficult class does not count. Where `data.held_out` is above 0, this share of the training
    images is "val" and the others are "train", to tune without the validation images. Raises
    `UserError` where no image is left, or a class is unknown.
    """
    image_set, held_out = data.image_set, data.held_out
    membership = index.main if image_set == "Main" else index.segmentation
    if held_out:
        keep = (membership == "train") & (is_held_out(index.ids, held_out) == (split == "val"))
    else:
        keep = membership == split
    if columns := list(class_columns(data)):
        keep &= (index.labels[:, columns] == PRESENT).any(axis=1)
    rows = np.flatnonzero(keep)
    if not rows.size:
        if held_out:
            raise UserError(
                f"data.held_out={held_out} leaves no {split} images; take a share nearer to .2."
            )
        shown = f" with {' or '.join(data.classes)}" if columns else ""
        raise UserError(
            f"the prepared data set has no {image_set} {split} images{shown}. "
            "`vocjax data info` shows what it has; data.data_dir is the folder that was read."
        )
    return rows


def is_held_out(ids: np.ndarray, share: float) -> np.ndarray:
    """Return bool [n]: which images are held out, about `share` of them and always the same ones.

    A hash of the photograph's id decides. So crops of one photograph (2008_000019_0 and
    2008_000019_1) stay together, and more images change nothing for the others.
    """
    digests = (hashlib.sha256(photograph.encode()).digest() for photograph in photographs(ids))
    return np.array([int.from_bytes(digest[:6]) / 2**48 < share for digest in digests])


def photographs(ids: np.ndarray) -> np.ndarray:
    """Return the ids [n] of the photographs: 2008_000019 for 2008_000019_0 and dog/2008_000019_1.

    Only the years of VOC, 2007 to 2012, count: other names of this form are dates of cameras.
    """
    found = [(_PHOTOGRAPH.match(str(id_)), str(id_)) for id_ in ids]
    return np.array([match[1] if match else id_ for match, id_ in found])
