"""Metrics of a data set as sums: values per example, added over batches, divided at the end.

A step computes the values of its examples, [B] float32, and gives the valid ones to `mean`. Such
sums, and those of `metrics.confusion`, are added by `add`. All but `value` can be jitted.

`weight` has the rank of the array that it weighs; 0 excludes an element (a void pixel, a difficult
label), whatever it holds. For an example with excluded elements only, the metrics of classification
are 0 (`exact_match` and Dice 1), by convention: make such examples invalid.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vocjax import losses
from vocjax.metrics import confusion

Sums = TypeVar("Sums")


class Mean(NamedTuple):
    """A mean before its division: `total` [] float32 and `count` [] int32.

    Each addition rounds the total to float32, 6e-8 of itself at most. After 100,000 examples in
    batches of 32 the relative error of the mean is 2e-6 where values vary, and 5e-5 where all are
    the same and roundings do not cancel; in batches of one it is 1e-4 and 2e-3.
    """

    total: Array
    count: Array  # type: ignore[assignment]  # the field's name hides tuple.count, which none needs


def mean(values: Array, valid: Array) -> Mean:
    """Sum the values [B] of a batch's `valid` examples [B], bool or 0 / 1; others can be NaN."""
    if values.shape != valid.shape:
        raise ValueError(f"values {values.shape} and valid {valid.shape} must be alike")
    counted = valid > 0
    total = jnp.sum(jnp.where(counted, values.astype(jnp.float32), 0.0))
    return Mean(total, jnp.sum(counted, dtype=jnp.int32))


def add(a: Sums, b: Sums) -> Sums:
    """Add the sums of two batches: any pytree of `Mean`s and confusion matrices."""
    return jax.tree.map(jnp.add, a, b)


def value(sums: Mean) -> float:
    """Return the mean as a Python number, NaN for a count of 0."""
    count = int(sums.count)
    return float(sums.total) / count if count else float("nan")


def psnr(prediction: Array, target: Array) -> Array:
    """Peak signal-to-noise ratio per image, -10 log10(mse) decibels, for values in [0, 1].

    Infinite where the two, [B, ...], are equal; the result is [B].
    """
    return -10 * jnp.log10(losses.mse(prediction, target))


def elementwise_accuracy(probability: Array, target: Array, weight: Array) -> Array:
    """Weighted share of an example's columns that are right, present meaning probability > 0.5.

    This is Keras's accuracy for a binary cross-entropy over several columns. Target 0 or 1; all
    arrays are [B, K], the result is [B].
    """
    return losses.weighted_mean(_columns_right(probability, target), weight)


def exact_match(probability: Array, target: Array, weight: Array) -> Array:
    """1 where every counted column is right; arrays as for `elementwise_accuracy`."""
    right = _columns_right(probability, target) | (weight <= 0)
    return jnp.all(right, axis=1).astype(jnp.float32)


def argmax_accuracy(scores: Array, target: Array, weight: Array) -> Array:
    """1 where the counted column with the largest score is one of the present classes, else 0.

    Shapes: `scores` (logits or probabilities), `target` (0 or 1), `weight` [B, K]; the result [B].
    """
    best = jnp.argmax(jnp.where(weight > 0, scores, -jnp.inf), axis=1, keepdims=True)
    present = (target > 0) & (weight > 0)
    return jnp.take_along_axis(present, best, axis=1)[:, 0].astype(jnp.float32)


def hard_dice_per_image(
    probability: Array, target: Array, weight: Array, threshold: float | Array
) -> Array:
    """Dice of each image from decisions, foreground meaning probability > threshold.

    This is the F1 score of the counted pixels; for empty masks and shapes see `dice_coefficient`.
    """
    return losses.dice_coefficient(probability > threshold, target, weight)


def iou_per_image(dice: Array) -> Array:
    """Intersection over union of each image [B] from its Dice D, D / (2 - D), soft or hard.

    Take it of each image: the mean of these values exceeds the value of the mean Dice.
    """
    return dice / (2 - dice)


def hard_dice_by_threshold(
    probability: Array, target: Array, weight: Array, thresholds: np.ndarray
) -> Array:
    """`hard_dice_per_image` at every threshold, [B, T] float32; see `count_by_threshold`."""
    counts = confusion.count_by_threshold(probability, target, weight, thresholds)
    both = counts[..., 1, 1]
    total = counts[..., 1, :].sum(axis=-1) + counts[..., :, 1].sum(axis=-1)
    return jnp.where(total > 0, 2 * both / jnp.maximum(total, 1), 1.0)


def _columns_right(probability: Array, target: Array) -> Array:
    if probability.shape != target.shape:
        raise ValueError(f"probability {probability.shape}, target {target.shape} must be alike")
    return (probability > 0.5) == (target > 0.5)
