"""What the report shows of task 2: decisions, their confidence, and the evidence for them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from vocjax import painting
from vocjax.metrics import classification
from vocjax.reporting import curves, differences
from vocjax.reporting import figures as draw
from vocjax.reporting.curves import Curve
from vocjax.reporting.hover import Drawn, scatter
from vocjax.reporting.shown import MOST, by_shown, labelled, short
from vocjax.reporting.study import repeated
from vocjax.runs.reader import Run, lookup

Samples = Mapping[str, np.ndarray]

MAJORITY = "majority class (frequency)"  # the name of that baseline
MISTAKES, IN_A_ROW = 16, 4


class Elements(NamedTuple):
    """Of each image and class, float64 [n, K]."""

    probability: np.ndarray
    target: np.ndarray  # 1 where the class is present
    weight: np.ndarray  # 1 where it is included


def figures(run: Run) -> Drawn:
    """Draw what a classifier kept of its validation images."""
    samples, classes = run.samples, run.config["data"]["classes"]
    names = [f"val/{name}" for name in Elements._fields]
    if not samples.keys() >= set(names):
        return _codes(samples, classes)
    elements = Elements(*(samples[name].astype(np.float64) for name in names))
    exclusive = run.field("loss.name") == "softmax_cross_entropy"
    # The likeliest of two sigmoids is the decision, as with two exclusive classes.
    choice = exclusive or len(classes) == 2
    drawn = _true_class(elements, classes)
    if choice:
        title = "Confusion matrix, validation: numbers of images, the share of the row as colour"
        drawn[title] = curves.confusion_matrix(classification.confusion(*elements), classes)
    drawn |= (
        _curves(elements, classes)
        | _calibration(elements, exclusive)
        | _codes(samples, classes)
        | _mistakes(samples, elements, classes, choice)
        | _evidence(samples, classes)
    )
    if "reconstruction" in samples:  # a joint network has a decoder, too
        rows = {"validation image": samples["image"], "reconstruction": samples["reconstruction"]}
        drawn["Reconstructions"] = draw.image_rows(rows)
    return drawn


def side_by_side(runs: Sequence[Run]) -> Drawn:
    """Draw the same validation images with the class that each run finds likeliest."""
    drawn: Drawn = {}
    for group in by_shown(runs, "image", *(f"val/{name}" for name in Elements._fields)):
        classes = group[0].config["data"]["classes"]
        group = [run for run in group if run.config["data"]["classes"] == classes][-MOST:]
        rows: dict[str, list[tuple[str, bool]]] = {}
        for name, run in zip(labelled(group), group, strict=True):
            samples = run.samples
            found, truth = (samples[f"val/{k}"][samples["shown"]] for k in Elements._fields[:2])
            best = found.argmax(axis=1)
            right = np.take_along_axis(truth, best[:, None], axis=1)[:, 0] > 0
            texts = [f"{classes[k]}\n{short(row[k])}" for k, row in zip(best, found, strict=True)]
            rows[name] = list(zip(texts, right.tolist(), strict=True))
        title = "The same validation images, and the class that each run finds likeliest, with its "
        title += "probability; a cross marks the wrong ones"
        title += f" ({group[0].data})" if title in drawn else ""
        drawn[title] = curves.verdicts(group[0].samples["image"], rows)
    return drawn


def _true_class(elements: Elements, classes: Sequence[str]) -> Drawn:
    shown = np.flatnonzero(elements.target.any(axis=1))
    groups = elements.target[shown].argmax(axis=1)
    figure = curves.probability_bars(elements.probability[shown, groups], groups, classes)
    return {"Probability of the true class, validation": figure}


def _curves(elements: Elements, classes: Sequence[str]) -> Drawn:
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
        figure = curves.class_curves(by_rate, "AUC", "false positive rate", "true positive rate")
        chance: Any = {"color": draw.QUIET, "linewidth": 0.9, "linestyle": ":", "zorder": 0}
        figure.axes[0].plot([0, 1], [0, 1], **chance)
        result["ROC curves, validation: each class against the rest"] = figure
    if by_recall:
        title = (
            "Precision and recall, validation: each class against the rest. AP is VOC's of 2007 to "
            "2009, by 11 points"
        )
        result[title] = curves.class_curves(by_recall, "AP", "recall", "precision", "steps-post")
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


def _codes(samples: Samples, classes: Sequence[str]) -> Drawn:
    stages = {"before": "before/", "after": ""}
    before, after = (samples.get(f"{prefix}train/principal") for prefix in stages.values())
    if before is not None and after is not None and np.array_equal(before, after):
        stages = {"before and after": ""}  # the encoder was frozen
    return {
        f"Codes {stage} training; the pointer shows the image of a point": drawn
        for stage, prefix in stages.items()
        if (drawn := scatter(samples, classes, prefix)) is not None
    }


def _mistakes(samples: Samples, elements: Elements, classes: Sequence[str], choice: bool) -> Drawn:
    """The images whose wrong class has the highest probability, or whose worst column errs most."""
    if "val/thumbnail" not in samples:
        return {}
    probability, target, weight = elements
    if choice:
        # Only the likeliest class of an image, and no image without an included class.
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
        texts.append(f"{classes[column]} {short(probability[image, column])},\nis {truth}")
    thumbnails = samples["val/thumbnail"][images]
    return {"The most confident mistakes, validation": _in_rows(thumbnails, texts)}


def _in_rows(thumbnails: np.ndarray, texts: Sequence[str]) -> Figure:
    """Images with their texts, `IN_A_ROW` in each row; the last row is filled up with white."""
    width = min(IN_A_ROW, len(texts))
    missing = -len(texts) % width
    gaps = ((0, missing), (0, 0), (0, 0), (0, 0))
    images = np.pad(thumbnails, gaps, constant_values=255).reshape(-1, width, *thumbnails.shape[1:])
    captions = np.array([*texts, *["\n"] * missing]).reshape(-1, width)
    labels = [" " * i for i in range(len(images))]
    return draw.image_rows(
        dict(zip(labels, images, strict=True)), dict(zip(labels, captions.tolist(), strict=True))
    )


def _evidence(samples: Samples, classes: Sequence[str]) -> Drawn:
    if not samples.keys() >= {"image", "evidence", "shown"}:
        return {}
    image, evidence = samples["image"], samples["evidence"]
    shown = samples["val/probability"][samples["shown"]]
    captions = [f"{classes[row.argmax()]}\n{short(row.max())}" for row in shown]
    title = (
        "What each place adds to the logit of the likeliest class, red, or takes from it, blue; "
        f"at most {np.abs(evidence).max():.2g}"
    )
    heat = painting.heat_map(painting.grey(image), evidence)
    rows = {"validation image": image, "evidence": heat}
    return {title: draw.image_rows(rows, {"evidence": captions})}


def comparison(runs: Sequence[Run]) -> dict[str, Figure]:
    """Draw the validation accuracy of runs on the same data by their names, the best above.

    A run that repeats one of the study's has a cross there. Nothing for fewer than three names.
    """
    accuracy: dict[str, list[float]] = {}
    study: dict[str, float] = {}
    for run in runs:
        value = lookup(run.results, "val", "elementwise_accuracy")
        if value is not None:
            accuracy.setdefault(run.name, []).append(value)
            if row := repeated(run):
                study[run.name] = float(row["val"]["elementwise_accuracy"])
    if len(accuracy) < 3:
        return {}
    trivial = (lookup(run.baseline(MAJORITY), "val", "elementwise_accuracy") for run in runs)
    # A split that is drawn anew for each seed has its own majority for each seed.
    majority = [value for value in trivial if value is not None]
    title = "Validation accuracy: dots are means of the seeds, lines their span"
    title += "; crosses are the study's figures, on its own data" if study else ""
    title += "; dotted: always the majority class" if majority else ""
    best_first = sorted(accuracy, key=lambda name: -np.mean(accuracy[name]))
    rows = [draw.Row(name, {"accuracy": accuracy[name]}, study.get(name)) for name in best_first]
    levels = {"": float(np.mean(majority))} if majority else {}
    axis = "element-wise accuracy, validation"
    drawn = {title: draw.dots({"": rows}, axis, levels, "majority class")}
    if found := differences.differences(runs):
        drawn[
            "Paired differences of validation accuracy: the same images, the same seeds; 95 % "
            "intervals by a bootstrap over photographs. Blue ones leave out 0"
        ] = differences.forest(found)
    return drawn
