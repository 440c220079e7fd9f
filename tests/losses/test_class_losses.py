"""Cross-entropy and focal loss of rows against loops, Keras and scikit-learn; weighted classes."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from functools import partial

import jax
import keras
import numpy as np
import pytest
import sklearn.metrics
from compiled import values_and_slope

from vocjax import losses
from vocjax.errors import UserError

HUGE = np.finfo(np.float32).max / 4
SIZES = np.array([1e-3, 1, 10, 17, 30, 88, 95, 104, 1e4, HUGE], np.float32)
FACTORS = np.array([3.0, 1.0, 0.25, 1.5], np.float32)

GAMMAS = pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
BOTH = pytest.mark.parametrize("exclusive", [False, True], ids=["sigmoids", "softmax"])
SMOOTH_LABELS, CLASS_WEIGHTS = (
    jax.jit(function, static_argnames="exclusive")
    for function in (losses.smooth_labels, losses.class_weights)
)


def smooth_labels(target, weight, amount, exclusive):
    return np.asarray(SMOOTH_LABELS(target, weight, amount, exclusive=exclusive))


def class_weights(target, weight, factors, exclusive):
    return np.asarray(CLASS_WEIGHTS(target, weight, factors, exclusive=exclusive))


def focal(*arrays, gamma=0.0, **options):
    """Values and slope; gamma 0 is the cross-entropy."""
    loss, own = (losses.focal, {"gamma": gamma}) if gamma else (losses.cross_entropy, {})
    return values_and_slope(loss, *arrays, **own, **options)


def binary(*arrays, **options):
    return focal(*arrays, exclusive=False, **options)[0]


def softmax(*arrays, **options):
    return focal(*arrays, exclusive=True, **options)[0]


def padded(rows, fill=0.0):
    """A small array [n, k] as one of the shape that is compiled already, [20, 4]."""
    n, k = np.shape(rows)
    return np.pad(np.float32(rows), [(0, 20 - n), (0, 4 - k)], constant_values=fill)


def draw(n=20, classes=4):
    """Logits, a 0 / 1 target of none to several classes and a 0 / 1 weight."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (n, classes)).astype(np.float32)
    target = (rng.random((n, classes)) < 0.4).astype(np.float32)
    weight = (rng.random((n, classes)) < 0.7).astype(np.float32)
    target[0], weight[0] = [1, 1, 0, 0], 1  # shared by two
    target[1] = 0
    weight[2] = 0
    return logits, target, weight


def draw_one_hot():
    rng, rows = np.random.default_rng(1), np.eye(4, dtype=np.float32)
    return rng.normal(0, 3, (20, 4)).astype(np.float32), rows[rng.integers(0, 4, 20)]


def loop(logits, target, weight, gamma, exclusive):
    """The focal loss of each row, in float64."""
    values = []
    for row in zip(logits.astype(float), target, weight, strict=True):
        x, t, w = (a[row[2] > 0] for a in row)  # the columns that count
        if exclusive:
            p = np.exp(x) / np.exp(x).sum()
            terms = -w * t / (t.sum() or 1) * (1 - p) ** gamma * np.log(p)
        else:
            p = 1 / (1 + np.exp(-x))
            entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p))
            terms = w / (w.sum() or 1) * (1 - t * p - (1 - t) * (1 - p)) ** gamma * entropy
        values.append(terms.sum())
    return values


@GAMMAS
@BOTH
def test_values_equal_a_loop(exclusive, gamma):
    logits, target, weight = draw()
    weight[3] *= 0.25
    target[4] *= 0.3
    ours, _ = focal(logits, target, weight, gamma=gamma, exclusive=exclusive)
    expected = loop(logits, target, weight, gamma, exclusive)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert expected[2] == 0 and sum(value > 0.1 for value in expected) > 3


def test_a_row_that_is_excluded_as_a_whole_does_not_count_for_the_batch():
    logits, target, weight = draw()
    expected = loop(logits, target, weight, 0.0, exclusive=True)
    batch, rows = softmax(logits, target, weight, reduction="batch"), weight.any(axis=1)
    np.testing.assert_allclose(batch, [sum(expected) / rows.sum()] * 20, rtol=1e-5)


@GAMMAS
@BOTH
@pytest.mark.parametrize("amount", [0.0, 0.2])
def test_values_equal_keras_and_scikit_learn(exclusive, gamma, amount):
    logits, target = draw_one_hot()
    logits /= 3  # Keras takes the logarithm of 1 - p, and loses digits where p is near 1
    ones, name = np.ones_like(target), "Categorical" if exclusive else "Binary"
    theirs = getattr(keras.losses, name + ("FocalCrossentropy" if gamma else "Crossentropy"))
    options = {"gamma": gamma} if gamma else {}
    if gamma and exclusive:
        options["alpha"] = 1.0  # a factor of the whole loss, .25 by default
    peer = theirs(label_smoothing=amount, from_logits=True, reduction=None, **options)
    expected = peer(target, logits)
    smoothed = smooth_labels(target, ones, amount, exclusive=exclusive)
    ours, _ = focal(logits, smoothed, ones, gamma=gamma, exclusive=exclusive)
    np.testing.assert_allclose(ours, expected, rtol=2e-6)
    if not (exclusive or gamma or amount):
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        rows = [sklearn.metrics.log_loss(*x, labels=[0, 1]) for x in zip(target, p, strict=True)]
        np.testing.assert_allclose(ours, rows, rtol=1e-5)


