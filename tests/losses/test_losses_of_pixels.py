"""What every loss of pixels keeps to: a loop's values and slopes, void, edges, low precision."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import values_and_slope

from vocjax import losses

SHAPE = (3, 4, 5, 4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def focal(gamma, exclusive, x, t):
    """The mean over pixels, and over columns where classes don't exclude each other."""
    p_t = softmax(x)[t > 0] if exclusive else sigmoid(np.where(t, x, -x))
    return -np.mean((1 - p_t) ** gamma * np.log(p_t)) if x.size else 0.0


def over_classes(one, p, t, classes):
    """The mean of `one(p, t)` over columns, or its value of all of them at once."""
    if classes == "together":
        return one(p.ravel(), t.ravel())
    columns = [k for k in range(t.shape[1]) if classes == "all" or t[:, k].any()]
    return sum(one(p[:, k], t[:, k]) for k in columns) / max(len(columns), 1)


def tversky(alpha, beta, smoothing, probability, classes, x, t):
    def one(p, t):
        tp, fp, fn = sum(p * t), sum(p * (1 - t)), sum((1 - p) * t)
        denominator = tp + alpha * fp + beta * fn + smoothing
        return 1 - (tp + smoothing) / denominator if denominator else 0.0

    return over_classes(one, probability(x), t, classes)


def lovasz(errors, truth):
    """The Lovász extension by its definition: sets of wrong pixels that grow by the largest error.

    The Jaccard loss of a set of wrong pixels is its share in the union of it with the truth.
    """
    there = set(np.flatnonzero(truth))
    value, before, wrong = 0.0, 0.0, set()
    for i in np.argsort(-errors, kind="stable"):
        wrong.add(i)
        jaccard = len(wrong) / len(wrong | there)
        value += errors[i] * (jaccard - before)
        before = jaccard
    return value


def lovasz_of(exclusive, classes, x, t):
    errors = abs(t - softmax(x)) if exclusive else np.maximum(0, 1 - x * (2 * t - 1))
    return over_classes(lovasz, errors, t, classes)


class Case(NamedTuple):
    """A loss, its options, and the same of the pixels that count, [n, classes], by NumPy."""

    ours: Callable[..., jax.Array]
    options: dict[str, Any]
    theirs: Callable[[np.ndarray, np.ndarray], float]

    @property
    def exclusive(self):
        return self.options.get("exclusive", False)


def focal_case(ours, gamma, **options):
    return Case(ours, options, partial(focal, gamma, "exclusive" in options))


def tversky_case(ours, numbers, **options):
    """`numbers` are alpha, beta and the smoothing."""
    probability = softmax if "exclusive" in options else sigmoid
    classes = options.get("classes", "together")
    return Case(ours, options, partial(tversky, *numbers, probability, classes))


def lovasz_case(**options):
    theirs = partial(lovasz_of, "exclusive" in options, options.get("classes", "together"))
    return Case(losses.lovasz, options, theirs)


SOFTMAX = {"exclusive": True}
DICE, JACCARD, TVERSKY = losses.soft_dice, losses.soft_jaccard, losses.tversky
CASES = {
    "cross-entropy": focal_case(losses.cross_entropy, 0.0),
    "focal": focal_case(partial(losses.focal, gamma=2.0), 2.0),
    "softmax cross-entropy": focal_case(losses.cross_entropy, 0.0, **SOFTMAX),
    "softmax focal": focal_case(partial(losses.focal, gamma=0.5), 0.5, **SOFTMAX),
    "Dice": tversky_case(DICE, (0.5, 0.5, 0)),
    "Dice, softmax, mean of classes": tversky_case(
        DICE, (0.5, 0.5, 0.5), classes="all", smoothing=1.0, **SOFTMAX
    ),
    "Jaccard, mean of classes, smoothed": tversky_case(
        JACCARD, (1, 1, 1), classes="all", smoothing=1.0
    ),
    "Tversky, present classes": tversky_case(
        TVERSKY, (0.3, 0.7, 0), alpha=0.3, beta=0.7, classes="present"
    ),
    "Tversky, softmax, smoothed": tversky_case(
        TVERSKY, (0.7, 0.2, 2), alpha=0.7, beta=0.2, smoothing=2.0, **SOFTMAX
    ),
    "Lovász hinge": lovasz_case(),
    "Lovász-softmax": lovasz_case(classes="present", **SOFTMAX),
    "Lovász-softmax, mean of classes": lovasz_case(classes="all", **SOFTMAX),
}
EVERY = pytest.mark.parametrize("name", CASES)
EITHER = pytest.mark.parametrize("reduction", ["image", "batch"])


