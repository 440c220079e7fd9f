"""What every loss of pixels keeps to: a loop's values and slopes, void, edges, low precision."""

import functools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses

SHAPE = (3, 4, 5, 4)
REDUCTIONS = ("image", "batch")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def loop_binary(x, t, gamma=0.0):
    total = 0.0
    for xi, ti in zip(x.flat, t.flat, strict=True):
        p_t = sigmoid(xi if ti else -xi)
        total -= (1 - p_t) ** gamma * np.log(p_t)
    return total / x.size if x.size else 0.0


def loop_softmax(x, t, gamma=0.0):
    total = 0.0
    for row, truth in zip(softmax(x), t, strict=True):
        p_t = row[truth.argmax()]
        total -= (1 - p_t) ** gamma * np.log(p_t)
    return total / len(x) if len(x) else 0.0


def over_classes(one, p, t, classes):
    """The mean of `one(p, t)` over columns, or its value of all of them at once."""
    if classes == "together":
        return one(p.ravel(), t.ravel())
    columns = [k for k in range(t.shape[1]) if classes == "all" or t[:, k].any()]
    return sum(one(p[:, k], t[:, k]) for k in columns) / max(len(columns), 1)


def loop_tversky(x, t, alpha, beta, smoothing=0.0, probability=sigmoid, classes="together"):
    def one(p, t):
        tp = fp = fn = 0.0
        for pi, ti in zip(p, t, strict=True):
            tp += pi * ti
            fp += pi * (1 - ti)
            fn += (1 - pi) * ti
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


def loop_hinge(x, t, classes="together"):
    return over_classes(lovasz, np.maximum(0, 1 - x * (2 * t - 1)), t, classes)


def loop_lovasz_softmax(x, t, classes):
    return over_classes(lovasz, abs(t - softmax(x)), t, classes)


class Case(NamedTuple):
    ours: Callable[..., jax.Array]
    loop: Callable[[np.ndarray, np.ndarray], float]  # of the pixels that count, [n, classes]
    exclusive: bool = False


CASES = {
    "cross-entropy": Case(losses.binary_cross_entropy, loop_binary),
    "focal": Case(partial(losses.focal, gamma=2.0), partial(loop_binary, gamma=2.0)),
    "softmax cross-entropy": Case(losses.softmax_cross_entropy, loop_softmax, True),
    "softmax focal": Case(
        partial(losses.softmax_focal, gamma=0.5), partial(loop_softmax, gamma=0.5), True
    ),
    "Dice": Case(losses.soft_dice, partial(loop_tversky, alpha=0.5, beta=0.5)),
    "Dice, softmax, mean of classes": Case(
        partial(losses.soft_dice, exclusive=True, classes="all", smoothing=1.0),
        partial(
            loop_tversky, alpha=0.5, beta=0.5, probability=softmax, classes="all", smoothing=0.5
        ),
        True,
    ),
    "Jaccard, mean of classes, smoothed": Case(
        partial(losses.soft_jaccard, classes="all", smoothing=1.0),
        partial(loop_tversky, alpha=1.0, beta=1.0, classes="all", smoothing=1.0),
    ),
    "Jaccard, softmax, present classes": Case(
        partial(losses.soft_jaccard, exclusive=True, classes="present"),
        partial(loop_tversky, alpha=1.0, beta=1.0, probability=softmax, classes="present"),
        True,
    ),
    "Tversky, present classes": Case(
        partial(losses.tversky, alpha=0.3, beta=0.7, classes="present"),
        partial(loop_tversky, alpha=0.3, beta=0.7, classes="present"),
    ),
    "Tversky, softmax, smoothed": Case(
        partial(losses.tversky, alpha=0.7, beta=0.2, exclusive=True, smoothing=2.0),
        partial(loop_tversky, alpha=0.7, beta=0.2, probability=softmax, smoothing=2.0),
        True,
    ),
    "Lovász hinge": Case(losses.lovasz_hinge, loop_hinge),
    "Lovász hinge, present classes": Case(
        partial(losses.lovasz_hinge, classes="present"), partial(loop_hinge, classes="present")
    ),
    "Lovász-softmax": Case(
        losses.lovasz_softmax, partial(loop_lovasz_softmax, classes="present"), True
    ),
    "Lovász-softmax, mean of classes": Case(
        partial(losses.lovasz_softmax, classes="all"),
        partial(loop_lovasz_softmax, classes="all"),
        True,
    ),
}


