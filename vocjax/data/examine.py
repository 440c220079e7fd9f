"""Reads each image and mask of a source, and says what looks wrong."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vocjax.data import photo
from vocjax.data.classes import VOC, VOID
from vocjax.data.devkit import ABSENT, PRESENT, SPLITS, Record, Source, mask_labels
from vocjax.data.index import Index
from vocjax.data.layouts.text import counted, shown
from vocjax.data.masks import Colour, fit_mask, read_mask
from vocjax.errors import UserError


class Example(NamedTuple):
    """An image as it is kept: its encoded bytes, and its mask, upright."""

    image: bytes
    mask: np.ndarray  # uint8 [h, w]; void throughout where there is none
    scaled: bool = False  # this and `either` as in `masks.Fitted`
    either: bool = False
    colours: Mapping[int, Colour] = MappingProxyType({})  # see `masks.Mask`


class OtherSizeError(UserError):
    """A mask and its image have sizes that no turn and no scale makes one."""


class Seen(NamedTuple):
    """What `examine` notes of an image, beside its index."""

    shows: np.ndarray | None  # labels of its mask, int8 [classes]
    scaled: bool
    either: bool
    pixels: str  # a hash


def read_example(record: Record, source: Source) -> Example:
    """Read an image and its mask. Raises `UserError` for files that are broken or don't fit."""
    content = photo.image_bytes(record.image)
    image, size = photo.stored_image(content, record.image)
    if record.mask is None:
        return Example(image, np.full(size, VOID, np.uint8))
    drawn = photo.image_bytes(record.mask)
    mask, colours = read_mask(drawn, record.mask, source.classes, source.values)
    turned = photo.orientation(content)
    try:
        return Example(image, *fit_mask(mask, size, turned), colours)
    except ValueError as error:
        (height, width), (rows, columns) = size, mask.shape
        raise OtherSizeError(
            f"{record.mask} is {columns} x {rows} pixels, and its image {record.image} {width} x "
            f"{height} (width x height). Both must have one size, or at least one shape: draw "
            "the mask on this image, or remove it."
        ) from error


def examine(
    source: Source, advance: Callable[[], object], *, own: bool = False
) -> tuple[Index, str, tuple[str, ...]]:
    """Read every image and mask once; return index, fingerprint (sha256, hex) and warnings.

    `advance` is called after each record. With `own` data also the contents are looked at: whether
    masks show objects, labels fit them, and splits share photographs. Raises `UserError` for a
    broken file, and for masks of other sizes than their images.
    """
    digest = hashlib.sha256()
    sizes, labels, seen, misfits = [], [], [], []
    records, classes = source.records, len(source.classes.names)
    palette = source.classes.palette[: classes + 1]
    coloured = not np.array_equal(palette, VOC.palette[: classes + 1])
    if own and (source.classes.names != VOC.names or source.values or coloured):
        said = (source.classes.names, sorted(source.values.items()))
        digest.update(repr((*said, palette.tolist()) if coloured else said).encode())
    drawn: dict[int, tuple[Colour, Path]] = {}
    for record in records:
        try:
            example = read_example(record, source)
        except OtherSizeError as error:
            misfits.append(str(error))
            continue
        if own and record.mask:
            _check_colours(example.colours, record.mask, drawn)
        shows = mask_labels(example.mask, classes) if record.mask else None
        known = record.labels if record.labels is not None else shows
        labels.append(np.full(classes, ABSENT, np.int8) if known is None else known)
        sizes.append(example.mask.shape)
        pixels = _pixels(example.image) if own else ""
        seen.append(Seen(shows, example.scaled, example.either, pixels))
        image = photo.image_bytes(record.image)
        mask = photo.image_bytes(record.mask) if record.mask else b""
        membership = f"{record.main} {record.segmentation}"
        for part in (record.id.encode(), labels[-1].tobytes(), membership.encode(), image, mask):
            digest.update(len(part).to_bytes(8, "little"))  # other borders, another fingerprint
            digest.update(part)
        advance()
    if misfits:
        count = sum(record.mask is not None for record in records)
        raise UserError(f"{misfits[0]} This holds for {len(misfits)} of {count} masks.")
    index = Index(
        ids=np.array([record.id for record in records]),
        sizes=np.array(sizes, np.int32),
        labels=np.stack(labels),
        main=np.array([record.main for record in records]),
        segmentation=np.array([record.segmentation for record in records]),
    )
    found = _findings(source, index, seen) if own else []
    return index, digest.hexdigest(), (*source.warnings, *found)


def _check_colours(
    colours: Mapping[int, Colour], path: Path, drawn: dict[int, tuple[Colour, Path]]
) -> None:
    """Add the colours of a mask's indices to `drawn`; raise where an index has another there."""
    for index, colour in colours.items():
        before, file = drawn.setdefault(index, (colour, path))
        if before != colour:
            raise UserError(
                f"the palettes of the masks differ: index {index} is {colour} in {path}, and "
                f"{before} in {file}. It can't be one class in both: a program renumbered the "
                "colours of each file. Save the masks in RGB beside a labelmap.txt with the colour "
                "of each class, or in grey with the indices of classes."
            )


