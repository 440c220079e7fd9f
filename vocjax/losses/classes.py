"""Cross-entropy and focal losses, for sigmoids and softmax; smoothed targets, weighted classes.

`reduction` "image" is the mean over an example's elements that count; "batch" is the mean over
those of the whole batch, which every example gets. Where nothing counts the loss is 0, its gradient
too. Of an array [B, K] or [B, H, W, K] whose classes exclude each other an element is a row of K.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vocjax.losses.weights import (
    broadcast,
    check_class_axis,
    check_same_shape,
    included,
    softmax_columns,
    weighted_mean,
)


def binary_cross_entropy(
    logits: Array, target: Array, weight: Array, *, reduction: str = "image"
) -> Array:
    """Binary cross-entropy, -sum w (t log p + (1 - t) log(1 - p)) / sum w, p = sigmoid(logits).

    Stable for logits of any size.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; the result is [B].

    Raises:
      UserError: another reduction.
    """
    check_same_shape(logits, target)
    weight = broadcast(weight, logits)
    logits, target = included(logits, weight), included(target, weight)
    entropy = optax.sigmoid_binary_cross_entropy(logits, target)
    return weighted_mean(entropy, weight, reduction=reduction)


def focal(
    logits: Array, target: Array, weight: Array, gamma: float, *, reduction: str = "image"
) -> Array:
    """Binary focal loss, -sum w (1 - p_t)^gamma log p_t / sum w, p_t the truth's probability.

    For a target between 0 and 1, p_t = t p + (1 - t)(1 - p) in the power, and the cross-entropy
    stands for -log p_t, so that gamma 0 is `binary_cross_entropy`. No alpha: `class_weights` weighs
    classes (Lin et al. 2017, "Focal loss for dense object detection"). Stable for logits of any
    size.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; gamma at least 0; the result is
    [B].

    Raises:
      UserError: another reduction.
    """
    check_same_shape(logits, target)
    weight = broadcast(weight, logits)
    logits, target = included(logits, weight), included(target, weight)
    # 1 - p_t, without the cancellation of that difference.
    wrong = target * jax.nn.sigmoid(-logits) + (1 - target) * jax.nn.sigmoid(logits)
    entropy = optax.sigmoid_binary_cross_entropy(logits, target)
    return weighted_mean(_power(wrong, gamma) * entropy, weight, reduction=reduction)


def softmax_cross_entropy(
    logits: Array, target: Array, weight: Array, *, reduction: str = "image"
) -> Array:
    """Cross-entropy of classes that exclude each other, the mean of -sum_k w y log p over rows.

    p = softmax(logits), and y is the target divided by its sum over included columns: a row with
    two present classes shares itself between them. Excluded columns have no part in the softmax
    either. The mean is over the rows that have an included column, whatever their weight: weights
    other than 1 scale a row's value. Where they are 1 the gradient is p - y, divided by the number
    of rows. Stable for logits of any size. A row without an included present class gives 0.

    Shapes: `logits` and `target` [B, K] or [B, H, W, K] alike, target in [0, 1]; the result is [B].

    Raises:
      UserError: another reduction.
    """
    return softmax_focal(logits, target, weight, 0.0, reduction=reduction)


def softmax_focal(
    logits: Array, target: Array, weight: Array, gamma: float, *, reduction: str = "image"
) -> Array:
    """Focal loss of classes that exclude each other, mean of -sum_k w y (1 - p)^gamma log p.

    For one present class this is -(1 - p_t)^gamma log p_t, p_t its probability. For the rest see
    `softmax_cross_entropy`, which is gamma 0, and `focal`.

    Shapes: `logits` and `target` [B, K] or [B, H, W, K] alike, target in [0, 1]; gamma at least 0;
    the result is [B].

    Raises:
      UserError: another reduction.
    """
    check_same_shape(logits, target)
    wide, columns = broadcast(weight, logits), softmax_columns(weight)
    log_p = included(jax.nn.log_softmax(included(logits, wide), where=columns), wide)
    # 1 - p without its cancellation where p is small; where it is near 1 the logarithm has it.
    modulated = _power(-jnp.expm1(log_p), gamma) * log_p
    values = -jnp.sum(wide * _shares(target, wide) * modulated, axis=-1)
    counted = (weight > 0).any(axis=-1)
    return weighted_mean(values, counted, reduction=reduction)


def smooth_labels(target: Array, weight: Array, amount: float, exclusive: bool) -> Array:
    """Smooth a target, t (1 - a) + a u, for `amount` a in [0, 1].

    u is 1/2 where every class is a question of its own (sigmoids). Where classes exclude each other
    (softmax) it is the mean of t over the row's included columns, 1 / their number for one
    present class (Szegedy et al. 2016, "Rethinking the inception architecture for computer
    vision"), and 0 for none. Excluded columns stay as they are.

    Shapes: `target` [..., K] in [0, 1]; the result is float32 and alike.
    """
    target, weight = target.astype(jnp.float32), broadcast(weight, target)
    counted = weight > 0
    uniform: Array | float = 0.5
    if exclusive:
        check_class_axis(target)
        columns = jnp.sum(counted, axis=-1, keepdims=True)
        total = jnp.sum(included(target, weight), axis=-1, keepdims=True)
        uniform = total / jnp.maximum(columns, 1)
    return jnp.where(counted, target * (1 - amount) + amount * uniform, target)


def class_weights(target: Array, weight: Array, factors: Array, exclusive: bool) -> Array:
    """Weight with which a present class counts by its factor f.

    Sigmoids: w_k (1 - t_k + t_k f_k); a present class's element counts f_k times, as with PyTorch's
    pos_weight; our losses' mean divides by the sum of these weights, so that to have as much as
    there it is to be multiplied by their sum over that of `weight`. Exclusive classes:
    w_k sum_j y_j f_j, which multiplies a row's `softmax_cross_entropy` by its class's factor,
    or by the mean factor of several (y as there), as PyTorch's CrossEntropyLoss(weight=f,
    reduction="none") does. Take the target from before `smooth_labels`.

    Shapes: `target` [..., K] in [0, 1], `factors` [K], at least 0; the result is float32 and like
    the target.
    """
    weight, factors = broadcast(weight, target), jnp.asarray(factors, jnp.float32)
    if factors.shape != target.shape[-1:]:
        raise ValueError(f"factors {factors.shape} and target {target.shape} differ in classes")
    if exclusive:
        return weight * jnp.sum(_shares(target, weight) * factors, axis=-1, keepdims=True)
    target = included(target, weight)
    return weight * (1 - target + target * factors)


def _power(base: Array, exponent: float) -> Array:
    # At 0 a power below 1 has an infinite derivative, which times 0 would be NaN.
    return jnp.maximum(base, jnp.finfo(jnp.float32).tiny) ** exponent


def _shares(target: Array, weight: Array) -> Array:
    """Return how a row [..., K] is shared between its included present classes; 0 for none."""
    check_class_axis(target)
    target = included(target, weight)
    total = jnp.sum(target, axis=-1, keepdims=True)
    return target / jnp.where(total > 0, total, 1.0)
