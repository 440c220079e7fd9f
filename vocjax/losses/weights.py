"""What losses share: weights, means of what they count, and shapes that they refuse."""

import jax.numpy as jnp
from jax import Array

from vocjax.errors import UserError


def weighted_mean(values: Array, weight: Array, *, reduction: str = "image") -> Array:
    """Weighted mean, sum(w v) / sum(w), over all axes but the first; 0 where sum(w) is 0.

    With `reduction` "batch" the sums run over the first axis too, and every example gets the one
    value.

    Shapes: `values` [B, ...]; the result is [B] float32.

    Raises:
      UserError: another reduction.
    """
    weight, axes = broadcast(weight, values), reduced_axes(values, reduction)
    total = jnp.sum(weight * included(values, weight), axis=axes)
    norm = jnp.sum(weight, axis=axes)
    return jnp.broadcast_to(total / jnp.where(norm > 0, norm, 1.0), values.shape[:1])


def reduced_axes(values: Array, reduction: str) -> tuple[int, ...]:
    """Return the axes of `values` [B, ...] that a loss sums over: "image" leaves the first.

    Raises:
      UserError: another reduction than "image" or "batch".
    """
    if reduction not in ("image", "batch"):
        raise UserError(
            f"unknown reduction {reduction!r} of a loss: expected 'batch' (sums over the whole "
            "batch) or 'image' (over each image). Choose one of these."
        )
    return tuple(range(reduction == "image", values.ndim))


def included(values: Array, weight: Array) -> Array:
    """Return the values in float32, 0 where `weight` (alike, or broadcastable) excludes them."""
    return jnp.where(weight > 0, values.astype(jnp.float32), 0.0)


def softmax_columns(weight: Array) -> Array | None:
    """Return which columns [..., K] a softmax of the last axis takes in: those that count.

    Where none does it takes all, as a softmax of no columns would be 0/0 and reach the gradient.
    None stands for all of them everywhere, and saves XLA much of the softmax's time.
    """
    if weight.shape[-1] == 1:
        return None
    counted = weight > 0
    return counted | ~counted.any(axis=-1, keepdims=True)


def broadcast(weight: Array, values: Array) -> Array:
    """Return the weight in float32, in the shape of `values`; ValueError for another rank."""
    if weight.ndim != values.ndim:
        raise ValueError(f"weight {weight.shape} needs the rank of what it weighs, {values.shape}")
    return jnp.broadcast_to(weight, values.shape).astype(jnp.float32)


def check_same_shape(prediction: Array, target: Array) -> None:
    """Raise ValueError unless the two are alike."""
    # Broadcasting [B, H, W, 1] against [B, H, W] would give numbers, and wrong ones.
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be alike")


def check_class_axis(values: Array) -> None:
    """Raise ValueError for a rank whose last axis can't be classes."""
    # The last axis of [B, H, W] would be taken for classes without a word.
    if values.ndim not in (2, 4):
        raise ValueError(f"classes need [B, K] or [B, H, W, K], not {values.shape}")
