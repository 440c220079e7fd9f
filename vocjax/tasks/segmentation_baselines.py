"""Predictions that are the same for every image: the baselines of task 3."""

from collections.abc import Iterator, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from vocjax.metrics import streaming
from vocjax.tasks.pixel_classes import PixelClasses, truth_of
from vocjax.tasks.segmentation_eval import ALL_BACKGROUND, ALL_FOREGROUND, BEST_MASK, THRESHOLDS
from vocjax.tasks.task import Baseline, Batch, Fit, Outputs

SURE = 100.0  # sigmoid(100) is 1 in float32, sigmoid(-100) is 0


def baselines(classes: PixelClasses) -> Mapping[str, Baseline]:
    """Return what is constant: all foreground and the best mask (one foreground), all background.

    The best mask is what a model can score that knows only where objects are in a photograph: the
    share of training images in which a pixel is object, cut where their mean hard Dice is best.
    """
    fits = {ALL_BACKGROUND: _fit_pixel(classes, 0)}
    if classes.kind == "foreground":
        foreground, best = _fit_pixel(classes, 1), partial(_fit_mask, classes)
        fits = {ALL_FOREGROUND: foreground, **fits, BEST_MASK: best}
    return {name: Baseline(fit, _constant) for name, fit in fits.items()}


def _constant(logits: jax.Array, batch: Batch) -> Outputs:
    return {"logits": jnp.broadcast_to(logits, (*batch["mask"].shape, logits.shape[-1]))}


def _fit_pixel(classes: PixelClasses, index: int) -> Fit:
    """Return a fit of one class's logits [outputs]: its result, not a constant that XLA folds."""
    column = index if classes.kind == "softmax" else index - 1
    return lambda batches: jnp.where(jnp.arange(classes.outputs) == column, SURE, -SURE)


def _fit_mask(classes: PixelClasses, batches: Iterator[Batch]) -> jax.Array:
    # Masks are small, and the cut needs them once more after their mean is known.
    held = [(batch["mask"], batch["valid"]) for batch in batches]
    mask, valid = (jnp.concatenate(arrays) for arrays in zip(*held, strict=True))
    index, _, weight = truth_of(classes, mask, valid)
    shown, weight = (index > 0).astype(jnp.float32), weight[..., 0]
    share = (shown * weight).sum(axis=0) / jnp.maximum(weight.sum(axis=0), 1)
    everywhere = jnp.broadcast_to(share, shown.shape)
    dice = streaming.hard_dice_by_threshold(everywhere, shown, weight, THRESHOLDS)
    chosen = jnp.asarray(THRESHOLDS)[dice.mean(axis=0).argmax()]
    return jnp.where(share > chosen, SURE, -SURE)[..., None]
