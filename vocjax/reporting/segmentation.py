"""What the report shows of task 3: masks and their errors, classes, thresholds, runs together."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vocjax import painting
from vocjax.data.classes import PALETTE, VOID, classes_of
from vocjax.metrics import confusion
from vocjax.reporting import differences, masks
from vocjax.reporting import figures as draw
from vocjax.reporting.hover import Drawn
from vocjax.reporting.shown import by_shown, labelled, short
from vocjax.reporting.study import STUDY, repeated
from vocjax.runs.groups import replicates
from vocjax.runs.reader import Run, lookup

Samples = Mapping[str, np.ndarray]

ALPHA = 0.65  # of the painted classes: their colours are still those of the legend
PROTOCOLS = {
    "legacy": "Legacy: void is object, objects grow",
    "legacy_sampled": "Legacy, sampled: void is object, objects grow less",
    "nearest": "Honest: void is left out, objects stay",
}
ALL_FOREGROUND = "all foreground"  # the name of that baseline
SOFT = "soft_dice_per_image"
CLASSES_SHOWN, IMAGES_OF_A_CLASS = 3, 2  # as single masks
STEPS, GAINS = 4, 4  # runs side by side, and images that got better
HARD = ("hard_dice_per_image_at_threshold", "hard_dice_per_image")  # a softmax has the last alone


class Target(NamedTuple):
    """What a run distinguishes pixels by: the indices' names, and their colours uint8 [n, 3]."""

    names: Sequence[str]
    palette: np.ndarray
    softmax: bool


def target_of(run: Run) -> Target:
    """Return the target that `model.target` and `data.classes` (empty for all) describe."""
    kind = run.field("model.target")
    if kind == "foreground":
        return Target(("background", "foreground"), PALETTE[:2], False)
    known = classes_of(run.field("data") or {})
    classes = run.field("data.classes") or known.names
    indices = [0, *(known.names.index(name) + 1 for name in classes)]
    return Target(("background", *classes), known.palette[indices], kind == "softmax")


def figures(run: Run) -> Drawn:
    """Draw what a run of this task kept of its validation images."""
    samples, target = run.samples, target_of(run)
    return (
        _kept(samples, target)
        | _channels(samples, target)
        | _extremes(samples, target)
        | _of_classes(samples, target)
        | _by_threshold(samples, target)
    )


def _kept(samples: Samples, target: Target) -> Drawn:
    if not samples.keys() >= {"image", "mask", "prediction", "probability"}:
        return {}
    image = painting.as_bytes(samples["image"].astype(np.float32))
    columns, keys = _painted(image, samples["mask"], samples["prediction"], target)
    columns["probability"] = painting.grey(samples["probability"][..., None])
    how = "the likeliest class" if target.softmax else "what has more than .5"
    title = f"Validation images: {how} is predicted; white is the probability of any foreground. "
    title += "Below each overlay Dice and IoU of its image, at the size of the network"
    under = _overlaps(samples["mask"], samples["prediction"])
    return {title: masks.sheet(columns, keys, [], {"prediction": under})}


def _overlaps(truth: np.ndarray, prediction: np.ndarray) -> list[str]:
    """Dice and IoU of each image's objects, as text; masks are [n, height, width]."""
    return [
        f"Dice {short(dice)}\nIoU {short(dice / (2 - dice))}"
        for dice in masks.dice(truth, prediction).tolist()
    ]


def _channels(samples: Samples, target: Target) -> Drawn:
    """The masks of single classes, those with the most pixels in the images that are kept."""
    if len(target.names) <= 2 or not samples.keys() >= {"image", "mask", "prediction"}:
        return {}
    truth, prediction = samples["mask"], samples["prediction"]
    image = painting.as_bytes(samples["image"].astype(np.float32))
    pixels = np.stack([(truth == k).sum(axis=(1, 2)) for k in range(1, len(target.names))])
    places = [
        (k + 1, i)
        for k in np.argsort(-pixels.sum(axis=1), kind="stable")[:CLASSES_SHOWN].tolist()
        for i in np.argsort(-pixels[k], kind="stable")[:IMAGES_OF_A_CLASS].tolist()
        if pixels[k, i]
    ]
    if not places:
        return {}
    classes, shown = np.array(places).T
    pairs = [(masks.channel(m[shown], classes)) for m in (truth, prediction)]
    columns = {"image": np.broadcast_to(image[shown], (*image[shown].shape[:-1], 3))}
    columns |= {
        name: painting.grey(255 * (m == 1)[..., None].astype(np.uint8))
        for name, m in zip(("truth", "prediction"), pairs, strict=True)
    }
    rows = [target.names[k] for k in classes]
    title = "Masks of single classes: white is the class, black is all else. Below each prediction "
    title += "Dice and IoU of the class in its image"
    return {title: masks.sheet(columns, [], rows, {"prediction": _overlaps(*pairs)})}


