"""What losses share: weights, weighted means and the checks of shapes."""

import jax.numpy as jnp
from jax import Array

from vocjax.errors import check_choice


def weighted_mean(values: Array, weight: Array, *, reduction: str = "image") -> Array:
    """Weighted mean, sum(w v) / sum(w), of values [B, ...]; 0 where sum(w) is 0.

    The sums are over all axes but the first; with `reduction` "batch" over this one, too, and every
    example gets the one value. The result is [B] float32.
    """
    weight, axes = broadcast(weight, values), reduced_axes(values, reduction)
    total = jnp.sum(weight * included(values, weight), axis=axes)
    norm = jnp.sum(weight, axis=axes)
    return jnp.broadcast_to(total / jnp.where(norm > 0, norm, 1.0), values.shape[:1])


def reduced_axes(values: Array, reduction: str) -> tuple[int, ...]:
    """Return the axes of `values` [B, ...] that a loss sums over; "image" keeps the first axis."""
    check_choice("loss.reduction", reduction, ("batch", "image"))
    return tuple(range(reduction == "image", values.ndim))


def included(values: Array, weight: Array) -> Array:
    """Return the values in float32, 0 where `weight` (of a shape that broadcasts) is 0."""
    return jnp.where(weight > 0, values.astype(jnp.float32), 0.0)


def softmax_columns(weight: Array) -> Array | None:
    """Return which columns [..., K] a softmax over the last axis includes: those of weight above 0.

    In a row without such a column it includes all of them: a softmax of no columns is 0/0, which
    would reach the gradient. None means all columns everywhere; the softmax is much faster then.
    """
    if weight.shape[-1] == 1:
        return None
    counted = weight > 0
    return counted | ~counted.any(axis=-1, keepdims=True)


def broadcast(weight: Array, values: Array) -> Array:
    """Return the weight in float32, in the shape of `values`; `ValueError` for another rank."""
    if weight.ndim != values.ndim:
        raise ValueError(f"weight {weight.shape} needs the rank of what it weighs, {values.shape}")
    return jnp.broadcast_to(weight, values.shape).astype(jnp.float32)


def check_same_shape(prediction: Array, target: Array) -> None:
    """Raise `ValueError` unless both arrays have the same shape."""
    # Broadcasting [B, H, W, 1] against [B, H, W] would give numbers, and wrong ones.
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be alike")


def check_class_axis(values: Array) -> None:
    """Raise `ValueError` for a rank whose last axis cannot be the classes."""
    # The last axis of [B, H, W] is the width, and would be taken for the classes.
    if values.ndim not in (2, 4):
        raise ValueError(f"classes need [B, K] or [B, H, W, K], not {values.shape}")