def run(name, reduction, *arrays):
    """The values [B] of a case, and the gradient of their sum."""
    case = CASES[name]
    return values_and_slope(case.ours, *arrays, **case.options, reduction=reduction)


def draw(exclusive):
    """Logits and a target of `SHAPE`, a weight [..., 1]: void here and there, and the last image.

    The first class is in the first image alone, the second in none.
    """
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, SHAPE).astype(np.float32)
    if exclusive:
        target = np.eye(SHAPE[-1], dtype=np.float32)[rng.integers(2, SHAPE[-1], SHAPE[:3])]
        target[0, :2] = np.eye(SHAPE[-1])[0]
    else:
        target = (rng.random(SHAPE) < 0.4).astype(np.float32)
        target[1:, ..., 0] = target[..., 1] = 0
    weight = (rng.random((*SHAPE[:3], 1)) < 0.8).astype(np.float32)
    weight[2] = 0
    return logits, target, weight


def counted(array, weight, reduction):
    """The rows that aren't void, float64 [n, classes], of each image or of the batch."""
    groups = [(array, weight)] if reduction == "batch" else zip(array, weight, strict=True)
    return [a[w[..., 0] > 0].astype(np.float64) for a, w in groups]


@EVERY
@EITHER
def test_values_and_slopes_equal_those_of_the_pixels_that_count(name, reduction):
    case, step = CASES[name], 1e-5
    logits, target, weight = draw(case.exclusive)
    direction = np.random.default_rng(1).normal(0, 1, SHAPE)

    def theirs(h):
        xs, ts = (counted(a, weight, reduction) for a in (logits + h * direction, target))
        return np.broadcast_to([case.theirs(x, t) for x, t in zip(xs, ts, strict=True)], 3)

    values, slope = run(name, reduction, logits, target, weight)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, theirs(0), rtol=1e-5)
    expected = (theirs(step) - theirs(-step)).sum() / (2 * step)
    np.testing.assert_allclose((slope * direction).sum(), expected, rtol=1e-4)
    assert np.max(values) > 0.1


@EVERY
@EITHER
def test_void_counts_for_nothing_whatever_it_holds(name, reduction):
    logits, target, weight = draw(CASES[name].exclusive)
    expected = run(name, reduction, logits, target, weight)
    for rubbish in (np.nan, np.inf):
        dirty = (np.where(weight > 0, a, rubbish).astype(np.float32) for a in (logits, target))
        values, slope = run(name, reduction, *dirty, weight)
        np.testing.assert_array_equal(values, expected[0])
        np.testing.assert_array_equal(slope, expected[1])
        assert not np.any(np.where(weight > 0, 0, slope))
        assert np.any(slope) and np.all(np.isfinite(slope))


@EVERY
@EITHER
def test_masks_and_logits_at_the_edges_have_finite_values_and_gradients(name, reduction):
    exclusive = CASES[name].exclusive
    drawn, target, _ = draw(exclusive)
    empty, full = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    if exclusive:  # nothing but background, and nothing but the last class
        empty[..., 0], full[..., :-1] = 1, 0
    every = np.ones((*SHAPE[:3], 1), np.float32)
    tops = np.eye(SHAPE[-1], dtype=np.float32)[1]
    for logits in (drawn, 1e4 * (2 * tops - 1) + 0 * drawn, 1e4 * np.sign(drawn), 0 * drawn):
        for truth in (target, empty, full):
            values, slope = run(name, reduction, logits, truth, every)
            assert np.all(np.isfinite(values)) and np.all(values >= 0)
            assert np.all(np.isfinite(slope))
            for array in run(name, reduction, logits, truth, 0 * every):
                np.testing.assert_array_equal(array, 0)


@pytest.mark.parametrize("name", ["softmax focal", "Tversky, softmax, smoothed", "Lovász hinge"])
def test_low_precision_is_computed_in_float32(name):
    low = [jnp.asarray(a, jnp.bfloat16) for a in draw(CASES[name].exclusive)]
    expected, _ = run(name, "batch", *(np.asarray(a, np.float32) for a in low))
    values, _ = run(name, "batch", *low)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@EVERY
def test_shapes_that_would_broadcast_to_nonsense_are_refused(name):
    case = CASES[name]
    logits, target, weight = draw(case.exclusive)
    with pytest.raises(ValueError, match="must be alike"):
        case.ours(logits[..., :1], target, weight, **case.options)
    with pytest.raises(ValueError, match="rank"):
        case.ours(logits, target, weight[..., 0], **case.options)