def test_the_gradient_of_softmax_cross_entropy_is_probability_minus_target():
    logits, target = draw_one_hot()
    target[0] = [0.5, 0, 0, 0.5]
    _, slope = focal(logits, target, np.ones_like(target), exclusive=True)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(slope, p - target, atol=3e-7)
    assert np.abs(slope).max() > 0.5


def test_an_excluded_column_has_no_part_in_the_softmax():
    logits, target, weight = draw()
    column = np.full_like(logits[:, :1], 50)
    wide = [np.concatenate([column * k, a], axis=1) for k, a in ((1, logits), (0, target))]
    ours = softmax(*wide, np.concatenate([column * 0, weight], axis=1))
    np.testing.assert_allclose(ours, softmax(logits, target, weight), rtol=1e-6)


def test_an_image_without_an_included_present_class_gives_nothing():
    logits = padded([[5, -5], [5, -5], [5, -5], [np.nan, np.nan]])
    target = padded([[0, 0], [1, 0], [1, 0], [1, 0]])
    weight = padded([[1, 1], [0, 1], [0, 0], [0, 0]])
    for array in focal(logits, target, weight, exclusive=True):
        np.testing.assert_array_equal(array, 0)
    smoothed = smooth_labels(target, weight, 0.1, exclusive=True)
    np.testing.assert_array_equal(softmax(logits, smoothed, weight), 0)


