"""Which images a task trains on and is evaluated on."""

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from vocjax.data.devkit import CLASSES
from vocjax.data.index import Index
from vocjax.errors import UserError

IMAGE_SETS = ("Main", "Segmentation")
SPLITS = ("train", "val")
LEGACY = "legacy_917_139"
# What is done with an image that shows several of the chosen classes.
RULES = {
    "keep": "each stands once, with all its labels",
    "drop": "they are left out",
    "repeat": "each stands once for each of its classes, labelled with that one alone",
}
# The study moved 400 of its 539 validation images to training.
_MOVED = 400 / 539
# VOC's ids from 2008 on; any other id stands for itself.
_PHOTOGRAPH = re.compile(r"\d{4}_\d{6}|.*", re.DOTALL)


def class_columns(classes: Sequence[str]) -> tuple[int, ...]:
    """Return each class's column (0 to 19, VOC's order); `UserError` names an unknown class."""
    if len(set(classes)) < len(classes):
        raise UserError(f"data.classes names a class twice: {', '.join(classes)}.")
    unknown = [name for name in classes if name not in CLASSES]
    if unknown:
        raise UserError(
            f"data.classes has {', '.join(map(repr, unknown))}, which VOC does not know; "
            f"its classes are {', '.join(CLASSES)}."
        )
    return tuple(CLASSES.index(name) for name in classes)


