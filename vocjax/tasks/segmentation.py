"""Task 3: the class of each pixel, or whether a pixel belongs to any class."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses, painting
from vocjax.data.classes import classes_of
from vocjax.errors import UserError, check_range
from vocjax.metrics import confusion, streaming
from vocjax.models import build
from vocjax.models.segmenter import Segmenter
from vocjax.tasks import own_size, segmentation_baselines, task
from vocjax.tasks.pixel_classes import (
    FOREGROUND,
    PixelClasses,
    decide,
    decide_at,
    foreground_of,
    pixel_classes,
    probability_of,
    seen_of,
    truth_of,
)
from vocjax.tasks.segmentation_eval import THRESHOLDS, finish, of_objects

THRESHOLD = 0.5  # of the hard metrics in each epoch; the final evaluation chooses one on train


def make_task(config: ConfigDict, model: nn.Module | None = None) -> task.Task:
    """Build the task of a config; `UserError` where its fields don't fit together.

    A `model` of your own takes the place of the config's: a Linen module that maps images to
    (logits [batch, height, width, outputs], code).
    """
    if config.data.image_set != "Segmentation":
        raise UserError(
            f"data.image_set is {config.data.image_set!r}; segmentation needs Segmentation, "
            "the images that have masks."
        )
    classes = pixel_classes(config)
    exclusive, auxiliary = classes.kind == "softmax", config.loss.get("auxiliary", 0.0)
    check_range("loss.auxiliary", auxiliary, 0)
    losses.check_factors(config.loss.get("class_weights", ()), classes.names[not exclusive :])
    pixel_loss = losses.make_pixel_loss(config.loss, exclusive)
    model = model or build.segmenter(config, classes.outputs)
    view = own_size.view_of(config, model, classes.outputs)

    def loss(outputs: task.Outputs, targets: task.Targets) -> jax.Array:
        truth = targets["wanted"], targets["pixel_weight"]
        value = pixel_loss(outputs["logits"], *truth)
        if "auxiliary" in outputs:
            value = value + auxiliary * pixel_loss(outputs["auxiliary"], *truth)
        return value

    return task.Task(
        init=task.initializer(model, config),
        apply=partial(apply, model, config.evaluation.flip),
        targets=partial(targets_of, classes),
        loss=loss,
        measure=partial(measure, classes),
        summary=summary,
        finish=partial(finish, classes, seen=seen_of(config)),
        baselines=segmentation_baselines.baselines(classes),
        features=task.FrozenFeatures("maps", partial(features_of, model), before=False)
        if isinstance(model, Segmenter)
        else None,
        own_size=view and partial(own_size.logits_of, view),
    )


def apply(
    model: nn.Module,
    flips: bool,
    variables: task.Variables,
    batch: task.Batch,
    train: bool,
    key: jax.Array,
) -> tuple[task.Outputs, Any]:
    """Return the logits of a batch's pixels, the code, and the batch statistics after it.

    A network with an auxiliary head adds its logits, `auxiliary`. `maps` in the batch are known to
    the encoder. In evaluation, `flips` averages the logits with those of the mirrored images, whose
    maps are not known.
    """
    (logits, code, *auxiliary), updates = model.apply(
        variables,
        batch["image"],
        *([batch["maps"]] if "maps" in batch else []),
        train=train,
        valid=batch["valid"],
        rngs={"dropout": key},
        mutable=["batch_stats"] if train else [],
    )
    if flips and not train:
        images, valid = batch["image"][:, :, ::-1], batch["valid"]
        mirrored, *_ = model.apply(variables, images, train=False, valid=valid)
        logits = (logits + mirrored[:, :, ::-1]) / 2
    outputs = {"logits": logits, "code": code}
    if auxiliary:
        outputs["auxiliary"] = auxiliary[0]
    return outputs, updates.get("batch_stats", variables["batch_stats"])


def features_of(
    model: Segmenter, frozen: frozenset[str]
) -> Callable[[task.Variables, task.Batch], Any] | None:
    """Return what computes the maps that stand still, by stage; None if all stages learn."""
    stages = model.settled(frozen)
    if not stages:
        return None
    return lambda variables, batch: model.apply(variables, batch["image"], stages, method="maps")


def targets_of(classes: PixelClasses, batch: task.Batch) -> task.Targets:
    """Return what the masks of a batch ask for: what `truth_of` gives, and our indices with void.

    `weight` [batch] is 0 for an image that is all void.
    """
    index, wanted, pixel_weight = truth_of(classes, batch["mask"], batch["valid"])
    return {
        "image": batch["image"],
        "mask": jnp.asarray(classes.indices)[batch["mask"]],
        "index": index,
        "wanted": wanted,
        "pixel_weight": pixel_weight,
        "weight": (pixel_weight > 0).any(axis=(1, 2, 3)).astype(jnp.float32),
    }


def measure(classes: PixelClasses, outputs: task.Outputs, targets: task.Targets) -> task.Measures:
    """Sum foreground's Dice and IoU per image and over the set, and the confusion matrix.

    Every image's Dice is kept, soft and at each threshold; image, mask and probability are shown.
    """
    index, weight = targets["index"], targets["pixel_weight"][..., 0]
    probability = probability_of(classes, outputs["logits"])
    covered, truth = foreground_of(classes, probability), (index > 0).astype(jnp.float32)
    soft = losses.dice_coefficient(covered, truth, weight)
    decided = decide(classes, probability, THRESHOLD)
    values = {
        "soft_dice_per_image": soft,
        "soft_iou_per_image": streaming.iou_per_image(soft),
        "hard_dice_per_image": streaming.hard_dice_per_image(decided, truth, weight, 0),
    }
    by_threshold = streaming.hard_dice_by_threshold(covered, truth, weight, THRESHOLDS)
    sums = {
        "means": {name: streaming.mean(of, targets["weight"]) for name, of in values.items()},
        "overlap": overlap(covered, truth, weight),
        "confusion": confusion.count(decided, index, weight, len(classes.names)),
    }
    kept = {"soft_dice_per_image": soft, "hard_dice_by_threshold": by_threshold}
    kept["object"] = ((truth > 0) & (weight > 0)).any(axis=(1, 2))
    shown = {"probability": covered, "prediction": decided.astype(jnp.uint8)}
    shown |= {name: targets[name] for name in ("image", "mask")}
    return task.Measures(sums, {}, kept, shown)


def summary(sums: dict[str, Any], rows: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Divide the sums: Dice and IoU per image, then those of the whole set.

    Without an object in the truth there is only the accuracy of pixels, the others are NaN.
    """
    counts, (both, total) = sums["confusion"], sums["overlap"]
    merged = confusion.foreground(counts)
    of_set = {
        "soft_dice_of_set": 2 * both / total if total else 1.0,
        "hard_dice_of_set": confusion.dice(merged)[1],
        "iou_of_set": confusion.iou(merged)[1],
        "mean_iou": confusion.mean_iou(counts),
        "frequency_weighted_iou": confusion.frequency_weighted_iou(counts),
        "pixel_accuracy": confusion.pixel_accuracy(counts),
    }
    means = {name: streaming.value(mean) for name, mean in sums["means"].items()}
    return of_objects(means | {name: float(value) for name, value in of_set.items()}, counts)


