"""Losses: one value per example, [B] float32, computed in float32 whatever the inputs' type.

`weight` says how much each element counts. It has the rank of the array it weighs and that array's
size or 1 along each axis; 0 excludes an element, whatever stands there (void pixels, difficult
labels, padding). Each function raises ValueError at trace time where shapes don't fit.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from vocjax.errors import UserError

# Below this sum a Dice denominator counts as empty: the gradient of a division squares it, and the
# square of anything much smaller is zero in float32, which makes the gradient NaN.
EMPTY = 1e-12

# Structural similarity as Wang et al. (2004) set it: pixels and deviation of the Gaussian window,
# and the squares of K1 and K2 for values in [0, 1].
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


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


def dissimilarity(prediction: Array, target: Array) -> Array:
    """Structural dissimilarity, 1 - `structural_similarity`: 0 where the two are equal, at most 2.

    Shapes: `prediction` and `target` [B, H, W, C] alike; the result is [B].
    """
    return 1 - structural_similarity(prediction, target)


def structural_similarity(prediction: Array, target: Array) -> Array:
    """Structural similarity (SSIM) of images with values in [0, 1], in [-1, 1], 1 where equal.

    The mean over channels, and over the Gaussian windows that lie wholly inside, of
    (2 m_p m_t + C1)(2 s_pt + C2) / ((m_p^2 + m_t^2 + C1)(s_p^2 + s_t^2 + C2)), with the windows'
    means m, variances s^2 and covariance s_pt (Wang et al. 2004, "Image quality assessment: from
    error visibility to structural similarity"). ValueError for images of less than 11 pixels.

    Shapes: `prediction` and `target` [B, H, W, C] alike; the result is [B].
    """
    _check_same_shape(prediction, target)
    if prediction.ndim != 4 or min(prediction.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"structural similarity needs [B, H, W, C] with H and W at least {SSIM_WINDOW}, "
            f"not {prediction.shape}"
        )
    # Variances don't depend on the origin, but the rounding of their differences of squares does.
    p, t = (x.astype(jnp.float32) - 0.5 for x in (prediction, target))
    vertical, horizontal = (_gaussian_windows(n) for n in p.shape[1:3])
    mean_p, mean_t, mean_squares, mean_product = jnp.einsum(
        "uh,vw,sbhwc->sbuvc",
        vertical,
        horizontal,
        jnp.stack([p, t, p**2 + t**2, p * t]),
        precision=jax.lax.Precision.HIGHEST,
    )
    variances = mean_squares - mean_p**2 - mean_t**2
    covariance = mean_product - mean_p * mean_t
    mean_p, mean_t = mean_p + 0.5, mean_t + 0.5
    luminance = (2 * mean_p * mean_t + SSIM_C1) / (mean_p**2 + mean_t**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def binary_cross_entropy(logits: Array, target: Array, weight: Array) -> Array:
    """Binary cross-entropy, -sum w (t log p + (1 - t) log(1 - p)) / sum w, p = sigmoid(logits).

    Stable for logits of any size. An example whose elements are all excluded gives 0.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; the result is [B].
    """
    _check_same_shape(logits, target)
    weight = _broadcast(weight, logits)
    logits, target = _included(logits, weight), _included(target, weight)
    return weighted_mean(optax.sigmoid_binary_cross_entropy(logits, target), weight)


def focal(logits: Array, target: Array, weight: Array, gamma: float) -> Array:
    """Binary focal loss, -sum w (1 - p_t)^gamma log p_t / sum w, p_t the truth's probability.

    For a target between 0 and 1, p_t = t p + (1 - t)(1 - p) in the power, and the cross-entropy
    stands for -log p_t, so that gamma 0 is `binary_cross_entropy`. No alpha: `class_weights` weighs
    classes (Lin et al. 2017, "Focal loss for dense object detection"). Stable for logits of any
    size. An example whose elements are all excluded gives 0.

    Shapes: `logits` and `target` [B, ...] alike, target in [0, 1]; gamma at least 0; the result is
    [B].
    """
    _check_same_shape(logits, target)
    weight = _broadcast(weight, logits)
    logits, target = _included(logits, weight), _included(target, weight)
    # 1 - p_t, without the cancellation of that difference.
    wrong = target * jax.nn.sigmoid(-logits) + (1 - target) * jax.nn.sigmoid(logits)
    # At 0 a power below 1 has an infinite derivative, which times 0 would be NaN.
    modulation = jnp.maximum(wrong, jnp.finfo(jnp.float32).tiny) ** gamma
    entropy = optax.sigmoid_binary_cross_entropy(logits, target)
    return weighted_mean(modulation * entropy, weight)


def softmax_cross_entropy(logits: Array, target: Array, weight: Array) -> Array:
    """Cross-entropy of classes that exclude each other, -sum w y log p, p = softmax(logits).

    y is the target divided by its sum over included columns: an image with two present classes
    shares itself between them. Excluded columns have no part in the softmax either. Where all
    weights are 1 the gradient is p - y. Stable for logits of any size. An example without an
    included present class gives 0, its gradient too.

    Shapes: `logits` and `target` [B, K] alike, target in [0, 1]; the result is [B].
    """
    _check_same_shape(logits, target)
    weight = _broadcast(weight, logits)
    included = weight > 0
    # A softmax of no columns would be 0/0, and reach the gradient as NaN.
    columns = included | ~included.any(axis=1, keepdims=True)
    log_p = jax.nn.log_softmax(_included(logits, weight), where=columns)
    return -jnp.sum(weight * _shares(target, weight) * _included(log_p, weight), axis=1)


def smooth_labels(target: Array, weight: Array, amount: float, exclusive: bool) -> Array:
    """Smooth a target, t (1 - a) + a u, for `amount` a in [0, 1].

    u is 1/2 where every class is a question of its own (sigmoids). Where classes exclude each other
    (softmax) it is the mean of t over the example's included columns, 1 / their number for one
    present class (Szegedy et al. 2016, "Rethinking the inception architecture for computer
    vision"), and 0 for none. Excluded columns stay as they are.

    Shapes: `target` [B, K] in [0, 1]; the result is float32 and alike.
    """
    target, weight = target.astype(jnp.float32), _broadcast(weight, target)
    included = (weight > 0).astype(jnp.float32)
    uniform = weighted_mean(target, included)[:, None] if exclusive else 0.5
    return jnp.where(weight > 0, target * (1 - amount) + amount * uniform, target)


def class_weights(target: Array, weight: Array, factors: Array, exclusive: bool) -> Array:
    """Weight with which a present class counts by its factor f.

    Sigmoids: w_k (1 - t_k + t_k f_k); a present class's element counts f_k times, as with PyTorch's
    pos_weight, except that our mean divides by the sum of the weights. Exclusive classes:
    w_k sum_j y_j f_j, which multiplies the example's `softmax_cross_entropy` by its class's factor,
    or by the mean factor of several (y as there), as PyTorch's CrossEntropyLoss(weight=f,
    reduction="none") does. Take the target from before `smooth_labels`.

    Shapes: `target` [B, K] in [0, 1], `factors` [K], at least 0; the result is [B, K] float32.
    """
    weight, factors = _broadcast(weight, target), jnp.asarray(factors, jnp.float32)
    if factors.shape != target.shape[1:]:
        raise ValueError(f"factors {factors.shape} and target {target.shape} differ in classes")
    if exclusive:
        return weight * jnp.sum(_shares(target, weight) * factors, axis=1, keepdims=True)
    target = _included(target, weight)
    return weight * (1 - target + target * factors)


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


def _gaussian_windows(n: int) -> np.ndarray:
    """Weights [windows, n] float32 of all windows inside n pixels; each sums to 1.

    As one matrix: XLA:CPU is ten times slower at a convolution by channel.
    """
    first = np.arange(n - SSIM_WINDOW + 1)[:, None]
    offset = np.arange(n) - first - SSIM_WINDOW // 2
    weights = np.where(
        abs(offset) <= SSIM_WINDOW // 2, np.exp(-0.5 * (offset / SSIM_SIGMA) ** 2), 0
    )
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _shares(target: Array, weight: Array) -> Array:
    """Return how an example [B, K] is shared between its included present classes; 0 for none."""
    if target.ndim != 2:
        raise ValueError(f"classes that exclude each other need [B, K], not {target.shape}")
    target = _included(target, weight)
    total = jnp.sum(target, axis=1, keepdims=True)
    return target / jnp.where(total > 0, total, 1.0)


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
