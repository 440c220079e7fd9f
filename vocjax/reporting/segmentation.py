"""What the report shows of task 3: masks beside the truth, classes, thresholds, runs together."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from vocjax import painting
from vocjax.data.devkit import PALETTE, VOID
from vocjax.metrics import confusion
from vocjax.reporting import masks
from vocjax.runs.reader import Run, lookup, replicates
from vocjax.tasks.pixel_classes import PixelClasses, pixel_classes
from vocjax.tasks.segmentation_eval import ALL_FOREGROUND

Samples = Mapping[str, np.ndarray]

ALPHA = 0.65  # of the painted classes: their colours are still those of the legend
PROTOCOLS = {
    "legacy": "Legacy: void is object, objects grow",
    "nearest": "Honest: void is left out, objects stay",
}
SOFT = "soft_dice_per_image"
HARD = ("hard_dice_per_image_at_threshold", "hard_dice_per_image")  # a softmax has the last alone


def figures(samples: Samples, config: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what a run of this task kept of its validation images; an older run lacks some of it."""
    if lookup(config, "model", "target") is None:
        return {}
    target = pixel_classes(ConfigDict(config))
    return (
        _kept(samples, target)
        | _extremes(samples, target)
        | _of_classes(samples, target)
        | _by_threshold(samples, target)
    )


def _kept(samples: Samples, target: PixelClasses) -> dict[str, Figure]:
    if not samples.keys() >= {"image", "mask", "prediction", "probability"}:
        return {}
    image = painting.as_bytes(samples["image"].astype(np.float32))
    columns, keys = _painted(image, samples["mask"], samples["prediction"], target)
    columns["probability"] = painting.grey(samples["probability"][..., None])
    how = "the likeliest class" if target.kind == "softmax" else "what has more than .5"
    title = f"Validation images: {how} is predicted; white is the probability of any foreground"
    return {title: masks.sheet(columns, keys, [])}


def _extremes(samples: Samples, target: PixelClasses) -> dict[str, Figure]:
    result = {}
    for which in ("best", "worst"):
        names = ("image", "truth", "prediction", "value")
        if not samples.keys() >= {f"{which}/{name}" for name in names}:
            continue
        image, truth, prediction, values = (samples[f"{which}/{name}"] for name in names)
        columns, keys = _painted(image, truth, prediction, target)
        rows = [f"{value:.2f}".removeprefix("0") for value in values]
        title = f"The {which} validation images, by the mean IoU of each at its own size"
        title += "" if target.kind == "softmax" else "; decided at the threshold chosen on train"
        result[title] = masks.sheet(columns, keys, rows)
    return result


def _painted(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, target: PixelClasses
) -> tuple[dict[str, np.ndarray], list[masks.Key]]:
    """Image, truth, prediction and error as pictures, and what their colours mean.

    Shapes: `image` uint8 [n, side, side, 1 or 3]; the masks uint8 [n, side, side], of our indices.
    """
    image = np.broadcast_to(image, (*image.shape[:-1], 3))
    palette = PALETTE[target.voc_indices]
    wrong = masks.errors(truth, prediction)
    columns = {
        "image": image,
        "truth": painting.overlay(image, truth, palette, ALPHA),
        "prediction": painting.overlay(image, prediction, palette, ALPHA),
        "error": painting.overlay(painting.grey(image), wrong, masks.WRONG_PALETTE, 0.8),
    }
    shown = np.union1d(truth, prediction)
    classes = {target.names[k]: to_hex((palette[k] / 255).tolist()) for k in shown if 0 < k < VOID}
    void = {"void": to_hex((np.array(painting.OUTLINE) / 255).tolist())} if VOID in shown else {}
    found = dict(enumerate(masks.WRONG.items(), start=1))
    return columns, [classes, dict(found[k] for k in np.unique(wrong) if 0 < k < VOID) | void]


def _of_classes(samples: Samples, target: PixelClasses) -> dict[str, Figure]:
    """Draw each class's IoU and confusions; of foreground alone the table says as much."""
    counts = samples.get("full_size/confusion")
    if counts is None or len(counts) <= 2 or not counts.any():
        return {}
    iou = dict(zip(target.names, confusion.iou(counts).tolist(), strict=True))
    absent = [name for name, value in iou.items() if np.isnan(value)]
    mean = float(confusion.mean_iou(counts))
    title = f"IoU of each class over all validation pixels; dashed is the mean, {mean:.3f}"
    title += f". Absent, and left out: {', '.join(absent)}" if absent else ""
    present = {name: value for name, value in iou.items() if name not in absent}
    return {
        title: masks.iou_bars(present, mean),
        "What the pixels of each class are taken for, and beside it the object that they are most "
        "often mistaken for": masks.destinations(counts, target.names),
    }


