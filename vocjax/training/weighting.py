"""Factors of the classes in a loss, from how often each occurs in the training split.

- "inverse_frequency": where classes exclude each other, N / (K n_k) for n_k of N pixels (images) of
  class k of K, as scikit-learn's "balanced"; else absent / present, as for PyTorch's pos_weight.
- "effective_number": the same with E(n) = (1 - b^n) / (1 - b) in the place of n, b = 0.999, where n
  counts the images that show the class (Cui et al. 2019, "Class-balanced loss based on effective
  number of samples"): pixels of an image resemble each other. Background is in every image.

Factors of exclusive classes have the mean 1 over the pixels (images). A class that train does not
show has the factor 1.
"""

import math
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from vocjax.data.classes import VOID, class_columns, classes_of
from vocjax.data.dataset import Dataset
from vocjax.data.index import Prepared
from vocjax.data.splits import choose
from vocjax.errors import UserError, check_choice
from vocjax.losses import is_exclusive
from vocjax.tasks.pixel_classes import pixel_classes

GIVEN, INVERSE, EFFECTIVE = WEIGHTINGS = ("given", "inverse_frequency", "effective_number")
SIMILAR = 0.999  # b: of how many images, 1 / (1 - b), further ones add little
MOST_MASKS = 2000  # that are counted, spread evenly over train


class Counts(NamedTuple):
    """How often each class occurs: float64 [classes] each."""

    samples: np.ndarray  # pixels, or images, of the class
    others: np.ndarray  # of none or another
    images: np.ndarray  # that show it
    without: np.ndarray  # images that show something else, too or instead


def with_class_weights(config: ConfigDict, source: Prepared | Dataset) -> ConfigDict:
    """Return a config whose `loss.class_weights` are what `loss.weighting` makes of train.

    `UserError` where it gives other ones itself.
    """
    config = config.copy_and_resolve_references()
    check_choice("loss.weighting", config.loss.weighting, WEIGHTINGS)
    if config.task == "segmentation":
        exclusive, counts = config.model.target == "softmax", counts_of_pixels(config, source)
    else:
        exclusive, counts = is_exclusive(config.loss.name), counts_of_images(config, source)
    factors = factors_of(counts, config.loss.weighting, exclusive)
    made, given = tuple(round(float(f), 6) for f in factors), tuple(config.loss.class_weights)
    if given not in ((), made):
        raise UserError(
            f"loss.class_weights is {given}, and loss.weighting {config.loss.weighting!r} makes "
            f"{made} of train: leave class_weights empty, or set weighting to {GIVEN!r}."
        )
    config.loss.class_weights = made
    return config


def notes(config: ConfigDict) -> list[str]:
    """Return what a reader of the log should know about class weights, in sentences."""
    weighting = config.loss.get("weighting", GIVEN)
    if weighting == GIVEN or not config.loss.class_weights:
        return []
    names: tuple[str, ...] = tuple(config.data.classes) or classes_of(config.data).names
    if config.task == "segmentation":
        classes = pixel_classes(config)
        names = classes.names[classes.kind != "softmax" :]
    factors = zip(names, config.loss.class_weights, strict=True)
    listed = ", ".join(f"{name} {factor:.4g}" for name, factor in factors)
    return [f"class weights of {weighting}: {listed}"]


def factors_of(counts: Counts, weighting: str, exclusive: bool) -> np.ndarray:
    """Return the factors [classes] of a rule; see the module."""
    n, others = counts.samples, counts.others
    if weighting == EFFECTIVE:
        n, others = (
            -np.expm1(x * math.log(SIMILAR)) / (1 - SIMILAR)
            for x in (counts.images, counts.without)
        )
    seen = n > 0
    if not exclusive:
        return np.where(seen & (others > 0), others / np.where(seen, n, 1), 1.0)
    inverse = 1 / np.where(seen, n, 1)
    mean = (counts.samples * inverse).sum() / counts.samples.sum()
    return np.where(seen, inverse / mean, 1.0)


def counts_of_images(config: ConfigDict, source: Prepared | Dataset) -> Counts:
    """Count the images of train that show each chosen class; difficult ones count for neither."""
    labels = _train(config, source)[1][:, list(class_columns(config.data))]
    present, absent = ((labels == state).sum(axis=0).astype(float) for state in (1, -1))
    return Counts(present, absent, present, absent)


def counts_of_pixels(config: ConfigDict, source: Prepared | Dataset) -> Counts:
    """Count the pixels of each output of a segmentation in train's masks, at their own size."""
    classes, (rows, _) = pixel_classes(config), _train(config, source)
    pixels, images = (np.zeros(len(classes.names)) for _ in range(2))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST_MASKS, len(rows))).astype(int))]
    for row in chosen:
        if isinstance(source, Dataset):
            assert source.splits["train"].mask_of is not None
            mask = source.splits["train"].mask_of(int(row))
        else:
            mask = source.examples[int(row)]["mask"][..., 0]
        index = classes.indices[mask]
        found = np.bincount(index[index != VOID], minlength=len(classes.names))
        pixels += found
        images += found > 0
    first = int(classes.kind != "softmax")
    others, without = pixels.sum() - pixels, np.full(len(images), float(len(chosen)))
    return Counts(*(of[first:] for of in (pixels, others, images, without)))


def _train(config: ConfigDict, source: Prepared | Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of train and their labels [n, classes]."""
    if isinstance(source, Dataset):
        return np.arange(len(source.splits["train"].ids)), source.labels["train"]
    chosen = choose(source.index, config.data, "train")
    return chosen.rows, chosen.labels
