"""Cross-entropy and focal losses, for sigmoids and softmax; smoothed targets, weighted classes.

`reduction` "image" is the mean over an example's included elements; "batch" is the mean over those
of the whole batch, and every example gets this one value. Where nothing is included the loss and
its gradient are 0. Where classes exclude each other an element is a row of K numbers.

Losses are stable for logits of any size. Their `logits` and `target` are [B, ...] alike, [B, K] or
[B, H, W, K] for exclusive classes, the target in [0, 1]; the result is [B]. Another reduction is a
`UserError`.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vocjax.errors import check_range
from vocjax.losses.weights import (
    broadcast,
    check_class_axis,
    check_same_shape,
    included,
    softmax_columns,
    weighted_mean,
)


def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    exclusive: bool = False,
    reduction: str = "image",
) -> Array:
    """Cross-entropy, of sigmoids or, where classes are `exclusive`, of a softmax.

    Sigmoids: -sum w (t log p + (1 - t) log(1 - p)) / sum w, p = sigmoid(logits).

    Exclusive classes: the mean of -sum_k w y log p over rows, p = softmax(logits). y is the target
    divided by its sum over included columns: a row with two present classes is shared between
    them. Excluded columns have no part in the softmax either. The mean is over the rows that have
    an included column, whatever its weight: a weight other than 1 multiplies a row's value. Where
    all weights are 1 the gradient is p - y, divided by the number of rows. A row without an
    included present class gives 0.
    """
    return focal(logits, target, weight, gamma=0.0, exclusive=exclusive, reduction=reduction)


def focal(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    gamma: float = 2.0,
    exclusive: bool = False,
    reduction: str = "image",
) -> Array:
    """Focal loss: cross-entropy, each term times (1 - p_t)^gamma, p_t the truth's probability.

    Sigmoids: -sum w (1 - p_t)^gamma log p_t / sum w. For a target between 0 and 1 the power has
    p_t = t p + (1 - t)(1 - p), and the cross-entropy is -log p_t. Exclusive classes: the
    mean over rows of -sum_k w y (1 - p)^gamma log p, y as in `cross_entropy`. There is no alpha:
    `class_weights` weighs classes (Lin et al. 2017, "Focal loss for dense object detection").
    gamma 0 is `cross_entropy`; a negative one is a `UserError`.
    """
    check_range("loss.gamma", gamma, 0)
    check_same_shape(logits, target)
    wide = broadcast(weight, logits)
    logits = included(logits, wide)
    if not exclusive:
        target = included(target, wide)
        # 1 - p_t, without the cancellation of that difference.
        wrong = target * jax.nn.sigmoid(-logits) + (1 - target) * jax.nn.sigmoid(logits)
        entropy = optax.sigmoid_binary_cross_entropy(logits, target)
        values = _power(wrong, gamma) * entropy if gamma else entropy
        return weighted_mean(values, wide, reduction=reduction)
    log_p = included(jax.nn.log_softmax(logits, where=softmax_columns(weight)), wide)
    if gamma:
        # 1 - p without its cancellation where p is small; where p is near 1 the logarithm has it.
        log_p = _power(-jnp.expm1(log_p), gamma) * log_p
    values = -jnp.sum(wide * _shares(target, wide) * log_p, axis=-1)
    counted = (weight > 0).any(axis=-1)
    return weighted_mean(values, counted, reduction=reduction)


def smooth_labels(target: Array, weight: Array, amount: float, exclusive: bool) -> Array:
    """Smooth a target, t (1 - a) + a u, for `amount` a in [0, 1].

    Sigmoids: u is 1/2. Exclusive classes: u is the mean of t over the row's included columns, which
    is 1 / their number for one present class (Szegedy et al. 2016, "Rethinking the inception
    architecture for computer vision"), and 0 for none. Excluded columns stay as they are.

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
    """Return weights in which each present class k has its factor f_k.

    Sigmoids: w_k (1 - t_k + t_k f_k); the element of a present class counts f_k times, as with
    PyTorch's pos_weight; but a loss here divides by the sum of these weights. Exclusive classes:
    w_k sum_j y_j f_j, which multiplies the `cross_entropy` of a row by its class's factor, or by
    the mean factor of several classes (y as there), as PyTorch's CrossEntropyLoss(weight=f,
    reduction="none") does. Give the target as it is before `smooth_labels`: of smoothed targets
    PyTorch weighs each column by its own factor, which is another loss.

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


def weighed(
    loss: Callable[..., Array], factors: Sequence[float], exclusive: bool
) -> Callable[..., Array]:
    """Return `loss(logits, target, weight, truth)` in which classes count as `factors` [K] say.

    `truth` is the target before `smooth_labels`. The mean doesn't divide by the factors: a mean by
    weights would not let an example of a class that counts more count more.
    """

    def weighed_loss(logits: Array, target: Array, weight: Array, truth: Array) -> Array:
        scaled = class_weights(truth, weight, jnp.asarray(factors), exclusive)
        if exclusive:  # a row has one factor: a weight for all its columns stays one
            return loss(logits, target, scaled[..., : weight.shape[-1]])
        value = loss(logits, target, scaled)
        axes = tuple(range(1, truth.ndim))
        total = broadcast(weight, truth).sum(axis=axes)
        return value * scaled.sum(axis=axes) / jnp.maximum(total, 1)

    return weighed_loss


def _power(base: Array, exponent: float) -> Array:
    # A power below 1 has an infinite derivative at 0, and infinity times 0 is NaN.
    return jnp.maximum(base, jnp.finfo(jnp.float32).tiny) ** exponent


def _shares(target: Array, weight: Array) -> Array:
    """Return how a row [..., K] is shared between its included present classes; 0 for none."""
    check_class_axis(target)
    target = included(target, weight)
    total = jnp.sum(target, axis=-1, keepdims=True)
    return target / jnp.where(total > 0, total, 1.0)