def _by_threshold(samples: Samples, target: PixelClasses) -> dict[str, Figure]:
    """Draw Dice by threshold; a softmax is decided without one."""
    names = ("train/hard_dice_by_threshold", "val/hard_dice_by_threshold")
    if target.kind == "softmax" or not samples.keys() >= {"thresholds", *names}:
        return {}
    thresholds = samples["thresholds"]
    train, val = (samples[name].mean(axis=0) for name in names)
    chosen = int(np.argmax(train))
    half = int(np.argmin(np.abs(thresholds - 0.5)))
    title = (
        "Dice of the foreground against the threshold that its probability must exceed, mean over "
        f"images. Best on train is {thresholds[chosen]:g}, with {val[chosen]:.3f} on val; at .5 "
        f"val has {val[half]:.3f}"
    )
    return {title: masks.dice_by_threshold(thresholds, train, val, chosen)}


def comparison(runs: Sequence[Run], study: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Draw soft and hard Dice of runs on the same data, by their protocol.

    A run that repeats one of the study's ("Run 4, soft Dice") stands beside its figure, and those
    come first. Nothing for fewer than three runs that differ in more than their seed.
    """
    reported = {row["name"]: float(row["val"]["soft_dice_per_image"]) for row in study}
    panels: dict[str, list[masks.Dice]] = {title: [] for title in PROTOCOLS.values()}
    trivial: dict[str, float] = {}
    for seeds in replicates(runs):
        title = PROTOCOLS[lookup(seeds[0].config, "data", "masks") or "nearest"]
        soft, *decided = (_values(seeds, "val", name) for name in (SOFT, *HARD))
        if soft:
            name, hard = seeds[0].name, decided[0] or decided[1]
            panels[title].append(masks.Dice(name, soft, hard, reported.get(_repeated(name))))
        for value in _values(seeds, "baselines", ALL_FOREGROUND, "val", SOFT):
            trivial.setdefault(title, value)
    if sum(map(len, panels.values())) < 3:
        return {}
    for members in panels.values():
        members.sort(key=lambda run: (run.study is None, _repeated(run.name)))
    title = (
        "Dice per image on validation. Soft Dice punishes probabilities that are neither 0 nor 1, "
        "too: the better loss is the one whose decisions, at the threshold chosen on train, have "
        "the higher hard Dice. Dots are means of the seeds, lines their span"
    )
    if any(run.study is not None for members in panels.values() for run in members):
        title += "; crosses are the study's soft Dice, on its own data by the legacy protocol"
    title += _verdict(panels)
    return {title: masks.dice_dots({t: runs for t, runs in panels.items() if runs}, trivial)}


def _verdict(panels: Mapping[str, Sequence[masks.Dice]]) -> str:
    """Say what the loss alone changes: run 4 against run 2, which differ in nothing else."""
    said = []
    for title, members in panels.items():
        by_number = {_repeated(run.name): run for run in members}
        if {"run 2", "run 4"} <= set(by_number):
            entropy, dice = by_number["run 2"], by_number["run 4"]
            soft, hard = (
                np.mean(ours) - np.mean(theirs)
                for ours, theirs in ((dice.soft, entropy.soft), (dice.hard, entropy.hard))
            )
            survives = "survives" if round(min(soft, hard), 3) > 0 else "does not survive"
            found = f"{soft:+.3f} soft, {hard:+.3f} hard"
            said.append(f"{title.split(':')[0]}: {found}: the study's conclusion {survives}")
    told = "; ".join(said)
    return f". Run 4, soft Dice, against run 2, cross-entropy. {told}" if said else ""


def _values(runs: Sequence[Run], *path: str) -> list[float]:
    found = (lookup(run.results, *path) for run in runs)
    return [value for value in found if value is not None]


def _repeated(name: str) -> str:
    """Return "run 4", as the study calls it, of "Run 4, soft Dice"; of other names nothing."""
    found = re.match(r"Run \d+\b", name)
    return found[0].lower() if found else ""
