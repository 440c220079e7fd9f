"""The final evaluation of task 3: at the images' own size, at a threshold chosen on train."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vocjax.data.pipeline import fit_mask
from vocjax.metrics import confusion, segmentation
from vocjax.tasks.pixel_classes import PixelClasses, Seen, decide_at
from vocjax.tasks.task import Final, Trained

THRESHOLDS = np.arange(1, 100) / 100  # the one that is chosen is one of these
SHOWN = 4  # of the best images, and of the worst

ALL_BACKGROUND, ALL_FOREGROUND = "all background", "all foreground"
BEST_MASK = "one mask for all"
OURS = "the model"


class Ranking(NamedTuple):
    """An image as a batch has it, [height, width, channels] uint8, and its masks alike."""

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
Ranked = dict[str, list[tuple[float, int, Ranking]]]


def finish(
    classes: PixelClasses,
    trained: Trained,
    seen: Seen = Seen(),  # noqa: B008  # it is immutable
) -> Final:
    """Score a split's images, and constant predictions, as VOC does: at the size of their masks.

    Scores are resized bilinearly, then decided, by `decide_at`. A threshold decides for sigmoids,
    the one with the best hard Dice per image on the training split. An image that is all void is
    left out.
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
        prediction = decide_at(classes, outputs["logits"], truth.shape, threshold or 0.0, seen)
        everywhere = {name: np.full_like(prediction, index) for name, index in constant.items()}
        for name, decided in {OURS: prediction, **everywhere}.items():
            counts = confusion.count_on_host(
                decided, truth, truth != segmentation.VOID, len(classes.names)
            )
            dice = segmentation.hard_dice(decided, truth)
            found[name].append(Values(counts, dice, segmentation.boundary_f_score(decided, truth)))
        counts = found[OURS][-1].counts
        if counts.sum() == counts[0, 0]:
            continue  # there is no object to find, and none is found
        size = example["image"].shape[:2]
        small = [fit_mask(mask, size, seen.fit) for mask in (truth, prediction)]
        value = float(confusion.mean_iou(counts))
        for heap, sign in zip(ranked.values(), (1, -1), strict=True):
            ranking = Ranking(value, number, example["image"], *small)
            heapq.heappush(heap, (sign * value, -number, ranking))
            if len(heap) > SHOWN:
                heapq.heappop(heap)
    k = len(classes.names)
    metrics = {name: measured(images, k) for name, images in found.items()}
    splits[trained.split] |= metrics.pop(OURS)
    totals = sum((values.counts for values in found[OURS]), np.zeros((k, k), np.int64))
    arrays = {"full_size/confusion": totals, "thresholds": THRESHOLDS}
    for name, heap in ranked.items():
        if not heap:
            continue
        columns = zip(*(ranking for *_, ranking in sorted(heap, reverse=True)), strict=True)
        fields = zip(Ranking._fields, columns, strict=True)
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
    """Choose the threshold on train, None for a softmax; return it and both splits' Dice there.

    On other data the run's own threshold stays, .5 where it has not chosen one yet.
    """
    if classes.kind == "softmax":
        return None, {"train": {}, "val": {}}
    if trained.results is None:
        kept = {split: trained.kept(split) for split in ("train", "val")}
        chosen = int(np.argmax(kept["train"]["hard_dice_by_threshold"].mean(axis=0)))
    else:
        kept = {trained.split: trained.kept(trained.split)}
        chosen = int(np.argmin(np.abs(THRESHOLDS - trained.results.get("threshold", 0.5))))
    dice = {
        split: of["hard_dice_by_threshold"][:, chosen].mean() if of["object"].any() else np.nan
        for split, of in kept.items()
    }
    name = "hard_dice_per_image_at_threshold"
    return float(THRESHOLDS[chosen]), {split: {name: float(v)} for split, v in dice.items()}


def of_objects(metrics: Mapping[str, float], counts: np.ndarray) -> dict[str, float]:
    """Return metrics, NaN for those that rate objects where the truth of `counts` has none.

    A prediction without any object would have the best values then, and has found nothing.
    """
    defined = metrics if np.any(counts[1:]) else {"pixel_accuracy", "pixel_accuracy_full_size"}
    return {name: value if name in defined else np.nan for name, value in metrics.items()}


def measured(images: Sequence[Values], classes: int) -> dict[str, float]:
    """Return the metrics of images at their own size, by name; NaN where one is not defined."""
    counts = sum((values.counts for values in images), np.zeros((classes, classes), np.int64))
    merged = confusion.foreground(counts)
    values = {
        "mean_iou": confusion.mean_iou(counts),
        "frequency_weighted_iou": confusion.frequency_weighted_iou(counts),
        "pixel_accuracy": confusion.pixel_accuracy(counts),
        "iou_of_set": confusion.iou(merged)[1],
        "hard_dice_of_set": confusion.dice(merged)[1],
        "hard_dice_per_image": np.mean([values.dice for values in images] or np.nan),
        "boundary_f": np.mean([values.boundary for values in images] or np.nan),
    }
    full_size = {f"{name}_full_size": float(value) for name, value in values.items()}
    return of_objects(full_size, counts)
