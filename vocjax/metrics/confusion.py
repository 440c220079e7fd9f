"""Confusion matrices: counted on the device or the host, read on the host as float64.

`counts` [..., K, K] are integers, rows truth and columns prediction; leading axes, if any, stay.
Counts of batches, hosts or images add, and a metric of their sum is that of the whole data set,
however it was split. Everything is exact up to one rounding of float64 below 2^53 pixels.

A class is absent if neither truth nor prediction has a pixel of it. What is not defined is NaN.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

AT_ONCE = 2**22  # pixels counted on the host together, as int64


def count(prediction: Array, truth: Array, weight: Array, classes: int) -> Array:
    """Count pairs of classes on the device, [classes, classes] int32; can be jitted.

    An element counts if its weight is above 0. Exact below 2^31 elements, added ones included:
    11,000 images of 500 x 375 pixels.

    Shapes: `prediction`, `truth` (integers in 0..classes-1 where they count) and `weight` alike.
    """
    _check_alike(prediction, truth, weight)
    return _count_pairs(truth, prediction, weight, (classes, classes))


def count_by_threshold(
    probability: Array, truth: Array, weight: Array, thresholds: np.ndarray
) -> Array:
    """Count each image's background and foreground at every threshold, [B, T, 2, 2] int32.

    Foreground means probability > threshold. The sum over the first axis is the data set's, as with
    `count`. Each pixel is counted once, in the bin between two thresholds, and the bins are summed
    from above: no array of the size B H W T is made.

    Shapes: `probability` in [0, 1], `truth` (0 or 1) and `weight` [B, ...] alike; `thresholds` [T]
    in ascending order.
    """
    _check_alike(probability, truth, weight)
    if np.any(np.diff(thresholds) < 0):
        raise ValueError(f"the thresholds {thresholds} must ascend")
    # A pixel exceeds the first ones of the thresholds: so many.
    exceeded = jnp.searchsorted(jnp.asarray(thresholds, jnp.float32), probability)
    count_image = partial(_count_pairs, shape=(2, len(thresholds) + 1))
    bins = jax.vmap(count_image)((truth > 0).astype(jnp.int32), exceeded, weight)
    at_least = jnp.cumsum(bins[..., ::-1], axis=-1)[..., ::-1]  # [B, truth, thresholds exceeded]
    predicted = at_least[..., 1:]
    rows = jnp.stack([at_least[..., :1] - predicted, predicted], axis=-1)
    return jnp.moveaxis(rows, 1, 2)


def count_on_host(
    prediction: np.ndarray, truth: np.ndarray, weight: np.ndarray, classes: int
) -> np.ndarray:
    """Do what `count` does with NumPy, int64; `ValueError` for a counted number that is no class.

    Shapes: `prediction`, `truth` (integers) and `weight` (or bool) alike.
    """
    _check_alike(prediction, truth, weight)
    counted = weight > 0
    true, predicted = truth[counted], prediction[counted]
    for name, found in (("truth", true), ("prediction", predicted)):
        if found.size and not 0 <= found.min() <= found.max() < classes:
            raise ValueError(
                f"the {name} holds {found.min()} to {found.max()}: expected 0 to {classes - 1}"
            )
    pairs = np.zeros(classes**2, np.int64)
    for first in range(0, true.size, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        numbers = true[part].astype(np.int64) * classes + predicted[part]
        pairs += np.bincount(numbers, minlength=classes**2)
    return pairs.reshape(classes, classes)


def present(counts: ArrayLike) -> np.ndarray:
    """Return which classes are in the truth, the prediction or both, [..., K] bool."""
    _, true, predicted = _pixels(counts)
    return (true > 0) | (predicted > 0)


def iou(counts: ArrayLike) -> np.ndarray:
    """Intersection over union of each class, tp / (tp + fp + fn), [..., K]; NaN where absent.

    PASCAL VOC's measure: Everingham et al., "The PASCAL Visual Object Classes Challenge" (2010).
    """
    both, true, predicted = _pixels(counts)
    return _quotient(both, true + predicted - both)


def mean_iou(counts: ArrayLike) -> np.ndarray:
    """Mean of the `present` classes' `iou`, [...]; one that is only predicted counts, with 0."""
    known = present(counts)
    return _quotient(np.where(known, iou(counts), 0).sum(axis=-1), known.sum(axis=-1))


def frequency_weighted_iou(counts: ArrayLike) -> np.ndarray:
    """Mean of the classes' `iou`, weighted by their share of the true pixels, [...].

    Long et al., "Fully Convolutional Networks for Semantic Segmentation" (2015).
    """
    _, true, _ = _pixels(counts)
    return _quotient((true * np.where(true > 0, iou(counts), 0)).sum(axis=-1), true.sum(axis=-1))


def pixel_accuracy(counts: ArrayLike) -> np.ndarray:
    """Share of the counted pixels that are right, [...]; NaN without a counted pixel."""
    both, true, _ = _pixels(counts)
    return _quotient(both.sum(axis=-1), true.sum(axis=-1))


def dice(counts: ArrayLike) -> np.ndarray:
    """Dice of each class over all counted pixels, 2 tp / (2 tp + fp + fn), [..., K].

    This is the F1 score of the data set's pixels; the mean of the images' Dice is another number.
    """
    both, true, predicted = _pixels(counts)
    return _quotient(2 * both, true + predicted)


def foreground(counts: ArrayLike) -> np.ndarray:
    """Merge all classes but the first, the background, into one: [..., 2, 2], integers as given."""
    return np.add.reduceat(np.add.reduceat(counts, [0, 1], axis=-2), [0, 1], axis=-1)


def _pixels(counts: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each class's right, true and predicted pixels, float64 [..., K]."""
    counts = np.asarray(counts, np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise ValueError(f"counts {counts.shape} are no confusion matrix: expected [..., K, K]")
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _count_pairs(rows: Array, columns: Array, weight: Array, shape: tuple[int, int]) -> Array:
    counted = (weight > 0).astype(jnp.int32)
    return jnp.zeros(shape, jnp.int32).at[rows, columns].add(counted, mode="drop")


def _check_alike(*arrays: Array | np.ndarray) -> None:
    prediction, truth, weight = (array.shape for array in arrays)
    if not prediction == truth == weight:
        raise ValueError(f"prediction {prediction}, truth {truth}, weight {weight} must be alike")
