"""Losses: one value per example, [B] float32, computed in float32 whatever the inputs' type.

`weight` says how much each element counts. It has the rank of the array it weighs and that array's
size or 1 along each axis; 0 excludes an element, whatever stands there (void pixels, difficult
labels, padding). Each function raises ValueError at trace time where shapes don't fit.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vocjax.errors import UserError

# Below this sum a Dice denominator counts as empty: the gradient of a division squares it, and the
# square of anything much smaller is zero in float32, which makes the gradient NaN.
EMPTY = 1e-12


def mse(prediction: Array, target: Array) -> Array:
    """Mean squared error, mean((p - t)^2), over all axes but the first.

    Shapes: `prediction` and `target` [B, ...] alike; the result is [B].
    """
    error = _difference(prediction, target)
    return jnp.mean(error**2, axis=_inner_axes(error))


def mae(prediction: Array, target: Array) -> Array:
    """Mean absolute error, mean(|p - t|), over all axes but the first.

    Shapes: `prediction` and `target` [B, ...] alike; the result is [B].
    """
    error = _difference(prediction, target)
    return jnp.mean(jnp.abs(error), axis=_inner_axes(error))


def binary_cross_entropy(logits: Array, target: Array, weight: Array) -> Array:
    """Binary cross-entropy, -sum w (t log p + (1 - t) log(1 - p)) / sum w, p = sigmoid(logits).

    Stable for logits of any size. An example whose elements are all excluded gives 0.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; the result is [B].
    """
    _check_same_shape(logits, target)
    weight = _broadcast(weight, logits)
    logits, target = _included(logits, weight), _included(target, weight)
    return weighted_mean(optax.sigmoid_binary_cross_entropy(logits, target), weight)


def soft_dice(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    reduction: str = "batch",
    smoothing: float = 0.0,
) -> Array:
    """Soft Dice loss, 1 - (2 sum(w p t) + s) / (sum(w p) + sum(w t) + s), p = sigmoid(logits).

    With reduction "image" the sums run over each example. With "batch" they run over the flattened
    batch, as in the study, and every example gets the one value, so that a mean over any of them
    is the loss; padded examples must then have weight 0. Where truth and prediction are both empty
    (or everything is excluded) the quotient is 0/0 for s = 0: the loss is 0, its gradient too.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; the result is [B].

    Raises:
      UserError: another reduction.
    """
    if reduction not in ("batch", "image"):
        raise UserError(
            f"unknown reduction {reduction!r} of the soft Dice loss: expected 'batch' (sums over "
            "the flattened batch) or 'image' (over each example). Choose one of these."
        )
    _check_same_shape(logits, target)
    # Before the sigmoid and not after it, or a NaN that is excluded still reaches the gradient.
    probability = jax.nn.sigmoid(_included(logits, _broadcast(weight, logits)))
    axes = _inner_axes(logits) if reduction == "image" else tuple(range(logits.ndim))
    dice = dice_coefficient(probability, target, weight, axes, smoothing)
    return jnp.broadcast_to(1 - dice, logits.shape[:1])


def dice_coefficient(
    probability: Array,
    target: Array,
    weight: Array,
    axes: tuple[int, ...] | None = None,
    smoothing: float = 0.0,
) -> Array:
    """Dice coefficient (Dice 1945), (2 sum(w p t) + s) / (sum(w p) + sum(w t) + s), in [0, 1].

    The sums run over `axes`, all but the first by default. 1 where truth and prediction are both
    empty, also where everything is excluded.

    Shapes: `probability` and `target` [B, ...] alike, both in [0, 1]; the result is float32 and
    has the axes that are left, [B] by default.
    """
    _check_same_shape(probability, target)
    weight = _broadcast(weight, probability)
    p, t = _included(probability, weight), _included(target, weight)
    axes = _inner_axes(p) if axes is None else axes
    numerator = 2 * jnp.sum(weight * p * t, axis=axes) + smoothing
    denominator = jnp.sum(weight * (p + t), axis=axes) + smoothing
    empty = denominator < EMPTY
    return jnp.where(empty, 1.0, numerator / jnp.where(empty, 1.0, denominator))


def weighted_mean(values: Array, weight: Array) -> Array:
    """Weighted mean, sum(w v) / sum(w), over all axes but the first; 0 where sum(w) is 0.

    Shapes: `values` [B, ...]; the result is [B] float32.
    """
    weight = _broadcast(weight, values)
    axes = _inner_axes(values)
    total = jnp.sum(weight * _included(values, weight), axis=axes)
    norm = jnp.sum(weight, axis=axes)
    return total / jnp.where(norm > 0, norm, 1.0)


def _difference(prediction: Array, target: Array) -> Array:
    _check_same_shape(prediction, target)
    return prediction.astype(jnp.float32) - target.astype(jnp.float32)


def _included(values: Array, weight: Array) -> Array:
    return jnp.where(weight > 0, values.astype(jnp.float32), 0.0)


def _inner_axes(values: Array) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


def _broadcast(weight: Array, values: Array) -> Array:
    if weight.ndim != values.ndim:
        raise ValueError(f"weight {weight.shape} needs the rank of what it weighs, {values.shape}")
    return jnp.broadcast_to(weight, values.shape).astype(jnp.float32)


def _check_same_shape(prediction: Array, target: Array) -> None:
    # Broadcasting [B, H, W, 1] against [B, H, W] would give numbers, and wrong ones.
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be alike")