def overlap(
    probability: jax.Array, truth: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sum w p t and w (p + t) of arrays alike, [] float32: what soft Dice over a set divides."""
    p, t = (jnp.where(weight > 0, x, 0.0) for x in (probability, truth))
    return (p * t).sum(), (p + t).sum()


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: ConfigDict,
    results: Mapping[str, Any],
) -> task.Description:
    """Return each found class's share of the photo, its mask over the photo, and the mask.

    Scores are resized to the photo, then decided, at the threshold that the run chose on
    train. The mask has the data set's indices and palette; a merged foreground has index 1.
    """
    classes = pixel_classes(config)
    threshold = results.get("threshold", THRESHOLD)
    index = decide_at(classes, outputs["logits"], photo.shape[:2], threshold, seen_of(config))
    shares = [np.count_nonzero(index == i) / index.size for i in range(len(classes.names))]
    numbers = {
        name: float(share)
        for name, share in zip(classes.names, shares, strict=True)
        if share or name in ("background", *FOREGROUND)
    }
    mask, colours = classes.own_indices[index], classes_of(config.data).palette
    palette = Image.fromarray(mask)
    palette.putpalette(colours.tobytes())
    overlay = Image.fromarray(painting.overlay(photo, mask, colours))
    found = {
        name: tuple(colours[index].tolist())
        for name, index in zip(classes.names, classes.own_indices, strict=True)
        if index and numbers.get(name, 0) > 0
    }
    return task.Description(numbers, {"": painting.with_legend(overlay, found), "_mask": palette})
