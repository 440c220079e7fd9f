"""The splits of a config's data, ready for batches; or those of your own arrays."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.classes import VOC, Classes
from vocjax.data.frame import SHRUNK, Size
from vocjax.data.index import Prepared
from vocjax.data.pipeline import Examples, open_examples, resident
from vocjax.data.splits import MULTI_LABEL_RULES, SPLITS, Selection, choose
from vocjax.errors import UserError, check_choice


class Dataset(NamedTuple):
    """What a run trains on and is evaluated on.

    `splits` are `train` and `val`, `labels` those of each split, [n, classes] int8, for pictures;
    `facts` are for run.json, `classes` are the columns of `labels`, `notes` are sentences for the
    log. `uncut` are the examples of train from which `data.augment.scale` cuts, in their place.
    """

    splits: dict[str, Examples]
    labels: dict[str, np.ndarray]
    facts: dict[str, Any]
    classes: Classes = VOC
    notes: tuple[str, ...] = ()
    uncut: Examples | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of images in each split."""
        return {split: len(examples.ids) for split, examples in self.splits.items()}


def facts_of(source: Prepared | Dataset) -> dict[str, Any]:
    """Return what run.json says about a data set, opened or only prepared."""
    if isinstance(source, Dataset):
        return source.facts
    return {
        "name": source.name,
        "fingerprint": source.fingerprint,
        "partial": source.partial,
        "source": source.source,
    }


def open_dataset(
    config: ConfigDict, prepared: Prepared, mesh: Mesh, splits: tuple[str, ...] = SPLITS
) -> Dataset:
    """Open splits of a prepared data set as `config.data` asks for them."""
    data = config.data
    chosen = {split: choose(prepared.index, data, split) for split in splits}

    def examples(selection: Selection, size: Size, fit: str) -> Examples:
        return open_examples(
            prepared,
            selection.rows,
            mesh,
            labels=selection.labels,
            size=size,
            fit=fit,
            channels=data.channels,
            masks=data.masks if data.image_set == "Segmentation" else "",
            storage=data.storage,
        )

    notes = []
    if any(selection.several for selection in chosen.values()):
        shown = " and ".join(f"{of.several} {split}" for split, of in chosen.items())
        rule = MULTI_LABEL_RULES[data.several]
        notes.append(f"{shown} images show several of the classes: {rule}")
    size = data.size, data.width or data.size
    scaled = "train" in chosen and data.augment.scale
    return Dataset(
        {split: examples(selection, size, data.fit) for split, selection in chosen.items()},
        {split: selection.labels for split, selection in chosen.items()},
        facts_of(prepared),
        prepared.classes,
        tuple(notes),
        examples(chosen["train"], data.longest, SHRUNK) if scaled else None,
    )


def from_arrays(
    splits: Mapping[str, Mapping[str, np.ndarray]], mesh: Mesh, classes: Classes = VOC
) -> Dataset:
    """Make a data set of your own arrays, which every device holds whole.

    `splits` are `train` and `val`, each with `image` [n, height, width, channels] uint8 and, where
    a task needs them, `labels` [n, classes] int8 (1 present, 0 difficult, -1 absent) and `mask`
    [n, height, width] uint8, indices of `classes`; `ids` [n] names the images. A batch
    iterator of your own is an `Examples` in the place of one that is made here. Raises `UserError`
    for other arrays.
    """
    digest, examples, labels = hashlib.sha256(), {}, {}
    if set(splits) != set(SPLITS):
        raise UserError(f"the splits are {', '.join(splits)}; they must be train and val.")
    for split, given in splits.items():
        arrays = {name: np.asarray(array) for name, array in given.items()}
        _check_arrays(split, arrays, len(classes.names))
        n = len(arrays["image"])
        ids = arrays.pop("ids", np.array([f"{split}_{i}" for i in range(n)]))
        labels[split] = arrays.get("labels", np.full((n, len(classes.names)), -1, np.int8))
        for name in sorted(arrays):
            digest.update(f"{split}/{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        mask_of = arrays["mask"].__getitem__ if "mask" in arrays else None
        batches = resident(arrays, mesh)
        image_of = partial(_rgb_of, arrays["image"])
        examples[split] = Examples(ids, True, batches, mask_of, image_of)
    facts = {
        "name": "arrays",
        "fingerprint": digest.hexdigest(),
        "partial": False,
        "source": "arrays in Python",
    }
    return Dataset(examples, labels, facts, classes)


def _rgb_of(images: np.ndarray, row: int) -> np.ndarray:
    return np.repeat(images[row], 3, axis=-1) if images.shape[-1] == 1 else images[row]


def _check_arrays(split: str, arrays: Mapping[str, np.ndarray], classes: int) -> None:
    """Raise `UserError` unless the arrays of a split have the types and shapes of `from_arrays`."""
    image = arrays.get("image", np.zeros(()))
    n, height, width = (*image.shape, 0, 0, 0)[:3]
    expected = {
        "image": (np.uint8, (n, height, width, image.shape[-1] if image.ndim == 4 else 3)),
        "labels": (np.int8, (n, classes)),
        "mask": (np.uint8, (n, height, width)),
        "ids": (None, (n,)),
    }
    for name in ("image", *arrays):
        check_choice(f"an array of {split}", name, expected)
        dtype, shape = expected[name]
        array = arrays.get(name, np.zeros(()))
        if array.shape != shape or not n or (dtype and array.dtype != dtype):
            wanted = f"{np.dtype(dtype).name} {shape}" if dtype else shape
            raise UserError(
                f"{split}/{name} is {array.dtype} {array.shape}; it must be {wanted}, for at least "
                "one image: uint8 [n, height, width, channels]."
            )
