"""Which pixels a cross-entropy or a focal loss counts, and how much: classes, and hard examples."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from vocjax.errors import UserError
from vocjax.losses.classes import weighed
from vocjax.losses.weights import weighted_mean

Loss = Callable[..., Array]


def of_pixels(
    loss: Loss, factors: Sequence[float], share: float, *, exclusive: bool, reduction: str
) -> Loss:
    """Return a loss of pixels that multiplies classes by factors, and counts the hardest alone.

    `loss` is one of `classes`, with the mean over an example's elements. Each pixel's value is
    multiplied by the factor of its class; where classes don't exclude each other, the element of a
    present class is, as with PyTorch's pos_weight. The mean doesn't divide by factors. Then only
    the `share` of the pixels counts that have the largest values, of each image or of the batch,
    as `reduction` has it (online hard examples; Shrivastava et al. 2016, "Training region-based
    object detectors with online hard example mining"). Void is no pixel.

    Shapes: logits and truth [B, H, W, K], weight [B, H, W, 1]; the result is [B].
    """

    def mean_of_pixels(logits: Array, truth: Array, weight: Array) -> Array:
        rows = [x.reshape(-1, 1, 1, x.shape[-1]) for x in (logits, truth, weight)]
        values = weighed(loss, factors, exclusive)(*rows, rows[1]) if factors else loss(*rows)
        values, counted = values.reshape(logits.shape[:3]), weight[..., 0]
        if share < 1:
            axes = (1, 2) if reduction == "image" else (0, 1, 2)
            counted = counted * hardest(jax.lax.stop_gradient(values), counted > 0, share, axes)
        return weighted_mean(values, counted, reduction=reduction)

    return mean_of_pixels


def hardest(values: Array, counted: Array, share: float, axes: tuple[int, ...]) -> Array:
    """Return which of the counted values are among the largest, the share of them along axes.

    At least one is, and all that equal the least of them. `values` float32 and `counted` bool are
    [B, H, W]; the result is bool and alike.
    """
    kept = values.shape[: 3 - len(axes)]
    flat = jnp.where(counted, values, -jnp.inf).reshape(*kept, -1)
    number = jnp.ceil(share * counted.reshape(*kept, -1).sum(axis=-1)).astype(int)
    place = jnp.maximum(number - 1, 0)[..., None]
    least = jnp.take_along_axis(jnp.sort(flat, axis=-1, descending=True), place, axis=-1)
    return counted & (flat >= least).reshape(values.shape)


def check_factors(factors: Sequence[float], names: Sequence[str]) -> None:
    """Raise `UserError` unless `loss.class_weights` is empty or a positive number for each name."""
    numbers = all(isinstance(f, int | float) and 0 < f < math.inf for f in factors)
    if factors and (len(factors) != len(names) or not numbers):
        raise UserError(
            f"loss.class_weights is {factors!r}; it is empty or {len(names)} positive numbers, "
            f"for {', '.join(names)}."
        )
