"""Which images a task trains on and is evaluated on."""

from collections.abc import Sequence

import numpy as np

from vocjax.data.devkit import CLASSES
from vocjax.data.index import Index
from vocjax.errors import UserError

IMAGE_SETS = ("Main", "Segmentation")
SPLITS = ("train", "val")


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


def select(index: Index, image_set: str, split: str, classes: Sequence[str] = ()) -> np.ndarray:
    """Return the sorted rows of `index` that stand in a split and show one of `classes`.

    Args:
      index: the index of a prepared data set.
      image_set: "Main" or "Segmentation".
      split: "train" or "val", VOC's own.
      classes: keep images with at least one of these present (VOC's state 1; a difficult one does
        not count). An image with two of them is kept once. Empty: keep every image.

    Returns:
      int64 rows. `UserError` if the names are unknown or nothing is left.
    """
    if image_set not in IMAGE_SETS:
        raise UserError(f"data.image_set is {image_set!r}; it is one of {', '.join(IMAGE_SETS)}.")
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; there are {' and '.join(SPLITS)}.")
    membership = index.main if image_set == "Main" else index.segmentation
    keep = membership == split
    if classes:
        keep &= (index.labels[:, list(class_columns(classes))] == 1).any(axis=1)
    rows = np.flatnonzero(keep)
    if not rows.size:
        shown = f" with {' or '.join(classes)}" if classes else ""
        raise UserError(
            f"the prepared data set has no {image_set} {split} images{shown}; "
            "`vocjax data info` shows what is in it, data.data_dir says which copy is read."
        )
    return rows
