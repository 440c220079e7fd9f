"""The final evaluation of task 3: at the images' own size, at a threshold chosen on train."""

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vocjax.data.pipeline import resize_mask
from vocjax.metrics import confusion, segmentation
from vocjax.tasks.pixel_classes import PixelClasses, decide, probability_of
from vocjax.tasks.task import Final, Trained

THRESHOLDS = np.arange(1, 100) / 100  # the one that is chosen is one of these
SHOWN = 4  # of the best images, and of the worst

ALL_BACKGROUND, ALL_FOREGROUND = "all background", "all foreground"
BEST_MASK = "one mask for all"
OURS = "the model"


class Seen(NamedTuple):
    """An image as the model saw it, [size, size, channels] uint8, and its masks [size, size]."""

    value: float  # the mean IoU
    number: int
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class Values(NamedTuple):
    """An image at its own size: its confusion matrix, the Dice of its foreground, boundary F."""

    counts: np.ndarray
    dice: float
    boundary: float


# Heaps whose first image is the one to go.
Ranked = dict[str, list[tuple[float, int, Seen]]]


def finish(classes: PixelClasses, trained: Trained) -> Final:
    """Score a split's images, and constant predictions, as VOC does: at the size of their masks.

    Probabilities are resized bilinearly, then decided. A threshold decides for sigmoids, the one
    with the best hard Dice per image on the training split. An image that is all void is left out.
    """
    threshold, splits = _at_threshold(classes, trained)
    constant = {ALL_BACKGROUND: 0}
    if classes.kind == "foreground":
        constant[ALL_FOREGROUND] = 1
    found: dict[str, list[Values]] = {name: [] for name in (OURS, *constant)}
    ranked: Ranked = {"best": [], "worst": []}
    for number, (outputs, example) in enumerate(trained.originals(trained.split)):
        truth = classes.indices[example["mask"]]
        if np.all(truth == segmentation.VOID):
            continue
        probability = np.asarray(probability_of(classes, jnp.asarray(outputs["logits"])))
        scores = segmentation.resize_scores(probability, *truth.shape)
        prediction = decide(classes, scores, threshold or 0.0).astype(np.uint8)
        everywhere = {name: np.full_like(prediction, index) for name, index in constant.items()}
        for name, decided in {OURS: prediction, **everywhere}.items():
            counts = confusion.count_on_host(
                decided, truth, truth != segmentation.VOID, len(classes.names)
            )
            dice = segmentation.hard_dice(decided, truth)
            found[name].append(Values(counts, dice, segmentation.boundary_f_score(decided, truth)))
        size = example["image"].shape[0]
        small = resize_mask(truth, size), resize_mask(prediction, size)
        value = float(confusion.mean_iou(found[OURS][-1].counts))
        for heap, sign in zip(ranked.values(), (1, -1), strict=True):
            seen = Seen(value, number, example["image"], *small)
            heapq.heappush(heap, (sign * value, -number, seen))
            if len(heap) > SHOWN:
                heapq.heappop(heap)
    metrics = {name: measured(images) for name, images in found.items()}
    splits[trained.split] |= metrics.pop(OURS)
    totals = np.sum([values.counts for values in found[OURS]], axis=0)
    arrays = {"full_size/confusion": totals, "thresholds": THRESHOLDS}
    for name, heap in ranked.items():
        columns = zip(*(seen for *_, seen in sorted(heap, reverse=True)), strict=True)
        fields = zip(Seen._fields, columns, strict=True)
        arrays |= {f"{name}/{field}": np.stack(column) for field, column in fields}
    by_class = zip(classes.names, confusion.iou(totals).tolist(), strict=True)
    values: dict[str, Any] = {
        "iou_by_class": {name: None if np.isnan(iou) else iou for name, iou in by_class}
    }
    if threshold is not None:
        values["threshold"] = threshold
    baselines = {name: {trained.split: values} for name, values in metrics.items()}
    return Final(values, splits, baselines, arrays)


def _at_threshold(
    classes: PixelClasses, trained: Trained
) -> tuple[float | None, dict[str, dict[str, float]]]:
    """Choose the threshold on train, None for a softmax; return it and both splits' Dice there."""
    if classes.kind == "softmax":
        return None, {"train": {}, "val": {}}
    kept = {split: trained.kept(split)["hard_dice_by_threshold"] for split in ("train", "val")}
    curves = {split: by_threshold.mean(axis=0) for split, by_threshold in kept.items()}
    chosen = int(np.argmax(curves["train"]))
    name = "hard_dice_per_image_at_threshold"
    return float(THRESHOLDS[chosen]), {s: {name: float(c[chosen])} for s, c in curves.items()}


def measured(images: Sequence[Values]) -> dict[str, float]:
    """Return the metrics of images at their own size, by name."""
    counts = np.sum([values.counts for values in images], axis=0)
    merged = confusion.foreground(counts)
    values = {
        "mean_iou": confusion.mean_iou(counts),
        "frequency_weighted_iou": confusion.frequency_weighted_iou(counts),
        "pixel_accuracy": confusion.pixel_accuracy(counts),
        "iou_of_set": confusion.iou(merged)[1],
        "hard_dice_of_set": confusion.dice(merged)[1],
        "hard_dice_per_image": np.mean([values.dice for values in images]),
        "boundary_f": np.mean([values.boundary for values in images]),
    }
    return {f"{name}_full_size": float(value) for name, value in values.items()}