def _findings(source: Source, index: Index, seen: list[Seen]) -> list[str]:
    """Return in words what looks wrong in the contents of one's own data."""
    scaled = [str(id_) for id_, one in zip(index.ids, seen, strict=True) if one.scaled]
    found = [
        *_empty_splits(index),
        *_empty_masks(source, index, seen),
        *_absent_classes(source, index),
        *_contradictions(source, index, seen),
        *_shared_photographs(index, seen),
    ]
    if scaled:
        found.append(
            f"the masks of {counted(len(scaled), 'image')} differ in size from their images, and "
            f"were scaled by the nearest pixel: {shown(scaled)}."
        )
    either = [str(id_) for id_, one in zip(index.ids, seen, strict=True) if one.either]
    if either:
        found.append(
            f"the masks of {counted(len(either), 'image')} fit both the image as it is shown and "
            f"as it is stored (EXIF turns it), and were taken as shown: {shown(either)}. If they "
            "were drawn on the stored pixels, remove the orientation from the images."
        )
    return found


def _empty_splits(index: Index) -> list[str]:
    found = []
    for name, of in (("Main", index.main), ("Segmentation", index.segmentation)):
        here = [split for split in SPLITS if (of == split).any()]
        if len(here) == 1:
            other = "val" if here == ["train"] else "train"
            count = counted(int((of == here[0]).sum()), f"{here[0]} image")
            found.append(f"{name} has {count}, and none for {other}.")
    return found


def _empty_masks(source: Source, index: Index, seen: list[Seen]) -> list[str]:
    found = []
    advice = " If other values stand for classes, say which: --mask_values." * (not source.values)
    for split in SPLITS:
        shows = [s.shows for s, m in zip(seen, index.segmentation, strict=True) if m == split]
        if shows and not any((one == PRESENT).any() for one in shows if one is not None):
            found.append(
                f"no mask of {split} shows an object: its {len(shows)} masks hold background and "
                f"void (255) alone.{advice}"
            )
    return found


def _absent_classes(source: Source, index: Index) -> list[str]:
    found, names = [], np.array(source.classes.names, str)
    present = index.labels == PRESENT
    member = {split: (index.main == split) | (index.segmentation == split) for split in SPLITS}
    nowhere = ~present.any(axis=0)
    if nowhere.any():
        found.append(f"no image shows {shown(names[nowhere].tolist())}.")
    for split in SPLITS:
        lacks = ~present[member[split]].any(axis=0) & ~nowhere
        if lacks.any() and member[split].any():
            found.append(f"no {split} image shows {shown(names[lacks].tolist())}.")
    return found


def _contradictions(source: Source, index: Index, seen: list[Seen]) -> list[str]:
    wrong, example = [], ""
    for record, labels, one in zip(source.records, index.labels, seen, strict=True):
        if record.labels is None or one.shows is None:
            continue
        differ = (labels == ABSENT) != (one.shows == ABSENT)
        if differ.any():
            wrong.append(record.id)
            k = int(differ.argmax())
            name, masked = source.classes.names[k], one.shows[k] == PRESENT
            example = example or (
                f"in {record.id} the mask shows {'' if masked else 'no '}{name}, and the labels "
                f"{'do not' if masked else 'do'}"
            )
    if not wrong:
        return []
    return [
        f"labels contradict masks in {counted(len(wrong), 'image')} ({example}); labels count for "
        f"classification, masks for segmentation: {shown(wrong)}."
    ]


def _shared_photographs(index: Index, seen: list[Seen]) -> list[str]:
    """Return in words which photographs train and val share, and which have two labels."""
    of = {split: (index.main == split) | (index.segmentation == split) for split in SPLITS}
    both = index.ids[of["train"] & of["val"]].tolist()
    found = []
    if both:
        found.append(
            f"{counted(len(both), 'image')} are for training in one of Main and Segmentation, and "
            f"for validation in the other: {shown(both)}."
        )
    copies: dict[str, list[int]] = {}
    for row, one in enumerate(seen):
        copies.setdefault(one.pixels, []).append(row)
    pairs = [(rows[0], row) for rows in copies.values() for row in rows[1:]]
    across = [
        (next(i for i in rows if of["train"][i]), row)
        for rows in copies.values()
        if of["train"][rows].any()
        for row in rows
        if of["val"][row] and not of["train"][row]
    ]
    unlike = [(i, j) for i, j in pairs if (index.labels[i] != index.labels[j]).any()]
    for twins, what in (
        (across, "train and val share"),
        (unlike, "labels contradict each other for"),
    ):
        if twins:
            names = [f"{index.ids[i]} = {index.ids[j]}" for i, j in twins]
            count = counted(len(twins), "photograph")
            found.append(f"{what} {count}, the same in each pixel: {shown(names)}.")
    return found


def _pixels(image: bytes) -> str:
    pixels = photo.stored_pixels(image, 3)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
