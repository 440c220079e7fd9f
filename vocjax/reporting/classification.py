"""What the report shows of task 2: decisions, how sure they are, and what they rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vocjax import losses, painting
from vocjax.data.splits import class_columns
from vocjax.metrics import classification
from vocjax.reporting import curves, paired
from vocjax.reporting import figures as draw
from vocjax.reporting.curves import Curve
from vocjax.reporting.hover import Scatter, scatter
from vocjax.runs.reader import Run, lookup
from vocjax.tasks.classification import present_and_known

Samples = Mapping[str, np.ndarray]
Drawn = dict[str, Figure | Scatter]
Elements = tuple[np.ndarray, np.ndarray, np.ndarray]  # probability, target, weight: [n, K]

MAJORITY = "majority class (frequency)"
MISTAKES, IN_A_ROW = 16, 4


def figures(samples: Samples, config: Mapping[str, Any]) -> Drawn:
    """Draw what a run of this task kept of its validation images; an older run lacks some of it."""
    classes = tuple(config["data"]["classes"])
    if "val/probability" not in samples:
        return _codes(samples, classes)
    exclusive = losses.is_exclusive(config["loss"]["name"])
    states = samples["val/labels"][:, list(class_columns(classes))]
    probability = samples["val/probability"].astype(np.float64)
    present, known = present_and_known(states, exclusive)
    elements = probability, present.astype(int), known.astype(int)
    # Two sigmoids are decided between as two exclusive classes are.
    choice = exclusive or len(classes) == 2
    return (
        _true_class(elements, classes)
        | (_confusion(elements, classes) if choice else {})
        | _curves(elements, classes)
        | _calibration(elements, exclusive)
        | _codes(samples, classes)
        | _mistakes(samples, elements, classes, choice)
        | _evidence(samples, probability, classes)
        | _reconstructions(samples)
    )


def _true_class(elements: Elements, classes: tuple[str, ...]) -> Drawn:
    probability, target, _ = elements
    shown = np.flatnonzero(target.any(axis=1))
    groups = target[shown].argmax(axis=1)
    # The name of a class stands below the middle of its bars, and needs a quarter of the width.
    counts = np.bincount(groups)
    counts = counts[counts > 0]
    room = (counts[1:] + counts[:-1]) / 2 > 0.24 * len(shown)
    bars = draw.probability_bars if room.all() else curves.probability_panels
    return {
        "Probability of the true class, validation": bars(
            probability[shown, groups], groups, classes
        )
    }


def _confusion(elements: Elements, classes: tuple[str, ...]) -> Drawn:
    return {
        "Confusion matrix, validation: numbers of images; the colour is the share of the row": (
            curves.confusion_matrix(classification.confusion(*elements), classes)
        )
    }


def _curves(elements: Elements, classes: tuple[str, ...]) -> Drawn:
    by_rate, by_recall = {}, {}
    for name, p, present, weight in zip(classes, *(a.T for a in elements), strict=True):
        score, truth = p[weight > 0], present[weight > 0]
        if truth.any():
            value = classification.average_precision(score, truth, "11 points")
            by_recall[name] = Curve(*classification.precision_recall(score, truth), value)
        if truth.any() and not truth.all():
            x, y = classification.roc(score, truth)
            by_rate[name] = Curve(x, y, float(np.trapezoid(y, x)))
    result: Drawn = {}
    if by_rate:
        result["ROC curves, validation: each class against the rest"] = curves.roc_curves(by_rate)
    if by_recall:
        result[
            "Precision and recall, validation: each class against the rest. AP is VOC's of 2007 to "
            "2009, by 11 points"
        ] = curves.precision_recall_curves(by_recall)
    return result


def _calibration(elements: Elements, exclusive: bool) -> Drawn:
    confidence, right = classification.decisions(*elements, exclusive)
    if not len(confidence):
        return {}
    error = classification.expected_calibration_error(confidence, right)
    title = (
        "Calibration, validation: how often a decision is right, by its confidence. The expected "
        f"calibration error is {error:.3f}"
    )
    return {title: curves.reliability_diagram(confidence, right)}


def _codes(samples: Samples, classes: tuple[str, ...]) -> Drawn:
    result: Drawn = {}
    stages = {"before": "before/", "after": ""}
    ends = [samples.get(f"{prefix}train/principal") for prefix in stages.values()]
    if ends[0] is not None and ends[1] is not None and np.array_equal(ends[0], ends[1]):
        stages = {"before and after": ""}  # the encoder was frozen
    for stage, prefix in stages.items():
        names = {
            f"{split}/{name}": f"{where}{split}/{name}"
            for split in ("train", "val")
            for where, kept in (
                ("", ("labels", "ids", "thumbnail")),
                (prefix, ("embedded", "principal", "tsne")),
            )
            for name in kept
        }
        if samples.keys() >= set(names.values()):
            result[f"Codes {stage} training; the pointer shows the image of a point"] = scatter(
                {k: samples[name] for k, name in names.items()}, classes
            )
    return result


def _mistakes(
    samples: Samples, elements: Elements, classes: tuple[str, ...], choice: bool
) -> Drawn:
    """The images whose wrong class got the most, or whose worst column errs the most."""
    if "val/thumbnail" not in samples:
        return {}
    probability, target, weight = elements
    if choice:
        # Of each image the likeliest class alone, and no image without a class to be right about.
        scores = np.where(weight > 0, probability, -np.inf)
        likeliest = np.eye(len(classes), dtype=bool)[scores.argmax(axis=1)]
        wrong = likeliest & (target == 0) & target.any(axis=1, keepdims=True)
    else:
        wrong = (probability > 0.5) != (target > 0)
    errors = np.where(wrong & (weight > 0), np.abs(target - probability), 0)
    images = np.argsort(-errors.max(axis=1), kind="stable")[:MISTAKES]
    images = images[errors[images].max(axis=1) > 0]
    if not len(images):
        return {}
    texts = []
    for image, column in zip(images, errors[images].argmax(axis=1), strict=True):
        present = [name for name, there in zip(classes, target[image], strict=True) if there]
        truth = "there" if target[image, column] else (present or ["none of them"])[0]
        texts.append(f"{classes[column]} {_short(probability[image, column])},\nis {truth}")
    return {"The most confident mistakes, validation": _in_rows(samples, images, texts)}


def _in_rows(samples: Samples, images: np.ndarray, texts: Sequence[str]) -> Figure:
    width = min(IN_A_ROW, len(images))
    missing = -len(images) % width
    thumbnails = samples["val/thumbnail"][images]
    blank = np.full((missing, *thumbnails.shape[1:]), 255, np.uint8)
    thumbnails = np.concatenate([thumbnails, blank])
    texts = [*texts, *["\n"] * missing]
    starts = range(0, len(texts), width)
    labels = [" " * i for i in range(len(starts))]
    return draw.image_rows(
        {k: thumbnails[i : i + width] for k, i in zip(labels, starts, strict=True)},
        {k: texts[i : i + width] for k, i in zip(labels, starts, strict=True)},
    )


def _evidence(samples: Samples, probability: np.ndarray, classes: tuple[str, ...]) -> Drawn:
    if not samples.keys() >= {"image", "evidence", "shown"}:
        return {}
    image, evidence = samples["image"], samples["evidence"]
    shown = probability[samples["shown"]]
    captions = [
        f"{classes[column]}\n{_short(row[column])}"
        for row, column in zip(shown, shown.argmax(axis=1), strict=True)
    ]
    title = (
        "What each place adds to the logit of the likeliest class, red, or takes from it, blue; "
        f"at most {np.abs(evidence).max():.2g}"
    )
    rows = {
        "validation image": image,
        "evidence": painting.heat_map(painting.grey(image), evidence),
    }
    return {title: draw.image_rows(rows, {"evidence": captions})}


def _reconstructions(samples: Samples) -> Drawn:
    """What the decoder of a joint network makes of the code."""
    if "reconstruction" not in samples:
        return {}
    names = {"validation image": "image", "reconstruction": "reconstruction"}
    return {"Reconstructions": draw.image_rows({row: samples[name] for row, name in names.items()})}


def _short(probability: float) -> str:
    return f"{probability:.2f}".removeprefix("0")


def comparison(runs: Sequence[Run], study: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Draw the validation accuracy of runs on the same data, by their names.

    A run that repeats one of the study's ("Legacy, from AE 256, sgd") stands beside its figure.
    Nothing for fewer than three names.
    """
    accuracy: dict[str, list[float]] = {}
    for run in runs:
        value = lookup(run.results, "val", "elementwise_accuracy")
        if value is not None:
            accuracy.setdefault(run.name, []).append(value)
    if len(accuracy) < 3:
        return {}
    trivial = (
        lookup(run.results, "baselines", MAJORITY, "val", "elementwise_accuracy") for run in runs
    )
    # A split drawn anew for each seed has a majority for each seed.
    majority = [value for value in trivial if value is not None]
    reported = {
        f"Legacy, {row['name']}, {row['setting'].split(',')[0]}": row["val"] for row in study
    }
    crosses = {
        name: float(values["elementwise_accuracy"])
        for name, values in reported.items()
        if name in accuracy
    }
    title = "Validation accuracy: a dot for each seed, a line at their mean"
    title += "; crosses are the study's figures, on its own data" if crosses else ""
    title += "; dotted: always the majority class" if majority else ""
    level = float(np.mean(majority)) if majority else None
    drawn = {title: curves.accuracy_dots(accuracy, crosses, level)}
    if found := paired.differences(runs):
        drawn[
            "Paired differences of validation accuracy: the same images, the same seeds; 95 % "
            "intervals by a bootstrap over photographs. Blue ones leave out 0"
        ] = paired.forest(found)
    return drawn