def _extremes(samples: Samples, target: Target) -> Drawn:
    drawn: Drawn = {}
    for which in ("best", "worst"):
        names = [f"{which}/{name}" for name in ("image", "truth", "prediction", "value")]
        if samples.keys() >= set(names):
            image, truth, prediction, values = (samples[name] for name in names)
            columns, keys = _painted(image, truth, prediction, target)
            rows = [short(value) for value in values]
            title = f"The {which} validation images, by the mean IoU of each at its own size"
            title += "" if target.softmax else "; decided at the threshold chosen on train"
            title += (
                ", which stands at the left. Below each overlay Dice and IoU of its objects, at "
            )
            title += "the size of the network"
            under = {"prediction": _overlaps(truth, prediction)}
            drawn[title] = masks.sheet(columns, keys, rows, under)
    return drawn


def _painted(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, target: Target
) -> tuple[dict[str, np.ndarray], list[masks.Key]]:
    """Image, truth, prediction and error as pictures, and what their colours mean.

    Shapes: `image` uint8 [n, height, width, 1 or 3]; the masks uint8 [n, height, width], of
    our indices.
    """
    image = np.broadcast_to(image, (*image.shape[:-1], 3))
    wrong = masks.errors(truth, prediction)
    columns = {
        "image": image,
        "truth": painting.overlay(image, truth, target.palette, ALPHA),
        "prediction": painting.overlay(image, prediction, target.palette, ALPHA),
        "error": painting.overlay(painting.grey(image), wrong, masks.WRONG_PALETTE, 0.8),
    }
    shown = np.union1d(truth, prediction)
    classes = {
        target.names[k]: to_hex((target.palette[k] / 255).tolist()) for k in shown if 0 < k < VOID
    }
    void = {"void": to_hex((np.array(painting.OUTLINE) / 255).tolist())} if VOID in shown else {}
    found = dict(enumerate(masks.WRONG.items(), start=1))
    return columns, [classes, dict(found[k] for k in np.unique(wrong) if 0 < k < VOID) | void]


def side_by_side(runs: Sequence[Run]) -> Drawn:
    """Draw the images that got better from one run to the next, those that gained most."""
    drawn: Drawn = {}
    for group in by_shown(runs, "image", "mask", "prediction"):
        for members in _by_target(group):
            drawn |= _gains(members)
    return drawn


