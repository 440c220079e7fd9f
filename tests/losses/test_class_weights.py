"""Smoothed labels, and classes that count more or less than others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses

FACTORS = np.array([3.0, 1.0, 0.25, 1.5], np.float32)

softmax_cross_entropy = jax.jit(losses.softmax_cross_entropy)
binary_cross_entropy = jax.jit(losses.binary_cross_entropy)
smooth_labels = jax.jit(losses.smooth_labels, static_argnames="exclusive")
class_weights = jax.jit(losses.class_weights, static_argnames="exclusive")


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


def shares(t, w):
    total = sum(ti for ti, wi in zip(t, w, strict=True) if wi > 0)
    return [ti / total if wi > 0 and total else 0.0 for ti, wi in zip(t, w, strict=True)]


def test_an_image_of_two_classes_shares_itself_between_them():
    logits, both = np.float32([[2, -1, 0.5]]), np.float32([[1, 1, 0]])
    ones = np.ones_like(both)
    halves = [softmax_cross_entropy(logits, row[None], ones) for row in np.eye(3)[:2]]
    ours = softmax_cross_entropy(logits, both, ones)
    np.testing.assert_allclose(ours, np.mean(halves, axis=0), rtol=1e-6)


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
def test_pixels_are_smoothed_and_weighted_as_rows_are(exclusive):
    _, target, weight = draw()
    pixels = [x.reshape(2, 5, 2, 4) for x in (target, weight)]
    for function, option in ((smooth_labels, 0.2), (class_weights, FACTORS)):
        ours = function(*pixels, option, exclusive=exclusive)
        rows = function(target, weight, option, exclusive=exclusive)
        np.testing.assert_array_equal(ours, rows.reshape(2, 5, 2, 4))


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


def test_weight_broadcasts_along_axes_of_size_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (3, 4, 5, 2)).astype(np.float32)
    target, narrow = (rng.random((3, 4, 5, n)).round().astype(np.float32) for n in (2, 1))
    wide = narrow.repeat(2, axis=-1)
    for loss in (binary_cross_entropy, softmax_cross_entropy, jax.jit(losses.soft_dice)):
        np.testing.assert_array_equal(loss(logits, target, narrow), loss(logits, target, wide))


def test_shapes_that_would_broadcast_to_nonsense_are_refused():
    rows, flat, images = jnp.zeros((4, 4)), jnp.ones(4), jnp.zeros((2, 4, 4))
    with pytest.raises(ValueError, match=r"factors \(1,\) .* differ in classes"):
        class_weights(rows, rows, jnp.ones(1), exclusive=False)
    for function in (smooth_labels, class_weights):
        with pytest.raises(ValueError, match="rank"):
            function(rows, flat, jnp.ones(4), exclusive=False)
        with pytest.raises(ValueError, match=r"need \[B, K\] or \[B, H, W, K\]"):
            function(images, images, jnp.ones(4), exclusive=True)