@functools.cache
def compiled(name):
    """`f(logits, target, weight)`: values and their sum's gradient, by reduction."""
    ours = CASES[name].ours

    def total(logits, target, weight, reduction):
        values = ours(logits, target, weight, reduction=reduction)
        return values.sum(), values

    def both(*arrays):
        return {r: jax.grad(total, has_aux=True)(*arrays, r)[::-1] for r in REDUCTIONS}

    return jax.jit(both)


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
    groups = [(array[i], weight[i, ..., 0]) for i in range(len(array))]
    if reduction == "batch":
        groups = [(array, weight[..., 0])]
    return [a[w > 0].astype(np.float64) for a, w in groups]


@pytest.mark.parametrize("name", CASES)
def test_values_and_slopes_equal_a_loops_over_what_counts(name):
    case, step = CASES[name], 1e-5
    logits, target, weight = draw(case.exclusive)
    direction = np.random.default_rng(1).normal(0, 1, SHAPE)
    ours = compiled(name)(logits, target, weight)
    for reduction in REDUCTIONS:

        def loop(h, reduction=reduction):
            xs, ts = (counted(a, weight, reduction) for a in (logits + h * direction, target))
            values = [case.loop(x, t) for x, t in zip(xs, ts, strict=True)]
            return values * (SHAPE[0] if reduction == "batch" else 1)

        values, slope = ours[reduction]
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, loop(0), rtol=1e-5)
        expected = (sum(loop(step)) - sum(loop(-step))) / (2 * step)
        np.testing.assert_allclose((slope * direction).sum(), expected, rtol=1e-4)
        assert np.max(values) > 0.1


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rubbish", [np.nan, np.inf])
def test_void_counts_for_nothing_whatever_it_holds(name, rubbish):
    logits, target, weight = draw(CASES[name].exclusive)
    expected = compiled(name)(logits, target, weight)
    logits, target = (np.where(weight > 0, a, rubbish).astype(np.float32) for a in (logits, target))
    ours = compiled(name)(logits, target, weight)
    for reduction in REDUCTIONS:
        for a, b in zip(ours[reduction], expected[reduction], strict=True):
            np.testing.assert_array_equal(a, b)
        slope = ours[reduction][1]
        assert not np.any(np.where(weight > 0, 0, slope))
        assert np.any(slope) and np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", CASES)
def test_masks_and_logits_at_the_edges_have_finite_values_and_gradients(name):
    exclusive = CASES[name].exclusive
    drawn, target, _ = draw(exclusive)
    empty, full = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    if exclusive:  # nothing but background, and nothing but the last class
        empty[..., 0], full[..., :-1] = 1, 0
    every = np.ones((*SHAPE[:3], 1), np.float32)
    tops = np.eye(SHAPE[-1], dtype=np.float32)[1]
    for logits in (drawn, 1e4 * (2 * tops - 1) + 0 * drawn, 1e4 * np.sign(drawn), 0 * drawn):
        for truth in (target, empty, full):
            for values, slope in compiled(name)(logits, truth, every).values():
                assert np.all(np.isfinite(values)) and np.all(values >= 0)
                assert np.all(np.isfinite(slope))
            for values, slope in compiled(name)(logits, truth, 0 * every).values():
                np.testing.assert_array_equal(values, 0)
                np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
    "name",
    ["cross-entropy", "focal", "softmax focal", "Tversky, softmax, smoothed", "Lovász hinge"],
)
def test_low_precision_is_computed_in_float32(name):
    low = [jnp.asarray(a, jnp.bfloat16) for a in draw(CASES[name].exclusive)]
    expected = compiled(name)(*(np.asarray(a, np.float32) for a in low))["batch"][0]
    values = jax.jit(partial(CASES[name].ours, reduction="batch"))(*low)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_shapes_that_would_broadcast_to_nonsense_are_refused(name):
    logits, target, weight = draw(CASES[name].exclusive)
    with pytest.raises(ValueError, match="must be alike"):
        CASES[name].ours(logits[..., :1], target, weight)
    with pytest.raises(ValueError, match="rank"):
        CASES[name].ours(logits, target, weight[..., 0])
