"""Losses of classification against loops in float64 and Keras; gradients at the edges."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from vocjax import losses

FACTORS = np.array([3.0, 1.0, 0.25, 1.5], np.float32)
HUGE = np.finfo(np.float32).max / 4
GAMMAS = [0.0, 0.5, 2.0]

softmax_cross_entropy = jax.jit(losses.softmax_cross_entropy)
focal = jax.jit(losses.focal)
smooth_labels = jax.jit(losses.smooth_labels, static_argnames="exclusive")
class_weights = jax.jit(losses.class_weights, static_argnames="exclusive")
binary_cross_entropy = jax.jit(losses.binary_cross_entropy)


def focal_2(logits, target, weight):
    return focal(logits, target, weight, 2.0)


def focal_half(logits, target, weight):
    return focal(logits, target, weight, 0.5)


MASKED = [softmax_cross_entropy, focal_2, focal_half]


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


def draw_one_hot(n=6, classes=4):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (n, classes)).astype(np.float32)
    return logits, np.eye(classes, dtype=np.float32)[rng.integers(0, classes, n)]


def gradient(loss, logits, *rest):
    return jax.grad(lambda x: loss(x, *rest).sum())(jnp.asarray(logits))


def shares(t, w):
    total = sum(ti for ti, wi in zip(t, w, strict=True) if wi > 0)
    return [ti / total if wi > 0 and total else 0.0 for ti, wi in zip(t, w, strict=True)]


def loop_softmax_cross_entropy(logits, target, weight):
    values = []
    for x, t, w in zip(logits.astype(float), target, weight, strict=True):
        norm = sum(np.exp(xi) for xi, wi in zip(x, w, strict=True) if wi > 0)
        value = 0.0
        for xi, yi, wi in zip(x, shares(t, w), w, strict=True):
            value -= wi * yi * (xi - np.log(norm)) if wi > 0 else 0
        values.append(value)
    return values


def test_softmax_cross_entropy_equals_a_loop():
    logits, target, weight = draw()
    weight[3] *= 0.25
    target[4] *= 0.3
    ours = softmax_cross_entropy(logits, target, weight)
    expected = loop_softmax_cross_entropy(logits, target, weight)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert expected[1] == expected[2] == 0 and sum(value > 0.1 for value in expected) > 3


@pytest.mark.parametrize("amount", [0.0, 0.1])
def test_softmax_cross_entropy_equals_keras(amount):
    logits, target = draw_one_hot()
    ones = np.ones_like(target)
    smoothed = smooth_labels(target, ones, amount, exclusive=True)
    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=amount, reduction=None
    )(target, logits)
    np.testing.assert_allclose(softmax_cross_entropy(logits, smoothed, ones), theirs, rtol=1e-6)


def test_the_gradient_of_softmax_cross_entropy_is_probability_minus_target():
    logits, target = draw_one_hot()
    target[0] = [0.5, 0, 0, 0.5]
    slope = gradient(softmax_cross_entropy, logits, target, np.ones_like(target))
    np.testing.assert_allclose(slope, jax.nn.softmax(logits) - target, atol=1e-7)
    assert np.abs(slope).max() > 0.5


def test_an_image_of_two_classes_shares_itself_between_them():
    logits, both = np.float32([[2, -1, 0.5]]), np.float32([[1, 1, 0]])
    ones = np.ones_like(both)
    halves = [softmax_cross_entropy(logits, row[None], ones) for row in np.eye(3)[:2]]
    ours = softmax_cross_entropy(logits, both, ones)
    np.testing.assert_allclose(ours, np.mean(halves, axis=0), rtol=1e-6)


def test_an_excluded_column_is_out_of_the_softmax():
    logits, target, weight = draw()
    column = np.full_like(logits[:, :1], 50)
    wide = [np.concatenate([column * k, a], axis=1) for k, a in ((1, logits), (0, target))]
    wide_weight = np.concatenate([column * 0, weight], axis=1)
    np.testing.assert_allclose(
        softmax_cross_entropy(*wide, wide_weight),
        softmax_cross_entropy(logits, target, weight),
        rtol=1e-6,
    )


def test_an_image_without_an_included_present_class_gives_nothing():
    logits = np.float32([[5, -5], [5, -5], [5, -5], [np.nan, np.nan]])
    target = np.float32([[0, 0], [1, 0], [1, 0], [1, 0]])
    weight = np.float32([[1, 1], [0, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(softmax_cross_entropy(logits, target, weight), 0)
    np.testing.assert_array_equal(gradient(softmax_cross_entropy, logits, target, weight), 0)
    smoothed = smooth_labels(target, weight, 0.1, exclusive=True)
    np.testing.assert_array_equal(softmax_cross_entropy(logits, smoothed, weight), 0)


@pytest.mark.parametrize("size", [1e4, HUGE])
def test_softmax_cross_entropy_is_stable(size):
    logits = np.float32([[size, -size, 0], [-size, size, 0], [size, size, -size], [-size] * 3])
    target = np.tile(np.float32([1, 0, 0]), (4, 1))
    ones = np.ones_like(target)
    values = softmax_cross_entropy(logits, target, ones)
    np.testing.assert_allclose(values, [0, 2 * size, np.log(2), np.log(3)], rtol=1e-6)
    slope = gradient(softmax_cross_entropy, logits, target, ones)
    expected = [[0, 0, 0], [-1, 1, 0], [-0.5, 0.5, 0], [-2 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(slope, expected, atol=1e-6)


def loop_focal(logits, target, weight, gamma):
    values = []
    for x, t, w in zip(logits, target, weight, strict=True):
        total = norm = 0.0
        for xi, ti, wi in zip(x, t, w, strict=True):
            p = 1 / (1 + np.exp(-float(xi)))
            p_t = p if ti else 1 - p
            total -= wi * (1 - p_t) ** gamma * np.log(p_t)
            norm += wi
        values.append(total / norm if norm else 0.0)
    return values


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_equals_a_loop(gamma):
    logits, target, weight = draw()
    weight[3] *= 0.25
    ours = focal(logits, target, weight, gamma)
    np.testing.assert_allclose(ours, loop_focal(logits, target, weight, gamma), rtol=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("amount", [0.0, 0.2])
def test_focal_equals_keras(gamma, amount):
    logits, target, _ = draw()
    logits /= 3  # Keras takes the logarithm of 1 - p, and loses digits where p is near 1
    ones = np.ones_like(target)
    ours = focal(logits, smooth_labels(target, ones, amount, exclusive=False), ones, gamma)
    theirs = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=False,
        gamma=gamma,
        from_logits=True,
        label_smoothing=amount,
        reduction=None,
    )(target, logits)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_focal_without_gamma_is_binary_cross_entropy():
    logits, target, weight = draw()
    logits *= 40
    target[4] *= 0.3
    expected = binary_cross_entropy(logits, target, weight)
    np.testing.assert_array_equal(focal(logits, target, weight, 0.0), expected)
    np.testing.assert_array_equal(
        gradient(lambda *x: focal(*x, 0.0), logits, target, weight),
        gradient(binary_cross_entropy, logits, target, weight),
    )


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_is_stable(gamma):
    sizes = np.float32([0, 1, 30, 80, 88, 95, 104, 1e4, HUGE])
    logits = np.concatenate([sizes, -sizes])[:, None]
    ones = np.ones_like(logits)
    for truth in (0.0, 0.05, 1.0):
        slope = gradient(focal, logits, truth * ones, ones, gamma)
        assert np.all(np.isfinite(slope)), (truth, slope)
    # Wrong in full, it is the cross-entropy: -log p_t = |x|, of slope 1. Right in full, it is 0.
    values = focal(logits, 0 * ones, ones, gamma)
    np.testing.assert_allclose(values[4:9], sizes[4:], rtol=1e-6)
    np.testing.assert_allclose(values[13:], 0, atol=1e-30)
    slope = gradient(focal, logits, 0 * ones, ones, gamma)
    np.testing.assert_allclose(slope[4:9], 1, rtol=1e-6)
    np.testing.assert_allclose(slope[13:], 0, atol=1e-30)


def test_the_gradient_of_focal_is_its_slope():
    logits = np.linspace(-6, 6, 25, dtype=np.float32)[:, None]
    ones = np.ones_like(logits)
    for truth in (0 * ones, ones):
        up, down = (np.array(loop_focal(logits + h, truth, ones, 2.0)) for h in (0.01, -0.01))
        slope = gradient(focal_2, logits, truth, ones)
        np.testing.assert_allclose(slope[:, 0], (up - down) / 0.02, rtol=1e-3, atol=1e-5)


def test_smoothed_sigmoids_equal_keras():
    logits, target, _ = draw()
    ones = np.ones_like(target)
    ours = binary_cross_entropy(logits, smooth_labels(target, ones, 0.2, exclusive=False), ones)
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2, reduction=None)
    np.testing.assert_allclose(ours, theirs(target, logits), rtol=1e-6)


def test_labels_are_smoothed_over_what_is_included():
    target = np.float32([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, np.nan, 1]])
    weight = np.float32([[1, 1, 1, 1], [1, 1, 0.5, 1], [1, 1, 1, 1], [1, 0, 0, 1]])
    np.testing.assert_allclose(
        smooth_labels(target, weight, 0.2, exclusive=True),
        [[0.85, 0.05, 0.05, 0.05], [0.9, 0.9, 0.1, 0.1], [0, 0, 0, 0], [0.1, 0, np.nan, 0.9]],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        smooth_labels(target, weight, 0.2, exclusive=False),
        [[0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1], [0.1] * 4, [0.1, 0, np.nan, 0.9]],
        rtol=1e-6,
    )
    for exclusive in (True, False):
        unchanged = smooth_labels(target, weight, 0.0, exclusive=exclusive)
        np.testing.assert_array_equal(unchanged, target)


def test_a_present_class_counts_by_its_factor_in_sigmoids():
    logits, target, weight = draw()
    weighted = class_weights(target, weight, FACTORS, exclusive=False)
    expected = []
    for x, t, w in zip(logits, target, weight, strict=True):
        total = norm = 0.0
        for xi, ti, wi, factor in zip(x, t, w, FACTORS, strict=True):
            p = 1 / (1 + np.exp(-float(xi)))
            total -= wi * (factor * np.log(p) if ti else np.log(1 - p))
            norm += wi * (factor if ti else 1)
        expected.append(total / norm if norm else 0.0)
    np.testing.assert_allclose(binary_cross_entropy(logits, target, weighted), expected, rtol=1e-5)


@pytest.mark.parametrize("amount", [0.0, 0.1])
def test_an_image_counts_by_its_class_among_exclusive_ones(amount):
    logits, target, weight = draw()
    factor = [np.dot(shares(t, w), FACTORS) for t, w in zip(target, weight, strict=True)]
    weighted = class_weights(target, weight, FACTORS, exclusive=True)
    smoothed = smooth_labels(target, weight, amount, exclusive=True)
    plain = softmax_cross_entropy(logits, smoothed, weight)
    ours = softmax_cross_entropy(logits, smoothed, weighted)
    np.testing.assert_allclose(ours, plain * np.array(factor), rtol=1e-6)
    assert factor[0] == 2.0 and len(set(factor)) > 3


@pytest.mark.parametrize("exclusive", [True, False])
def test_factors_of_one_change_nothing_and_of_zero_exclude(exclusive):
    _, target, weight = draw()
    weight = weight * 0.5
    target[weight == 0] = np.nan
    some = np.where(weight > 0, target, 0).any(axis=1)
    assert 0 < some.sum() < len(some)
    ones = class_weights(target, weight, np.ones(4), exclusive=exclusive)
    zeros = class_weights(target, weight, np.zeros(4), exclusive=exclusive)
    if exclusive:
        np.testing.assert_allclose(ones[some], weight[some], rtol=1e-6)
        assert not np.any(zeros)
    else:
        np.testing.assert_array_equal(ones, weight)
        np.testing.assert_array_equal(zeros, np.where(target == 0, weight, 0))


@pytest.mark.parametrize("loss", MASKED)
def test_excluded_columns_count_for_nothing_whatever_they_hold(loss):
    logits, target, weight = draw()
    expected, slope = loss(logits, target, weight), gradient(loss, logits, target, weight)
    for rubbish in (np.nan, np.inf, -np.inf):
        x, t = (np.where(weight == 0, rubbish, a) for a in (logits, target))
        np.testing.assert_array_equal(loss(x, t, weight), expected)
        np.testing.assert_array_equal(gradient(loss, x, t, weight), slope)
    assert not np.any(slope[weight == 0])
    assert np.any(slope) and np.all(np.isfinite(slope))


@pytest.mark.parametrize("loss", MASKED)
def test_losses_of_low_precision_inputs_are_computed_in_float32(loss):
    logits, target, weight = (jnp.asarray(a, jnp.bfloat16) for a in draw())
    ours = loss(logits, target, weight)
    assert ours.dtype == jnp.float32
    exact = (np.asarray(a, np.float32) for a in (logits, target, weight))
    np.testing.assert_allclose(ours, loss(*exact), rtol=1e-6)


def test_shapes_that_would_broadcast_to_nonsense_are_refused():
    rows, flat = jnp.zeros((4, 4)), jnp.ones(4)
    for loss in MASKED:
        with pytest.raises(ValueError, match="must be alike"):
            loss(rows[..., None], rows, rows)
        with pytest.raises(ValueError, match="rank"):
            loss(rows, rows, flat)
    images = jnp.zeros((2, 4, 4, 3))
    for call in (
        lambda: softmax_cross_entropy(images, images, images),
        lambda: class_weights(images, images, jnp.ones((4, 4, 3)), exclusive=True),
    ):
        with pytest.raises(ValueError, match=r"need \[B, K\]"):
            call()
    with pytest.raises(ValueError, match=r"factors \(1,\) .* differ in classes"):
        class_weights(rows, rows, jnp.ones(1), exclusive=False)
    for smooth in (smooth_labels, class_weights):
        with pytest.raises(ValueError, match="rank"):
            smooth(rows, flat, jnp.ones(4), exclusive=False)
