"""Metrics: values per example, and sums that merge over batches by addition.

A metric of a data set is the mean of its examples' values. A step computes the values, [B] float32,
and hands `mean` the ones that are valid; what it gets merges by `merge` and is read by `value`.
A confusion matrix is such a sum too. Everything but `value` is pure and can be jitted.

`weight` has the rank of the array it weighs; 0 excludes an element (a void pixel, a difficult
label), whatever stands there. Of an example with nothing but excluded elements the classification
metrics say 0 (`exact_match` and the Dice family 1), which is a convention and no measurement:
where a data set has such examples, make them invalid.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from vocjax import losses

Sums = TypeVar("Sums")


class Mean(NamedTuple):
    """A mean that isn't divided yet: `total` [] float32 and `count` [] int32."""

    total: Array
    count: Array  # type: ignore[assignment]  # the field's name hides tuple.count, which none needs


def mean(values: Array, valid: Array) -> Mean:
    """Sum up the values of a batch's valid examples.

    Rows that aren't valid contribute nothing, even where they hold NaN.

    Shapes: `values` [B]; `valid` [B], bool or 0 / 1.
    """
    if values.shape != valid.shape:
        raise ValueError(f"values {values.shape} and valid {valid.shape} must be alike")
    counted = valid > 0
    total = jnp.sum(jnp.where(counted, values.astype(jnp.float32), 0.0))
    return Mean(total, jnp.sum(counted, dtype=jnp.int32))


def merge(a: Sums, b: Sums) -> Sums:
    """Merge the sums of two batches: any pytree of `Mean`s and confusion matrices."""
    return jax.tree.map(jnp.add, a, b)


def value(sums: Mean) -> float:
    """Divide: the mean as a Python number, NaN if nothing was counted."""
    count = int(sums.count)
    return float(sums.total) / count if count else float("nan")


def psnr(prediction: Array, target: Array) -> Array:
    """Peak signal-to-noise ratio per image, -10 log10(mse) decibels, for values in [0, 1].

    Infinite where the two are equal.

    Shapes: `prediction` and `target` [B, ...] alike; the result is [B].
    """
    return -10 * jnp.log10(losses.mse(prediction, target))


def ssim(prediction: Array, target: Array) -> Array:
    """Structural similarity per image (Wang et al. 2004), 1 where equal, for values in [0, 1].

    Shapes: `prediction` and `target` [B, H, W, C] alike, H and W at least 11; the result is [B].
    """
    return losses.structural_similarity(prediction, target)


def log_loss(logits: Array, target: Array, weight: Array) -> Array:
    """Element-wise binary cross-entropy per example, in nats; from logits, so it never overflows.

    Shapes: `logits`, `target` (0 or 1) and `weight` [B, K]; the result is [B].
    """
    return losses.binary_cross_entropy(logits, target, weight)


def elementwise_accuracy(probability: Array, target: Array, weight: Array) -> Array:
    """Weighted share of an example's columns that are right, present meaning probability > 0.5.

    This is Keras's accuracy for a binary cross-entropy over several columns.

    Shapes: `probability`, `target` (0 or 1) and `weight` [B, K]; the result is [B].
    """
    return losses.weighted_mean(_columns_right(probability, target), weight)


def exact_match(probability: Array, target: Array, weight: Array) -> Array:
    """1 where every counted column of an example is right, present meaning probability > 0.5.

    Shapes: `probability`, `target` (0 or 1) and `weight` [B, K]; the result is [B].
    """
    right = _columns_right(probability, target) | (weight <= 0)
    return jnp.all(right, axis=1).astype(jnp.float32)


def argmax_accuracy(scores: Array, target: Array, weight: Array) -> Array:
    """1 where the column with the largest score is one of the present classes.

    Excluded columns are passed over. An example without a present class gives 0.

    Shapes: `scores` (logits or probabilities), `target` (0 or 1), `weight` [B, K]; the result [B].
    """
    best = jnp.argmax(jnp.where(weight > 0, scores, -jnp.inf), axis=1, keepdims=True)
    present = (target > 0) & (weight > 0)
    return jnp.take_along_axis(present, best, axis=1)[:, 0].astype(jnp.float32)


def soft_dice_per_image(probability: Array, target: Array, weight: Array) -> Array:
    """Dice of each image from probabilities, 2 sum(w p t) / (sum(w p) + sum(w t)): the study's.

    1 where truth and prediction are both empty.

    Shapes: `probability` in [0, 1], `target` (0 or 1) and `weight` [B, ...]; the result is [B].
    """
    return losses.dice_coefficient(probability, target, weight)


def hard_dice_per_image(
    probability: Array, target: Array, weight: Array, threshold: float | Array
) -> Array:
    """Dice of each image from decisions, foreground meaning probability > threshold.

    This is the F1 score of the counted pixels; 1 where truth and prediction are both empty.

    Shapes: `probability` in [0, 1], `target` (0 or 1) and `weight` [B, ...]; the result is [B].
    """
    return losses.dice_coefficient(probability > threshold, target, weight)


def iou_per_image(dice: Array) -> Array:
    """Intersection over union of each image from its Dice D, D / (2 - D), soft or hard alike.

    Take it before averaging: the mean of the images' values exceeds that of the mean Dice.

    Shapes: `dice` [B] in [0, 1]; the result is [B].
    """
    return dice / (2 - dice)


def confusion(prediction: Array, target: Array, weight: Array, classes: int) -> Array:
    """Count pairs of classes: rows truth, columns prediction, [classes, classes] int32.

    An element counts if its weight isn't 0. Exact below 2^31 elements in all, merged ones included.

    Shapes: `prediction`, `target` (integers in 0..classes-1 where they count), `weight`: alike.
    """
    if not prediction.shape == target.shape == weight.shape:
        raise ValueError(
            f"prediction {prediction.shape}, target {target.shape}, weight {weight.shape} differ"
        )
    counts = jnp.zeros((classes, classes), jnp.int32)
    return counts.at[target, prediction].add((weight > 0).astype(jnp.int32), mode="drop")


def iou(confusion: Array) -> Array:
    """Intersection over union per class, tp / (tp + fp + fn), as PASCAL VOC defines it.

    Shapes: `confusion` [K, K]; the result is [K] float32, NaN for a class that is in neither the
    truth nor the prediction.
    """
    intersection = jnp.diagonal(confusion)
    union = jnp.sum(confusion, axis=0) + jnp.sum(confusion, axis=1) - intersection
    return intersection / jnp.where(union > 0, union, jnp.nan)


def pixel_accuracy(confusion: Array) -> Array:
    """Share of the counted pixels that are right, [] float32; NaN if none was counted."""
    return jnp.trace(confusion) / jnp.sum(confusion)


def _columns_right(probability: Array, target: Array) -> Array:
    if probability.shape != target.shape:
        raise ValueError(f"probability {probability.shape}, target {target.shape} must be alike")
    return (probability > 0.5) == (target > 0.5)