def group_by_class(labels: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    """Return for each image [n, 20] the first of `columns` present, as its position; 0 for none."""
    if not columns:
        return np.zeros(len(labels), int)
    return np.argmax(labels[:, list(columns)] == 1, axis=1)


class Selection(NamedTuple):
    """The examples of a split: rows [n] of the index, and their labels [n, 20] int8.

    `several` of the split's images show more than one of the chosen classes; `labels` say what the
    rule for such images made of them, and an image can stand there twice.
    """

    rows: np.ndarray
    labels: np.ndarray
    several: int


def choose(index: Index, data: ConfigDict, split: str) -> Selection:
    """Return the examples of a split as a config's `data` asks for them.

    `data.several` says what becomes of an image with several of `data.classes`: "keep", once, with
    all its labels; "drop"; or "repeat", once for each class, labelled with that class alone, as in
    the study.

    `data.split` "official" takes VOC's split (or the part of train that `data.held_out` holds out).
    "legacy_917_139" does as the study did: of its 539 validation images a shuffle moved 400 to the
    517 of training. It depends on `data.split_seed`, and moves the same share of other numbers.
    Crops of one photograph, and the copies that "repeat" makes, then can stand on both sides.

    Raises:
      UserError: an unknown name, fields that exclude each other, or nothing is left.
    """
    if data.several not in RULES:
        raise UserError(f"data.several is {data.several!r}; it is one of {', '.join(RULES)}.")
    _check_split(split)
    if data.split not in ("official", LEGACY):
        raise UserError(f"data.split is {data.split!r}; it is official or {LEGACY}.")
    if data.split == LEGACY:
        selection = _legacy(index, data, split)
    else:
        rows = select(index, data.image_set, split, data.classes, data.held_out)
        selection = _ruled(index, rows, data)
    if not selection.rows.size:
        raise UserError(
            f"data.split={data.split} and data.several={data.several} leave no {split} images; "
            "keep those with several of data.classes (data.several), or take another data.split."
        )
    return selection


def _legacy(index: Index, data: ConfigDict, split: str) -> Selection:
    if data.held_out:
        raise UserError(f"data.held_out goes with data.split 'official' alone, not with {LEGACY}.")
    if not 0 <= data.split_seed < 2**32:
        raise UserError(f"data.split_seed is {data.split_seed}; it must be in [0, 2**32).")
    train, val = (
        _ruled(index, select(index, data.image_set, s, data.classes), data) for s in SPLITS
    )
    # This generator's stream is frozen: other NumPy versions shuffle alike.
    order = np.random.RandomState(data.split_seed).permutation(len(val.rows))
    moved, left = np.split(order, [round(_MOVED * len(order))])
    rows, labels = (
        (np.concatenate([train.rows, val.rows[moved]]), np.concatenate([train[1], val[1][moved]]))
        if split == "train"
        else (val.rows[left], val.labels[left])
    )
    order = np.argsort(rows, kind="stable")
    columns = list(class_columns(data.classes))
    several = (index.labels[np.unique(rows)][:, columns] == 1).sum(axis=1) > 1
    # What is dropped was moved nowhere: it counts where VOC had it.
    dropped = (train if split == "train" else val).several
    count = dropped if data.several == "drop" else int(several.sum())
    return Selection(rows[order], labels[order], count)


def _ruled(index: Index, rows: np.ndarray, data: ConfigDict) -> Selection:
    """Apply the rule for images that show several of the classes."""
    columns, labels = list(class_columns(data.classes)), index.labels[rows]
    present = labels[:, columns] == 1
    several = present.sum(axis=1) > 1
    if data.several == "drop":
        rows, labels = rows[~several], labels[~several]
    if data.several == "repeat":
        alone = [
            (i, position)
            for i, shown in enumerate(present)
            for position in (np.flatnonzero(shown) if several[i] else [None])
        ]
        sources = [i for i, _ in alone]
        rows, labels = rows[sources], labels[sources]
        for label, (i, position) in zip(labels, alone, strict=True):
            if position is not None:
                label[[columns[p] for p in np.flatnonzero(present[i]) if p != position]] = -1
    return Selection(rows, labels, int(several.sum()))


def select(
    index: Index, image_set: str, split: str, classes: Sequence[str] = (), held_out: float = 0.0
) -> np.ndarray:
    """Return the sorted rows of `index` that stand in a split and show one of `classes`.

    Args:
      index: the index of a prepared data set.
      image_set: "Main" or "Segmentation".
      split: "train" or "val", VOC's own.
      classes: keep images with at least one of these present (VOC's state 1; a difficult one does
        not count). An image with two of them is kept once. Empty: keep every image.
      held_out: where above 0, "val" is this share of the training images and "train" the others,
        so that something can be tuned without a look at VOC's validation images.

    Returns:
      int64 rows. `UserError` if the names are unknown or nothing is left.
    """
    if image_set not in IMAGE_SETS:
        raise UserError(f"data.image_set is {image_set!r}; it is one of {', '.join(IMAGE_SETS)}.")
    _check_split(split)
    if not 0 <= held_out < 1:
        raise UserError(f"data.held_out is {held_out}; it must be in [0, 1), 0 for VOC's own val.")
    membership = index.main if image_set == "Main" else index.segmentation
    if held_out:
        keep = (membership == "train") & (is_held_out(index.ids, held_out) == (split == "val"))
    else:
        keep = membership == split
    if classes:
        keep &= (index.labels[:, list(class_columns(classes))] == 1).any(axis=1)
    rows = np.flatnonzero(keep)
    if not rows.size:
        if held_out:
            raise UserError(
                f"data.held_out={held_out} leaves no {split} images; take a share nearer to .2."
            )
        shown = f" with {' or '.join(classes)}" if classes else ""
        raise UserError(
            f"the prepared data set has no {image_set} {split} images{shown}; "
            "`vocjax data info` shows what is in it, data.data_dir says which copy is read."
        )
    return rows


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; there are {' and '.join(SPLITS)}.")


def is_held_out(ids: np.ndarray, share: float) -> np.ndarray:
    """Tell which images [n] are held out: about `share` of them, always the same ones.

    Decided by a hash of the photograph's id, so that crops of one photograph (2008_000019_0 and
    2008_000019_1) stay together, and that further images change nothing for the others.
    """
    return np.array([_hash(photograph) < share for photograph in photographs(ids)])


def photographs(ids: np.ndarray) -> np.ndarray:
    """Return the ids [n] of the photographs that images were cut from: 2008_000019 of ..19_0."""
    return np.array([_PHOTOGRAPH.findall(str(i))[0] for i in ids])


def _hash(text: str) -> float:
    """Map a text to a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
