"""Task 3: which pixels belong to an object, all classes merged into one foreground."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vocjax import figures as draw
from vocjax import losses, metrics
from vocjax.data.devkit import PALETTE, VOID
from vocjax.errors import UserError
from vocjax.models.autoencoder import encoder_and_decoder
from vocjax.models.layers import STYLE_FIELDS, check_fields
from vocjax.models.segmenter import Segmenter
from vocjax.tasks.task import (
    Baseline,
    Batch,
    Outputs,
    Task,
    applier,
    check_encoder_and_decoder,
    compute_dtype,
    initializer,
)

THRESHOLD = 0.5  # of the hard metrics: fixed, so that nothing is tuned on any split
LOSSES = ("binary_cross_entropy", "soft_dice")


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    if config.data.image_set != "Segmentation":
        raise UserError(
            f"data.image_set is {config.data.image_set!r}; segmentation needs Segmentation, "
            "the images that have masks."
        )
    if config.loss.name not in LOSSES:
        raise UserError(f"loss.name is {config.loss.name!r}; it is one of {', '.join(LOSSES)}.")
    if not 0 <= config.loss.smoothing < math.inf:
        raise UserError(f"loss.smoothing is {config.loss.smoothing}; it must be at least 0.")
    model = build_model(config)

    def loss(outputs: Outputs, batch: Batch) -> jax.Array:
        truth, weight = target(batch)
        if config.loss.name == "binary_cross_entropy":
            return losses.binary_cross_entropy(outputs["logits"], truth, weight)
        return losses.soft_dice(
            outputs["logits"],
            truth,
            weight,
            reduction=config.loss.reduction,
            smoothing=config.loss.smoothing,
        )

    return Task(
        init=initializer(model, config),
        fit=None,
        apply=applier(model, ("logits", "code")),
        loss=loss,
        metrics=measure,
        summary=summary,
        keep=keep,
        baselines={
            "all foreground": Baseline(lambda batches: jnp.zeros(()), _all_foreground),
        },
    )


def build_model(config: ConfigDict) -> Segmenter:
    """Return the segmenter that `config.model` describes."""
    model = config.model
    if model.name != "segmenter":
        raise UserError(f"model.name is {model.name!r}; segmentation has segmenter.")
    check_fields(model, ("encoder", "decoder", *STYLE_FIELDS))
    check_encoder_and_decoder(config)
    return Segmenter(*encoder_and_decoder(model, 1, compute_dtype(config)))


def target(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Return (foreground, weight), [batch, height, width] float32; void and padding weigh 0."""
    mask = batch["mask"]
    weight = (mask != VOID) * batch["valid"][:, None, None]
    return ((mask > 0) & (mask != VOID)).astype(jnp.float32), weight.astype(jnp.float32)


def measure(outputs: Outputs, batch: Batch) -> dict[str, Any]:
    """Sum Dice and IoU per image, and the confusion matrix of background and foreground."""
    truth, weight = target(batch)
    probability = jax.nn.sigmoid(outputs["logits"])
    soft = metrics.soft_dice_per_image(probability, truth, weight)
    values = {
        "soft_dice": soft,
        "soft_iou": metrics.iou_per_image(soft),
        "hard_dice": metrics.hard_dice_per_image(probability, truth, weight, THRESHOLD),
    }
    decided = (probability > THRESHOLD).astype(jnp.int32)
    means = {name: metrics.mean(value, batch["valid"]) for name, value in values.items()}
    return means | {"confusion": metrics.confusion(decided, truth.astype(jnp.int32), weight, 2)}


def summary(sums: dict[str, Any]) -> dict[str, float]:
    """Divide the sums: per-image Dice and IoU, foreground IoU and pixel accuracy over the set."""
    confusion = sums["confusion"]
    means = {name: metrics.value(s) for name, s in sums.items() if isinstance(s, metrics.Mean)}
    return means | {
        "iou": float(metrics.iou(confusion)[1]),
        "pixel_accuracy": float(metrics.pixel_accuracy(confusion)),
    }


def keep(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
    """Keep every image's soft Dice; show image, mask and probability."""
    truth, weight = target(batch)
    probability = jax.nn.sigmoid(outputs["logits"])
    return (
        {"soft_dice": metrics.soft_dice_per_image(probability, truth, weight)},
        {"image": batch["image"], "mask": batch["mask"], "probability": probability},
    )


def _all_foreground(statistic: Any, batch: Batch) -> Outputs:
    return {"logits": jnp.full(batch["mask"].shape, 100.0)}  # sigmoid(100) is 1 in float32


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: Mapping[str, Any],
) -> tuple[dict[str, float], np.ndarray]:
    """Return the foreground's share, and the mask over `photo` at its own size.

    `outputs` are one example's; the probability is resized to the photo, then thresholded.
    """
    probability = np.exp(-np.logaddexp(0, -outputs["logits"].astype(np.float64)))
    size = photo.shape[1], photo.shape[0]
    resized = Image.fromarray(probability.astype(np.float32)).resize(
        size, Image.Resampling.BILINEAR
    )
    mask = np.asarray(resized) > THRESHOLD
    overlay = draw.overlay(photo, mask.astype(np.uint8), PALETTE)
    return {"foreground": float(mask.mean())}, overlay
