"""What is known about a data set and each of its images without reading pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocjax.data.classes import Classes
from vocjax.data.devkit import OFFICIAL_COUNTS, Counts

MEMBERSHIP = ("none", "train", "val")


class Index(NamedTuple):
    """The ids, sizes, labels and splits of N images; row i describes `Prepared.examples[i]`."""

    ids: np.ndarray  # str [N], sorted
    sizes: np.ndarray  # int32 [N, 2]: height, width
    labels: np.ndarray  # int8 [N, classes]: 1 present, 0 difficult, -1 absent
    main: np.ndarray  # str [N]: "none", "train" or "val"
    segmentation: np.ndarray  # str [N], the same; images of "none" have no mask


class Prepared(NamedTuple):
    """A data set on disk, as `voc.prepare` and `voc.load` return it.

    `examples[i]` is a dict of `image` uint8 [H, W, 3], `mask` uint8 [H, W, 1] (255 throughout where
    the image has none), `labels` int8 [classes], `image_id` bytes, and `main` and `segmentation`,
    which are numbers into `MEMBERSHIP`.
    """

    name: str
    directory: Path
    index: Index  # type: ignore[assignment]  # hides tuple.index, which is of no use here
    classes: Classes
    fingerprint: str  # sha256 of ids, labels, membership, image and mask files
    partial: bool  # not known to be a whole year
    source: str
    warnings: tuple[str, ...]  # what looked wrong when it was prepared, in words
    examples: Sequence[dict[str, Any]]


def counts(index: Index) -> Counts:
    """Count the images in the train and val lists."""
    main, segmentation = (
        (int(np.sum(membership == "train")), int(np.sum(membership == "val")))
        for membership in (index.main, index.segmentation)
    )
    return main, segmentation


def is_official(dataset: str, index: Index) -> bool:
    """Return whether a year has as many images as the organisers count."""
    return counts(index) == OFFICIAL_COUNTS.get(dataset)


def to_json(index: Index) -> dict[str, Any]:
    """Return an index as lists, one a column; the labels of an image are a string of 1, 0 and -."""
    columns = {name: column.tolist() for name, column in index._asdict().items()}
    rows = np.array(["0", "1", "-"])[index.labels]
    return columns | {"labels": ["".join(row) for row in rows]}


def from_json(columns: Mapping[str, Any]) -> Index:
    """Return the index of which `to_json` made `columns`."""
    rows = columns["labels"]
    states = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), len(rows[0]))
    return Index(
        ids=np.array(columns["ids"]),
        sizes=np.array(columns["sizes"], np.int32),
        labels=(states == ord("1")).astype(np.int8) - (states == ord("-")).astype(np.int8),
        main=np.array(columns["main"]),
        segmentation=np.array(columns["segmentation"]),
    )
