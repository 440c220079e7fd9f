"""Losses of overlap between prediction and truth: Dice, Jaccard, Tversky, Lovász.

`reduction` is what one quotient sums over: "image", or "batch", whose one value every image gets;
padded images must have weight 0 then.

`classes` is how the classes of [B, H, W, K] are combined. With "together" one quotient sums over
all of them, as over pixels; arrays [B, ...] without classes need this. With "all" each class has
its own quotient, and the loss is their mean. With "present" the mean is over the classes that occur
in the truth of the image (or batch), 0 where none does.

Elements of weight 0 are in no sum, and the gradient is 0 there, even where they hold NaN.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from vocjax.errors import UserError, check_choice, check_range
from vocjax.losses.weights import (
    broadcast,
    check_class_axis,
    check_same_shape,
    included,
    reduced_axes,
    softmax_columns,
)

# Below this sum a denominator counts as empty: the gradient of a division squares it, and the
# square of anything much smaller is zero in float32, which makes the gradient NaN.
EMPTY = 5e-13


def soft_dice(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    exclusive: bool = False,
    reduction: str = "batch",
    smoothing: float = 0.0,
    classes: str = "together",
) -> Array:
    """Soft Dice loss, 1 - (2 sum(w p t) + s) / (sum(w p) + sum(w t) + s), `smoothing` s.

    This is `tversky` with alpha = beta = 1/2 and half the smoothing. The study's loss is that of
    the batch, without smoothing.
    """
    check_range("loss.smoothing", smoothing, 0)
    loss = partial(tversky, exclusive=exclusive, reduction=reduction, classes=classes)
    return loss(logits, target, weight, smoothing=smoothing / 2)


def tversky(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    exclusive: bool = False,
    reduction: str = "batch",
    smoothing: float = 0.0,
    classes: str = "together",
) -> Array:
    """Tversky loss, 1 - (tp + s) / (tp + alpha fp + beta fn + s), `smoothing` s at least 0.

    tp = sum(w p t), false positives fp = sum(w p (1 - t)), false negatives fn = sum(w (1 - p) t);
    p is the sigmoid of the logits, or their softmax where classes are `exclusive` (Salehi et al.
    2017, "Tversky loss function for image segmentation using 3D fully convolutional deep
    networks"). Where truth and prediction are both empty (or everything is excluded) the quotient
    is 0/0 for s = 0: the loss is 0, its gradient too.

    Shapes: `logits` and `target` [B, ...] alike, [B, H, W, K] where there are classes, target in
    [0, 1]; the result is [B]. `UserError` for another option, a negative number, alpha + beta = 0.
    """
    for name, value in (("smoothing", smoothing), ("alpha", alpha), ("beta", beta)):
        check_range(f"loss.{name}", value, 0)
    if alpha + beta == 0:
        raise UserError("loss.alpha and loss.beta are both 0; Tversky's loss needs one above 0.")
    check_same_shape(logits, target)
    wide, axes = broadcast(weight, logits), _summed_axes(logits, reduction, classes)
    p, t = _probability(logits, weight, exclusive), included(target, wide)
    index = _tversky_index(p, t, wide, axes, alpha, beta, smoothing)
    loss = _mean_over_classes(1 - index, jnp.sum(wide * t, axis=axes) > 0, classes)
    return jnp.broadcast_to(loss, logits.shape[:1])


# Soft Jaccard (IoU) loss, 1 - (I + s) / (sum(w p) + sum(w t) - I + s), I = sum(w p t).
soft_jaccard = partial(tversky, alpha=1.0, beta=1.0)


def lovasz(
    logits: Array,
    target: Array,
    weight: Array,
    *,
    exclusive: bool = False,
    reduction: str = "batch",
    classes: str = "together",
) -> Array:
    """Lovász extension of the Jaccard loss: the Lovász hinge, or the Lovász-softmax.

    The hinge is for sigmoids: the extension in the errors max(0, 1 - x (2 t - 1)) of the logits x.
    The softmax is for `exclusive` classes: the extension in the errors |t - p|, p = softmax(x)
    (Berman et al. 2018, "The Lovász-Softmax loss: a tractable surrogate for the optimization of the
    intersection-over-union measure in neural networks"). The weights of the pixels multiply their
    counts in the Jaccard loss. An empty truth gives the largest error; no pixels give 0.

    Shapes and errors as for `tversky`, but the target is 0 or 1.
    """
    check_same_shape(logits, target)
    wide = broadcast(weight, logits)
    truth = included(target, wide)
    if exclusive:
        errors = jnp.abs(truth - _probability(logits, weight, exclusive))
    else:
        errors = jax.nn.relu(1 - included(logits, wide) * (2 * truth - 1))
    axes = _summed_axes(errors, reduction, classes)
    truth = wide * truth
    errors, truth, other = (_flattened(x, axes) for x in (errors, truth, wide - truth))
    order = jnp.argsort(errors, axis=-1, descending=True)
    errors, truth, other = (jnp.take_along_axis(x, order, axis=-1) for x in (errors, truth, other))
    loss = jnp.sum(errors * _jaccard_increments(truth, other), axis=-1)
    loss = _mean_over_classes(loss, jnp.sum(truth, axis=-1) > 0, classes)
    return jnp.broadcast_to(loss, logits.shape[:1])


def dice_coefficient(probability: Array, target: Array, weight: Array) -> Array:
    """Dice coefficient (Dice 1945), 2 sum(w p t) / (sum(w p) + sum(w t)), in [0, 1].

    The sums are over all axes but the first. 1 where truth and prediction are both empty, or all
    elements are excluded. Shapes: `probability` and `target` [B, ...] alike; the result is [B].
    """
    check_same_shape(probability, target)
    weight = broadcast(weight, probability)
    p, t = included(probability, weight), included(target, weight)
    return _tversky_index(p, t, weight, reduced_axes(p, "image"))


def _tversky_index(
    p: Array,
    t: Array,
    weight: Array,
    axes: tuple[int, ...],
    alpha: float = 0.5,
    beta: float = 0.5,
    smoothing: float = 0.0,
) -> Array:
    """Return Tversky's index of the included elements, 1 for 0/0."""
    both = p * t
    intersection = jnp.sum(weight * both, axis=axes) + smoothing
    # tp + alpha fp + beta fn of each element, multiplied out: no difference of sums, and for Dice
    # exactly half of p + t.
    union = jnp.sum(weight * (alpha * p + beta * t + (1 - alpha - beta) * both), axis=axes)
    union = union + smoothing
    empty = union < EMPTY
    return jnp.where(empty, 1.0, intersection / jnp.where(empty, 1.0, union))


def _jaccard_increments(truth: Array, other: Array) -> Array:
    """Return how much the Jaccard loss grows with each wrong pixel, from the first to the last.

    After some pixels the loss is (missed + extra) / (total + extra), with the weights of the wrong
    pixels in the truth [..., N] (missed) and outside, in `other` (extra). The difference of two
    such values is computed in closed form: a subtraction would leave rounding errors only.
    """
    total = jnp.sum(truth, axis=-1, keepdims=True)
    found, union = total - jnp.cumsum(truth, axis=-1), total + jnp.cumsum(other, axis=-1)
    before = union - other
    # With an empty truth the union is empty before the first pixel, which makes the loss 1.
    of_other = jnp.where(before > 0, found / jnp.where(before > 0, before, 1.0), 1.0)
    return (truth + other * of_other) / jnp.where(union > 0, union, 1.0)


def _probability(logits: Array, weight: Array, exclusive: bool) -> Array:
    # Before the sigmoid: after it, the NaN of an excluded element would reach the gradient.
    logits = included(logits, weight)
    if not exclusive:
        return jax.nn.sigmoid(logits)
    check_class_axis(logits)
    return jax.nn.softmax(logits, where=softmax_columns(weight))


def _summed_axes(values: Array, reduction: str, classes: str) -> tuple[int, ...]:
    axes = reduced_axes(values, reduction)
    check_choice("loss.classes", classes, ("together", "all", "present"))
    if classes == "together":
        return axes
    check_class_axis(values)
    return axes[:-1]


def _flattened(values: Array, axes: tuple[int, ...]) -> Array:
    """Return `values` with `axes` moved to the end and merged into one axis."""
    kept = [axis for axis in range(values.ndim) if axis not in axes]
    moved = jnp.moveaxis(values, kept, range(len(kept)))
    return moved.reshape(*moved.shape[: len(kept)], -1)


def _mean_over_classes(loss: Array, occurs: Array, classes: str) -> Array:
    """Return the mean of `loss` [..., K] over `classes`; with "together" `loss` [...] itself."""
    if classes == "together":
        return loss
    if classes == "all":
        return jnp.mean(loss, axis=-1)
    total = jnp.sum(jnp.where(occurs, loss, 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(occurs, axis=-1), 1)
