"""What a confusion matrix tells: NumPy on the host, float64.

`counts` [..., K, K] are integers, rows truth and columns prediction, as `metrics.confusion`,
`metrics.confusion_by_threshold` and `full_size.confusion` count them; leading axes, if any, stay.
Counts of batches, hosts or images add, and what is computed of their sum is that of the whole data
set, however it was cut. Everything is exact up to one rounding of float64 below 2^53 pixels.

A class is absent if neither truth nor prediction has a pixel of it. What can't be told is NaN.
"""

import numpy as np
from jax.typing import ArrayLike


def present(counts: ArrayLike) -> np.ndarray:
    """Tell which classes are in the truth, the prediction or both, [..., K] bool."""
    _, true, predicted = _pixels(counts)
    return (true > 0) | (predicted > 0)


def iou(counts: ArrayLike) -> np.ndarray:
    """Intersection over union of each class, tp / (tp + fp + fn), [..., K]; NaN where absent.

    PASCAL VOC's measure: Everingham et al., "The PASCAL Visual Object Classes Challenge" (2010).
    """
    both, true, predicted = _pixels(counts)
    return _quotient(both, true + predicted - both)


def mean_iou(counts: ArrayLike) -> np.ndarray:
    """Mean of the present classes' `iou`, [...]; NaN where all are absent.

    A class that is only predicted counts, with 0. `present` tells which are left out.
    """
    known = present(counts)
    return _quotient(np.where(known, iou(counts), 0).sum(axis=-1), known.sum(axis=-1))


def frequency_weighted_iou(counts: ArrayLike) -> np.ndarray:
    """Mean of the classes' `iou`, weighted by their share of the true pixels, [...]; NaN of none.

    Long et al., "Fully Convolutional Networks for Semantic Segmentation" (2015).
    """
    _, true, _ = _pixels(counts)
    return _quotient((true * np.where(true > 0, iou(counts), 0)).sum(axis=-1), true.sum(axis=-1))


def pixel_accuracy(counts: ArrayLike) -> np.ndarray:
    """Share of the counted pixels that are right, [...]; NaN if none was counted."""
    both, true, _ = _pixels(counts)
    return _quotient(both.sum(axis=-1), true.sum(axis=-1))


def dice(counts: ArrayLike) -> np.ndarray:
    """Dice of each class over all counted pixels, 2 tp / (2 tp + fp + fn); NaN where absent.

    This is the F1 score of the data set's pixels; the mean of the images' Dice is another number.
    The result is [..., K].
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
