"""Task 3: to which class each pixel belongs, or whether to any."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses
from vocjax.data.devkit import PALETTE
from vocjax.errors import UserError
from vocjax.metrics import confusion, segmentation, streaming
from vocjax.reporting import figures as draw
from vocjax.tasks import constant_masks, scoring
from vocjax.tasks.pixel_networks import build_model
from vocjax.tasks.targets import (
    FOREGROUND,
    Target,
    decide,
    foreground_of,
    make_target,
    probability_of,
    truth_of,
)
from vocjax.tasks.task import Batch, Description, Outputs, Task, applier, initializer

THRESHOLD = 0.5  # of the hard metrics by epoch; the one chosen on train comes at the end


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    if config.data.image_set != "Segmentation":
        raise UserError(
            f"data.image_set is {config.data.image_set!r}; segmentation needs Segmentation, "
            "the images that have masks."
        )
    target = make_target(config)
    pixel_loss = losses.make_pixel_loss(config.loss, exclusive=target.kind == "softmax")
    model = build_model(config, target.outputs)

    def loss(outputs: Outputs, batch: Batch) -> jax.Array:
        _, truth, weight = truth_of(target, batch["mask"], batch["valid"])
        return pixel_loss(outputs["logits"], truth, weight)

    def counted(batch: Batch) -> jax.Array:  # an image that is all void has no part
        _, _, weight = truth_of(target, batch["mask"], batch["valid"])
        return (weight > 0).any(axis=(1, 2, 3))

    return Task(
        init=initializer(model, config),
        fit=None,
        apply=applier(model, ("logits", "code")),
        loss=loss,
        metrics=partial(measure, target),
        summary=partial(summary, target),
        keep=partial(keep, target),
        baselines=constant_masks.baselines(target),
        score=partial(scoring.score, target),
        counted=counted,
    )


def measure(target: Target, outputs: Outputs, batch: Batch) -> dict[str, Any]:
    """Sum foreground's Dice and IoU per image and over the set, and the confusion matrix."""
    index, _, weight = truth_of(target, batch["mask"], batch["valid"])
    probability, weight = probability_of(target, outputs["logits"]), weight[..., 0]
    covered, shown = foreground_of(target, probability), (index > 0).astype(jnp.float32)
    soft = streaming.soft_dice_per_image(covered, shown, weight)
    decided = decide(target, probability, THRESHOLD)
    values = {
        "soft_dice_per_image": soft,
        "soft_iou_per_image": streaming.iou_per_image(soft),
        "hard_dice_per_image": streaming.hard_dice_per_image(decided, shown, weight, 0),
    }
    # Of an image that is all void there is no Dice.
    seen = (weight > 0).any(axis=(1, 2)).astype(jnp.float32)
    return {
        "means": {name: streaming.mean(value, seen) for name, value in values.items()},
        "overlap": overlap(covered, shown, weight),
        "confusion": confusion.count(decided, index, weight, len(target.names)),
    }


def summary(target: Target, sums: dict[str, Any]) -> dict[str, float]:
    """Divide the sums: Dice and IoU per image, then what is of the whole set."""
    counts, (both, either) = sums["confusion"], sums["overlap"]
    merged = confusion.foreground(counts)
    of_set = {
        "soft_dice_of_set": 2 * both / either if either else 1.0,
        "hard_dice_of_set": confusion.dice(merged)[1],
        "iou_of_set": confusion.iou(merged)[1],
        "mean_iou": confusion.mean_iou(counts),
        "frequency_weighted_iou": confusion.frequency_weighted_iou(counts),
        "pixel_accuracy": confusion.pixel_accuracy(counts),
    }
    means = {name: streaming.value(mean) for name, mean in sums["means"].items()}
    return means | {name: float(value) for name, value in of_set.items()}


def overlap(
    probability: jax.Array, truth: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sum w p t and w (p + t) over a batch, [] float32: what soft Dice over a set divides.

    Shapes: `probability`, `truth` and `weight` alike.
    """
    p, t = (jnp.where(weight > 0, x, 0.0) for x in (probability, truth))
    return (p * t).sum(), (p + t).sum()


def keep(target: Target, outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
    """Keep every image's Dice, soft and at each threshold; show image, mask and probability."""
    index, _, weight = truth_of(target, batch["mask"], batch["valid"])
    probability, weight = probability_of(target, outputs["logits"]), weight[..., 0]
    covered, shown = foreground_of(target, probability), (index > 0).astype(jnp.float32)
    every = {
        "soft_dice_per_image": streaming.soft_dice_per_image(covered, shown, weight),
        "hard_dice_by_threshold": streaming.hard_dice_by_threshold(
            covered, shown, weight, scoring.THRESHOLDS
        ),
    }
    some = {
        "image": batch["image"],
        "mask": jnp.asarray(target.indices)[batch["mask"]],
        "probability": covered,
        "prediction": decide(target, probability, THRESHOLD).astype(jnp.uint8),
    }
    return every, some


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: ConfigDict,
    results: Mapping[str, Any],
) -> Description:
    """Return each found class's share of the photo, its mask over the photo, and the mask.

    `outputs` are one example's; probabilities are resized to the photo, then decided, at the
    threshold that the run chose on its training images. The mask has VOC's indices and palette; a
    merged foreground has index 1.
    """
    target = make_target(config)
    probability = probability_of(target, jnp.asarray(outputs["logits"]))
    scores = segmentation.resize_scores(np.asarray(probability), *photo.shape[:2])
    index = decide(target, scores, results.get("threshold", THRESHOLD))
    shares = np.bincount(index.ravel(), minlength=len(target.names)) / index.size
    numbers = {
        name: float(share)
        for name, share in zip(target.names, shares, strict=True)
        if share or name in ("background", *FOREGROUND)
    }
    mask = target.voc_indices[index]
    palette = Image.fromarray(mask)
    palette.putpalette(PALETTE.tobytes())
    overlay = Image.fromarray(draw.overlay(photo, mask, PALETTE))
    found = {
        name: tuple(PALETTE[index].tolist())
        for name, index in zip(target.names, target.voc_indices, strict=True)
        if index and numbers.get(name, 0) > 0
    }
    return Description(numbers, {"": draw.with_legend(overlay, found), "_mask": palette})