def _by_target(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs by what they distinguish and how they see images; groups of one are left out."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        height, width = run.samples["mask"].shape[1:]
        seen = run.field("data.fit") or "squash", height / width
        groups.setdefault((*target_of(run).names, *seen), []).append(run)
    return [group for group in groups.values() if len(group) > 1]


def _gains(runs: Sequence[Run]) -> Drawn:
    """Draw the best of the study's runs, and then the best others, the worst of them first."""
    target = target_of(runs[0])
    size = max(run.samples["mask"].shape[1:] for run in runs)
    honest = [run for run in runs if (run.field("data.masks") or "nearest") == "nearest"]
    truth = masks.at_size((honest or runs)[-1].samples["mask"], size)
    predictions = [masks.at_size(run.samples["prediction"], size) for run in runs]
    scores = np.nan_to_num(np.stack([masks.dice(truth, found) for found in predictions]))
    ranked = np.argsort(scores.mean(axis=1), kind="stable")
    studys = [i for i in ranked if repeated(runs[i])][-1:]
    steps = studys + [i for i in ranked if i not in studys][len(studys) - STEPS :]
    runs, found = [runs[i] for i in steps], [predictions[i] for i in steps]
    gain = np.diff(scores[steps], axis=0).max(axis=0)
    best = np.argsort(-gain, kind="stable")[:GAINS]
    best = best[gain[best] > 0] if gain.max() > 0 else best
    pictures = [painting.as_bytes(run.samples["image"].astype(np.float32)) for run in runs]
    pictures = [masks.at_size(np.broadcast_to(p, (*p.shape[:-1], 3)), size) for p in pictures]
    coloured = next((i for i, r in enumerate(runs) if r.samples["image"].shape[-1] == 3), 0)
    columns, keys = _painted(pictures[coloured][best], truth[best], found[0][best], target)
    columns = {name: columns[name] for name in ("image", "truth")}
    under = {}
    for name, picture, prediction in zip(labelled(runs), pictures, found, strict=True):
        heading = textwrap.fill(name, 17)
        columns[heading] = painting.overlay(picture[best], prediction[best], target.palette, ALPHA)
        under[heading] = _overlaps(truth[best], prediction[best])
    kind = "foreground" if len(target.names) == 2 else f"{len(target.names)} classes"
    better = "The images that got better" if gain.max() > 0 else "No image got better"
    title = f"{better} from one run to the next, of the {len(truth)} that each keeps ({kind}). "
    title += "Below each overlay Dice and IoU of its image"
    return {title: masks.sheet(columns, keys[:1], [], under)}


def _of_classes(samples: Samples, target: Target) -> Drawn:
    """Each class's IoU and confusions; with one foreground the table has the same values."""
    counts = samples.get("full_size/confusion")
    if counts is None or len(counts) <= 2 or not counts[1:].any():
        return {}
    iou = dict(zip(target.names, confusion.iou(counts).tolist(), strict=True))
    present = {name: value for name, value in iou.items() if not np.isnan(value)}
    absent = [name for name in iou if name not in present]
    mean = float(confusion.mean_iou(counts))
    title = "IoU of each class over all validation pixels; dashed is the mean"
    title += f" of {len(present)} of {len(iou)} classes, {mean:.3f}"
    title += f". Absent, and left out: {', '.join(absent)}" if absent else ""
    return {
        title: masks.iou_bars(present, mean),
        "What the pixels of each class are predicted as; at the right, the object that they are "
        "most often mistaken for": masks.destinations(counts, target.names),
    }


def _by_threshold(samples: Samples, target: Target) -> Drawn:
    """Dice by threshold; a softmax needs none."""
    names = ("train/hard_dice_by_threshold", "val/hard_dice_by_threshold")
    if target.softmax or not samples.keys() >= {"thresholds", *names}:
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


def comparison(runs: Sequence[Run]) -> dict[str, Figure]:
    """Draw soft and hard Dice of runs on the same data, by their protocol.

    Runs that repeat one of the study's come first, with its figure. Nothing for fewer than three
    runs that differ in more than their seed.
    """
    order = [row["name"] for row in STUDY["segmentation"]["rows"]]
    # With the name of the study's run that each row repeats, "" for none.
    panels: dict[str, list[tuple[str, draw.Row]]] = {title: [] for title in PROTOCOLS.values()}
    trivial: dict[str, float] = {}
    for seeds in replicates(runs):
        title = PROTOCOLS[seeds[0].field("data.masks") or "nearest"]
        soft, at_threshold, hard = (_values(seeds, "val", name) for name in (SOFT, *HARD))
        if soft:
            values = {"soft": soft, "hard, of decisions": at_threshold or hard}
            study = repeated(seeds[0])
            row = draw.Row(seeds[0].name, values, float(study["val"][SOFT]) if study else None)
            panels[title].append((study["name"] if study else "", row))
        for value in _values(seeds, "baselines", ALL_FOREGROUND, "val", SOFT):
            trivial.setdefault(title, value)
    if sum(map(len, panels.values())) < 3:
        return {}
    for members in panels.values():
        members.sort(key=lambda member: [*order, ""].index(member[0]))
    rows = {title: [row for _, row in members] for title, members in panels.items() if members}
    title = (
        "Dice per image on validation. Soft Dice also punishes probabilities that are neither 0 "
        "nor 1: the better loss is the one whose decisions, at the threshold chosen on train, have "
        "the higher hard Dice. Dots are means of the seeds, lines their span"
    )
    if any(name for members in panels.values() for name, _ in members):
        title += "; crosses are the study's soft Dice, on its own data by the legacy protocol"
    title += _verdict({protocol: dict(members) for protocol, members in panels.items()})
    drawn = {title: draw.dots(rows, "Dice per image, validation", trivial, ALL_FOREGROUND)}
    if found := differences.differences(runs):
        drawn[
            "Paired differences of hard Dice per image on validation: the same images, the same "
            "seeds; 95 % intervals by a bootstrap over photographs. Blue ones leave out 0"
        ] = differences.forest(found, "segmentation")
    return drawn


def _verdict(panels: Mapping[str, Mapping[str, draw.Row]]) -> str:
    """What the loss alone changes: run 4 against run 2, which differ in nothing else."""
    found = []
    for title, repeats in panels.items():
        if {"run 2", "run 4"} <= repeats.keys():
            entropy, dice = (repeats[name].values.values() for name in ("run 2", "run 4"))
            gains = [
                np.mean(ours) - np.mean(theirs) for ours, theirs in zip(dice, entropy, strict=True)
            ]
            survives = "survives" if round(min(gains), 3) > 0 else "does not survive"
            gained = f"{gains[0]:+.3f} soft, {gains[1]:+.3f} hard"
            protocol = title.split(":")[0]
            found.append(f"{protocol}: {gained}: the study's conclusion {survives}")
    return ". Run 4, soft Dice, against run 2, cross-entropy. " + "; ".join(found) if found else ""


def _values(runs: Sequence[Run], *path: str) -> list[float]:
    found = (lookup(run.results, *path) for run in runs)
    return [value for value in found if value is not None]
