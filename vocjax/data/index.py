"""What is known about a data set and each of its images without reading pixels."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocjax.data import photo
from vocjax.data.classes import VOC, Classes
from vocjax.data.devkit import CLASSES, OFFICIAL_COUNTS, Counts, Record
from vocjax.data.masks import fit_mask, read_mask
from vocjax.errors import UserError


class Index(NamedTuple):
    """The ids, sizes, labels and splits of N images; row i describes `Prepared.examples[i]`."""

    ids: np.ndarray  # str [N], sorted
    sizes: np.ndarray  # int32 [N, 2]: height, width
    labels: np.ndarray  # int8 [N, 20]: 1 present, 0 difficult, -1 absent
    main: np.ndarray  # str [N]: "none", "train" or "val"
    segmentation: np.ndarray  # str [N], the same; images of "none" have no mask


class Prepared(NamedTuple):
    """A data set on disk, as `voc.prepare` and `voc.load` return it.

    `examples[i]` is a dict of `image` uint8 [H, W, 3], `mask` uint8 [H, W, 1] (255 throughout where
    the image has none), `labels` int8 [20], `image_id` bytes, and `main` and `segmentation`, which
    are numbers into `voc.MEMBERSHIP`.
    """

    name: str
    directory: Path
    index: Index  # type: ignore[assignment]  # hides tuple.index, which is of no use here
    fingerprint: str  # sha256 of ids, labels, membership, image and mask files
    partial: bool  # not known to be a whole year
    source: str
    examples: Sequence[dict[str, Any]]
    classes: Classes = VOC


def examine(records: Sequence[Record], advance: Callable[[], object]) -> tuple[Index, str]:
    """Decode every image and mask once; return the index and the fingerprint (sha256, in hex).

    `advance` is called after each record. Raises `UserError` for a broken file, and for a mask of
    another size than its image.
    """
    digest = hashlib.sha256()
    sizes = []
    for record in records:
        image = record.image.read_bytes()
        mask = record.mask.read_bytes() if record.mask else b""
        sizes.append(_size(record, image, mask))
        membership = f"{record.main} {record.segmentation}"
        for part in (record.id.encode(), record.labels.tobytes(), membership.encode(), image, mask):
            digest.update(len(part).to_bytes(8, "little"))  # other borders, another fingerprint
            digest.update(part)
        advance()
    index = Index(
        ids=np.array([record.id for record in records]),
        sizes=np.array(sizes, np.int32),
        labels=np.stack([record.labels for record in records]),
        main=np.array([record.main for record in records]),
        segmentation=np.array([record.segmentation for record in records]),
    )
    return index, digest.hexdigest()


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
    states = np.frombuffer("".join(columns["labels"]).encode(), np.uint8).reshape(-1, len(CLASSES))
    return Index(
        ids=np.array(columns["ids"]),
        sizes=np.array(columns["sizes"], np.int32),
        labels=(states == ord("1")).astype(np.int8) - (states == ord("-")).astype(np.int8),
        main=np.array(columns["main"]),
        segmentation=np.array(columns["segmentation"]),
    )


def _size(record: Record, image: bytes, mask: bytes) -> tuple[int, int]:
    """Return height and width of an image, upright, and check that its mask has the same."""
    _, size = photo.stored_image(image, record.image)
    if record.mask:
        indices = read_mask(mask, record.mask, VOC, {})
        try:
            fit_mask(indices, size, photo.orientation(image))
        except ValueError:
            rows, columns = indices.shape
            raise UserError(
                f"{record.mask} is {columns} x {rows} pixels, and its image {record.image} "
                f"{size[1]} x {size[0]} (width x height). Both must have one size: scale the mask "
                "by the nearest pixel, or draw it on this image."
            ) from None
    return size
