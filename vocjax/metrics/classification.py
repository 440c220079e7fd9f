"""Classification metrics, which need all examples of a split at once: NumPy, float64.

Unlike those of `metrics.streaming` they do not add over batches. scikit-learn computes those that
it has; it is imported inside the functions because its import takes a second.

`probability` [n, K] in [0, 1] and `target` [n, K], 0 or 1, have a column for each class; `weight`
[n, K] is 0 for an excluded element (VOC calls the class difficult in that image), whatever it
holds. `exclusive` is true for one of K classes an image (softmax), false for K independent classes
(sigmoids; present means probability > 0.5). Shapes that do not fit are a `ValueError`.
"""

from typing import Literal, NamedTuple

import numpy as np

from vocjax.metrics.confusion import count_on_host

DRAWN_AT_ONCE = 1_000_000  # numbers of a bootstrap in memory at a time

Rule = Literal["11 points", "every point"]
RULES: tuple[Rule, ...] = ("11 points", "every point")


class Interval(NamedTuple):
    """A difference of two means, and the ends of its interval."""

    difference: float
    low: float
    high: float


def precision_recall(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision [t + 1] at each of the t different scores, the lowest first.

    The last point is recall 0 with precision 1, at which no image is retrieved.

    Shapes: `score` [n], `truth` [n], 0 or 1. `ValueError` if nothing is positive.
    """
    from sklearn import metrics

    _check_alike(1, score=score, truth=truth)
    if not np.any(truth):
        raise ValueError("recall needs at least one positive")
    precision, recall, _ = metrics.precision_recall_curve(truth, score)
    return recall, precision


def roc(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rate, from (0, 0) to (1, 1), at the corners of the curve.

    `score` [n], `truth` [n], 0 or 1; `ValueError` without a positive and a negative.
    """
    from sklearn import metrics

    _check_alike(1, score=score, truth=truth)
    if not np.any(truth) or np.all(truth):
        raise ValueError("a ROC curve needs at least one positive and one negative")
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(truth, score)
    return false_positive_rate, true_positive_rate


def average_precision(score: np.ndarray, truth: np.ndarray, rule: Rule) -> float:
    """Average precision as PASCAL VOC defines it; NaN without a positive.

    "11 points" (VOC 2007 to 2009) is the mean over recall r = 0, .1, ..., 1, and "every point"
    (VOC 2010 on) the integral over r, of the largest precision at a recall of at least r. Images
    with the same score are retrieved together. `score` [n], `truth` [n], 0 or 1.
    Everingham et al., "The PASCAL Visual Object Classes Challenge" (2010); the devkit of VOC 2010.
    """
    if rule not in RULES:
        raise ValueError(f"the rule is {rule!r}, expected one of {', '.join(RULES)}")
    _check_alike(1, score=score, truth=truth)
    if not np.any(truth):
        return float("nan")
    recall, precision = precision_recall(score, truth)
    retrieved = precision[:-1]  # the last point retrieves nothing
    if rule == "every point":
        return float(-np.diff(recall) @ np.maximum.accumulate(retrieved))
    # i / 10 and hits / positives are both rounded correctly, so equal fractions are equal here.
    return float(np.mean([retrieved[recall[:-1] >= i / 10].max() for i in range(11)]))


def confusion(probability: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Count images by class: rows truth, columns the likeliest class, int64 [K, K].

    The truth of an image with more than one present class is the likeliest class if it is present,
    else the first present one. Excluded columns are neither truth nor decision, and an image
    without an included present class is left out.
    """
    truth, decided = _likeliest(*_elements(probability, target, weight))
    return count_on_host(decided, truth, np.ones_like(truth), probability.shape[1])


def decisions(
    probability: np.ndarray, target: np.ndarray, weight: np.ndarray, exclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence [m] float64 of each decision and whether it is right, [m] bool.

    Exclusive: one decision for each image with an included present class; its confidence is the
    largest probability of the included columns, and it is right if that class is present. Else: one
    decision for each included element, of confidence max(p, 1 - p).
    """
    probability, present, counted = _elements(probability, target, weight)
    if not exclusive:
        confidence = np.maximum(probability, 1 - probability)
        return confidence[counted], ((probability > 0.5) == present)[counted]
    images = (present & counted).any(axis=1)
    scores = np.where(counted, probability, -np.inf)[images]
    right = present[images, scores.argmax(axis=1)]
    return scores.max(axis=1), right


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, share right and count, each [b], of the bins that are not empty.

    The bins are ((i - 1) / bins, i / bins], i from 1; 0 belongs to the first. `confidence` [m] in
    [0, 1], `right` [m], 0 or 1.
    """
    _check_alike(1, confidence=confidence, right=right)
    confidence = np.asarray(confidence, np.float64)
    where = np.digitize(confidence, np.arange(1, bins) / bins, right=True)
    count = np.bincount(where, minlength=bins)
    filled = count > 0
    sums = (np.bincount(where, values, minlength=bins) for values in (confidence, right))
    mean_confidence, share_right = (total[filled] / count[filled] for total in sums)
    return mean_confidence, share_right, count[filled]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Mean distance between confidence and share right over equal-width bins, weighted by count.

    NaN without a decision; arrays as for `reliability`. Guo et al., "On Calibration of Modern
    Neural Networks" (2017).
    """
    mean_confidence, share_right, count = reliability(confidence, right, bins)
    if not count.size:
        return float("nan")
    return float(count @ np.abs(mean_confidence - share_right) / count.sum())


# What `classification_metrics` returns.
RANKED = ("balanced_accuracy", "f1", "roc_auc", "map_11_points", "map_every_point", "ece")


def classification_metrics(
    probability: np.ndarray, target: np.ndarray, weight: np.ndarray, exclusive: bool
) -> dict[str, float]:
    """Return balanced accuracy, F1, area under the ROC curve, mean AP and calibration error.

    `balanced_accuracy` and `f1`: for exclusive classes, the mean recall over the classes that occur
    and the mean F1 over those that occur or are predicted, where the likeliest class is predicted.
    For sigmoids, the mean over columns with positives and negatives, and over those with positives.
    `roc_auc`, `map_11_points` and `map_every_point`: the mean over columns where they are defined.
    `ece`: of all decisions. NaN where nothing is defined, as for probabilities that are not finite.
    """
    from sklearn import metrics

    elements = _elements(probability, target, weight)
    columns = [(p[c], t[c]) for p, t, c in zip(*(a.T for a in elements), strict=True)]
    if not all(np.isfinite(score).all() for score, _ in columns):
        return dict.fromkeys(RANKED, float("nan"))
    positive = [(score, truth) for score, truth in columns if truth.any()]
    both = [(score, truth) for score, truth in positive if not truth.all()]
    if exclusive:
        truth, decided = _likeliest(*elements)
        balanced = [_balanced_accuracy(truth, decided)] if truth.size else []
        macro = {"average": "macro", "zero_division": 0.0}
        f1 = [metrics.f1_score(truth, decided, **macro)] if truth.size else []
    else:
        balanced = [_balanced_accuracy(truth, score > 0.5) for score, truth in both]
        f1 = [metrics.f1_score(truth, score > 0.5, zero_division=0.0) for score, truth in positive]
    return {
        "balanced_accuracy": _mean(balanced),
        "f1": _mean(f1),
        "roc_auc": _mean([metrics.roc_auc_score(truth, score) for score, truth in both]),
        "map_11_points": _mean([average_precision(*c, "11 points") for c in positive]),
        "map_every_point": _mean([average_precision(*c, "every point") for c in positive]),
        "ece": expected_calibration_error(*decisions(probability, target, weight, exclusive)),
    }


def average_precisions(
    probability: np.ndarray, target: np.ndarray, weight: np.ndarray, rule: Rule
) -> np.ndarray:
    """Return the average precision of each class [K], NaN for one without a positive."""
    columns = zip(*(a.T for a in _elements(probability, target, weight)), strict=True)
    return np.array([average_precision(p[c], t[c], rule) for p, t, c in columns])


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None,
    *,
    seed: int = 0,
    draws: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of mean(a) - mean(b) over images, the same draw of images for both.

    `a` and `b` [n] have one value an image. With `groups` [n], equal for images of one group, whole
    groups are drawn, as many as there are, because crops of one photograph are not independent.
    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. `ValueError`
    without an image, or if `level` is not between 0 and 1.
    """
    members = np.arange(len(a)) if groups is None else np.asarray(groups)
    _check_alike(1, a=a, b=b, groups=members)
    if not len(a) or not 0 < level < 1:
        raise ValueError(f"{len(a)} images, level {level}: expected at least 1, level in (0, 1)")
    _, group = np.unique(members, return_inverse=True)
    gains = np.bincount(group, np.subtract(a, b, dtype=np.float64)).astype(np.float64)
    sizes = np.bincount(group).astype(np.float64)
    rng = np.random.default_rng(seed)
    differences = np.empty(draws)
    rows = max(1, DRAWN_AT_ONCE // len(sizes))
    for start in range(0, draws, rows):
        shape = min(rows, draws - start), len(sizes)
        drawn = rng.integers(len(sizes), size=shape, dtype=np.int32)
        differences[start : start + rows] = gains[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(gains.sum() / sizes.sum()), float(low), float(high))


def _elements(
    probability: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probability float64, present bool and counted bool, each [n, K]."""
    _check_alike(2, probability=probability, target=target, weight=weight)
    return np.asarray(probability, np.float64), np.asarray(target) > 0, np.asarray(weight) > 0


def _likeliest(
    probability: np.ndarray, present: np.ndarray, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the likeliest included class of each image with a present one."""
    known = present & counted
    images = known.any(axis=1)
    decided = np.where(counted, probability, -np.inf).argmax(axis=1)
    right = np.take_along_axis(known, decided[:, None], axis=1)[:, 0]
    return np.where(right, decided, known.argmax(axis=1))[images], decided[images]


def _balanced_accuracy(truth: np.ndarray, decided: np.ndarray) -> float:
    """Mean recall over the classes that occur."""
    from sklearn import metrics

    # `balanced_accuracy_score` warns of a predicted class that does not occur.
    return metrics.recall_score(truth, decided, labels=np.unique(truth), average="macro")


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _check_alike(dimensions: int, **arrays: np.ndarray) -> None:
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(s) != dimensions for s in shapes.values()):
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{given}: expected arrays alike, of rank {dimensions}")
