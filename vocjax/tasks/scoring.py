"""Task 3's last word on a run: scored at the images' own size, at a threshold chosen on train."""

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vocjax import confusion, full_size
from vocjax.data.pipeline import resize_mask
from vocjax.tasks.targets import Target, decide, probability_of
from vocjax.tasks.task import Original, Scored

# Of these the threshold is chosen.
THRESHOLDS = np.arange(1, 100) / 100
SHOWN = 4  # of the best images, and of the worst

ALL_BACKGROUND, ALL_FOREGROUND = "all background", "all foreground"
BEST_MASK = "one mask for all"


class Seen(NamedTuple):
    """An image as the model saw it: `image` [size, size, channels] uint8; its masks by our index.

    `truth` and `prediction` are [size, size] uint8; `value` is the image's mean IoU.
    """

    value: float
    number: int
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


# Heaps whose first image is the one to go.
Ranked = dict[str, list[tuple[float, int, Seen]]]


def score(
    target: Target,
    samples: Mapping[str, np.ndarray],
    originals: Callable[[str], Iterator[Original]],
) -> Scored:
    """Score validation images as VOC does: each prediction resized to the image's own mask.

    Probabilities are resized bilinearly, then decided. For sigmoids a threshold decides, the one
    with the best hard Dice per image on the training split.

    Args:
      target: what pixels are told apart by.
      samples: `SPLIT/hard_dice_by_threshold` [n, thresholds] of both splits.
      originals: yields (outputs, example) of each image of a split; the example's `mask` has the
        image's own size.
    """
    threshold, splits = _at_threshold(target, samples)
    totals = np.zeros((len(target.names),) * 2, np.int64)
    dice: list[float] = []
    boundary: list[float] = []
    ranked: Ranked = {"best": [], "worst": []}
    for number, (outputs, example) in enumerate(originals("val")):
        truth = target.indices[example["mask"]]
        probability = np.asarray(probability_of(target, jnp.asarray(outputs["logits"])))
        scores = full_size.resize_scores(probability, *truth.shape)
        prediction = decide(target, scores, threshold or 0.0).astype(np.uint8)
        counts = full_size.confusion(prediction, truth, len(target.names))
        totals += counts
        dice.append(full_size.hard_dice(prediction, truth))
        boundary.append(full_size.boundary_f_score(prediction, truth))
        if counts.any():  # an image that is all void has no place among the others
            size = example["image"].shape[0]
            small = resize_mask(truth, size), resize_mask(prediction, size)
            value = float(confusion.mean_iou(counts))
            _rank(ranked, Seen(value, number, example["image"], *small))
    splits["val"] |= measured(totals) | {
        "hard_dice_per_image_full_size": float(np.mean(dice)),
        "boundary_f_full_size": float(np.mean(boundary)),
    }
    arrays = {"full_size/confusion": totals, "thresholds": THRESHOLDS}
    for name, heap in ranked.items():
        arrays |= _stacked(name, [seen for *_, seen in sorted(heap, reverse=True)])
    values: dict[str, Any] = {
        "iou_by_class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(target.names, confusion.iou(totals), strict=True)
        }
    }
    if threshold is not None:
        values["threshold"] = threshold
    return Scored(values, splits, _baselines(target, totals), arrays)


def _at_threshold(
    target: Target, samples: Mapping[str, np.ndarray]
) -> tuple[float | None, dict[str, dict[str, float]]]:
    """Choose the threshold on train; return it and both splits' hard Dice there.

    Of a softmax the likeliest class decides: there is none.
    """
    if target.kind == "softmax":
        return None, {"train": {}, "val": {}}
    curves = {s: samples[f"{s}/hard_dice_by_threshold"].mean(axis=0) for s in ("train", "val")}
    chosen = int(np.argmax(curves["train"]))
    name = "hard_dice_per_image_at_threshold"
    return float(THRESHOLDS[chosen]), {s: {name: float(c[chosen])} for s, c in curves.items()}


def _rank(ranked: Ranked, seen: Seen) -> None:
    """Put an image among the best and the worst, as far as it belongs there."""
    for heap, sign in zip(ranked.values(), (1, -1), strict=True):
        heapq.heappush(heap, (sign * seen.value, -seen.number, seen))
        if len(heap) > SHOWN:
            heapq.heappop(heap)


def measured(counts: np.ndarray) -> dict[str, float]:
    """What a confusion matrix of all pixels at the images' own size tells, by name."""
    merged = confusion.foreground(counts)
    values = {
        "mean_iou": confusion.mean_iou(counts),
        "frequency_weighted_iou": confusion.frequency_weighted_iou(counts),
        "pixel_accuracy": confusion.pixel_accuracy(counts),
        "iou_of_set": confusion.iou(merged)[1],
        "hard_dice_of_set": confusion.dice(merged)[1],
    }
    return {f"{name}_full_size": float(value) for name, value in values.items()}


def _baselines(target: Target, totals: np.ndarray) -> dict[str, dict[str, dict[str, float]]]:
    """What constant predictions would have scored."""
    constant = {ALL_BACKGROUND: 0}
    if target.kind == "foreground":
        constant[ALL_FOREGROUND] = 1
    found = {}
    for name, index in constant.items():
        counts = np.zeros_like(totals)
        counts[:, index] = totals.sum(axis=1)
        found[name] = {"val": measured(counts)}
    return found


def _stacked(name: str, seen: list[Seen]) -> dict[str, np.ndarray]:
    fields: dict[str, Any] = {
        field: np.stack([getattr(one, field) for one in seen])
        for field in ("value", "number", "image", "truth", "prediction")
    }
    return {f"{name}/{field}": array for field, array in fields.items()}