@GAMMAS
def test_sigmoids_of_any_size_are_stable(gamma):
    logits = padded(np.concatenate([SIZES, -SIZES])[:, None])
    first = padded(np.ones((20, 1)))
    for truth in (0.05, 1.0, 0.0):
        values, slope = focal(logits, truth * first, first, gamma=gamma)
        assert np.all(np.isfinite(slope)), (truth, slope)
    # A wrong sure decision has the cross-entropy -log p_t = |x|, of slope 1; a right one has 0.
    np.testing.assert_allclose(values[5:10], SIZES[5:], rtol=1e-6)
    np.testing.assert_allclose(slope[5:10, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(values[15:], 0, atol=1e-30)
    np.testing.assert_allclose(slope[15:], 0, atol=1e-30)


@GAMMAS
def test_a_softmax_of_any_size_is_stable(gamma):
    logits, weight = padded(np.concatenate([SIZES, -SIZES])[:, None]), padded(np.ones((20, 2)))
    values, slope = focal(logits, padded(np.ones((20, 1))), weight, gamma=gamma, exclusive=True)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(values[14:], SIZES[4:], rtol=1e-6)
    np.testing.assert_array_equal(values[4:10], 0)


@pytest.mark.parametrize("size", [1e4, HUGE])
def test_ties_in_a_softmax_of_any_size_are_exact(size):
    logits = [[size, -size, 0], [-size, size, 0], [size, size, -size], [-size] * 3]
    arrays = (padded(x) for x in (logits, [[1, 0, 0]] * 4, [[1] * 3] * 4))
    values, slope = focal(*arrays, exclusive=True)
    np.testing.assert_allclose(values[:4], [0, 2 * size, np.log(2), np.log(3)], rtol=1e-6)
    expected = [[0, 0, 0], [-1, 1, 0], [-0.5, 0.5, 0], [-2 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(slope[:4, :3], expected, atol=1e-6)


def test_the_gradient_of_focal_is_its_slope():
    logits = padded(np.linspace(-6, 6, 20)[:, None])
    first = padded(np.ones((20, 1)))
    for truth in (0 * first, first):
        up, down = (np.array(loop(logits + h, truth, first, 2.0, False)) for h in (0.01, -0.01))
        _, slope = focal(logits, truth, first, gamma=2.0)
        np.testing.assert_allclose(slope[:, 0], (up - down) / 0.02, rtol=1e-3, atol=1e-5)


@BOTH
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_excluded_columns_count_for_nothing_whatever_they_hold(exclusive, gamma):
    loss = partial(focal, gamma=gamma, exclusive=exclusive)
    logits, target, weight = draw()
    expected, slope = loss(logits, target, weight)
    for rubbish in (np.nan, np.inf, -np.inf):
        dirty = (np.where(weight == 0, rubbish, a).astype(np.float32) for a in (logits, target))
        for ours, theirs in zip(loss(*dirty, weight), (expected, slope), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.any(slope[weight == 0])
    assert np.any(slope) and np.all(np.isfinite(slope))


def test_an_image_of_two_classes_is_shared_between_them():
    logits, targets = [[2, -1, 0.5]] * 3, [[1, 1, 0], [1, 0, 0], [0, 1, 0]]
    both, *halves = softmax(*map(padded, (logits, targets, np.ones((3, 3)))))[:3]
    np.testing.assert_allclose(both, np.mean(halves), rtol=1e-6)


def test_labels_are_smoothed_over_included_columns():
    target = np.float32([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, np.nan, 1]])
    weight = np.float32([[1, 1, 1, 1], [1, 1, 0.5, 1], [1, 1, 1, 1], [1, 0, 0, 1]])
    exclusive = [[0.85, 0.05, 0.05, 0.05], [0.9, 0.9, 0.1, 0.1], [0] * 4, [0.1, 0, np.nan, 0.9]]
    sigmoids = [[0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1], [0.1] * 4, [0.1, 0, np.nan, 0.9]]
    for expected, option in ((exclusive, True), (sigmoids, False)):
        smoothed = smooth_labels(target, weight, 0.2, exclusive=option)
        np.testing.assert_allclose(smoothed, expected, rtol=1e-6)
        unchanged = smooth_labels(target, weight, 0.0, exclusive=option)
        np.testing.assert_array_equal(unchanged, target)


def test_a_present_class_of_sigmoids_counts_by_its_factor():
    logits, target, weight = draw()
    weighted = class_weights(target, weight, FACTORS, exclusive=False)
    np.testing.assert_array_equal(weighted, np.where(target > 0, FACTORS, 1) * weight)
    expected = loop(logits, target, weighted, 0.0, exclusive=False)
    np.testing.assert_allclose(binary(logits, target, weighted), expected, rtol=1e-5)


@pytest.mark.parametrize("amount", [0.0, 0.1])
def test_an_image_of_exclusive_classes_counts_by_its_class(amount):
    logits, target, weight = draw()
    present = target * weight
    factor = (present @ FACTORS) / np.maximum(present.sum(axis=1), 1)
    weighted = class_weights(target, weight, FACTORS, exclusive=True)
    smoothed = smooth_labels(target, weight, amount, exclusive=True)
    plain = softmax(logits, smoothed, weight)
    np.testing.assert_allclose(softmax(logits, smoothed, weighted), plain * factor, rtol=1e-6)
    assert factor[0] == 2.0 and len(set(factor.tolist())) > 3


@BOTH
def test_pixels_are_smoothed_and_weighted_as_rows_are(exclusive):
    _, target, weight = draw()
    pixels = [x.reshape(2, 5, 2, 4) for x in (target, weight)]
    for function, option in ((losses.smooth_labels, 0.2), (losses.class_weights, FACTORS)):
        rows, ours = (function(*x, option, exclusive) for x in ((target, weight), pixels))
        np.testing.assert_array_equal(ours, rows.reshape(2, 5, 2, 4))


@BOTH
def test_factors_of_one_change_nothing_and_of_zero_exclude(exclusive):
    _, target, weight = draw()
    weight = weight * 0.5
    target[weight == 0] = np.nan
    ones, zeros = (class_weights(target, weight, f, exclusive) for f in np.eye(2)[:, [0] * 4])
    if exclusive:
        some = np.where(weight > 0, target, 0).any(axis=1)
        assert 0 < some.sum() < len(some)
        np.testing.assert_allclose(ones[some], weight[some], rtol=1e-6)
        assert not np.any(zeros)
    else:
        np.testing.assert_array_equal(ones, weight)
        np.testing.assert_array_equal(zeros, np.where(target == 0, weight, 0))


def test_shapes_and_values_that_make_no_sense_are_refused():
    rows, flat, images = np.zeros((4, 4)), np.ones(4), np.zeros((2, 4, 4))
    classes = r"need \[B, K\] or \[B, H, W, K\], not \(2, 4, 4\)"
    for exclusive in (True, False):
        loss = partial(focal, exclusive=exclusive)
        with pytest.raises(ValueError, match="must be alike"):
            loss(rows[..., None], rows, rows)
        with pytest.raises(ValueError, match="rank"):
            loss(rows, rows, flat)
        with pytest.raises(UserError, match=r"'imgae'; it is one of batch, image"):
            loss(rows, rows, rows, reduction="imgae")
    with pytest.raises(ValueError, match=classes):
        softmax(images, images, images)
    with pytest.raises(UserError, match=r"loss.gamma is -1.0; it must be at least 0"):
        focal(rows, rows, rows, gamma=-1.0)
    with pytest.raises(ValueError, match=r"factors \(1,\) .* differ in classes"):
        class_weights(rows, rows, np.ones(1), exclusive=False)
    for function in (smooth_labels, class_weights):
        with pytest.raises(ValueError, match="rank"):
            function(rows, flat, flat, exclusive=False)
        with pytest.raises(ValueError, match=classes):
            function(images, images, flat, exclusive=True)
