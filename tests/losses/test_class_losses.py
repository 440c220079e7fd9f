"""Cross-entropies and focal losses against loops, Keras and scikit-learn; their gradients."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import sklearn.metrics

from vocjax import losses
from vocjax.errors import UserError

HUGE = np.finfo(np.float32).max / 4
GAMMAS = [0.0, 0.5, 2.0]
PIXELS = (3, 4, 5, 4)

binary_cross_entropy = jax.jit(losses.binary_cross_entropy, static_argnames="reduction")
softmax_cross_entropy = jax.jit(losses.softmax_cross_entropy, static_argnames="reduction")
focal = jax.jit(losses.focal, static_argnames="reduction")
softmax_focal = jax.jit(losses.softmax_focal, static_argnames="reduction")
smooth_labels = jax.jit(losses.smooth_labels, static_argnames="exclusive")


@functools.cache
def compiled_gradient(loss):
    return jax.jit(jax.grad(lambda *arrays: loss(*arrays).sum()))


def gradient(loss, logits, *rest):
    return compiled_gradient(loss)(jnp.asarray(logits), *rest)


def focal_half(logits, target, weight):
    return focal(logits, target, weight, 0.5)


def softmax_focal_half(logits, target, weight):
    return softmax_focal(logits, target, weight, 0.5)


MASKED = [binary_cross_entropy, softmax_cross_entropy, focal_half, softmax_focal_half]


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


def draw_one_hot(shape=(6, 4)):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    return logits, np.eye(shape[-1], dtype=np.float32)[rng.integers(0, shape[-1], shape[:-1])]


def loop_binary(logits, target, weight, gamma=0.0):
    values = []
    for x, t, w in zip(logits, target, weight, strict=True):
        total = norm = 0.0
        for xi, ti, wi in zip(x, t, w, strict=True):
            p = 1 / (1 + np.exp(-float(xi)))
            entropy = -(ti * np.log(p) + (1 - ti) * np.log(1 - p))
            total += wi * (1 - ti * p - (1 - ti) * (1 - p)) ** gamma * entropy
            norm += wi
        values.append(total / norm if norm else 0.0)
    return values


def loop_softmax(logits, target, weight, gamma=0.0):
    values = []
    for x, t, w in zip(logits.astype(float), target, weight, strict=True):
        norm = sum(np.exp(xi) for xi, wi in zip(x, w, strict=True) if wi > 0)
        present = sum(ti for ti, wi in zip(t, w, strict=True) if wi > 0)
        value = 0.0
        for xi, ti, wi in zip(x, t, w, strict=True):
            if wi > 0 and ti > 0:
                p = np.exp(xi) / norm
                value -= wi * ti / present * (1 - p) ** gamma * np.log(p)
        values.append(value)
    return values


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize(("ours", "loop"), [(focal, loop_binary), (softmax_focal, loop_softmax)])
def test_focal_losses_equal_a_loop(ours, loop, gamma):
    logits, target, weight = draw()
    weight[3] *= 0.25
    target[4] *= 0.3
    values = ours(logits, target, weight, gamma)
    expected = loop(logits, target, weight, gamma)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert expected[2] == 0 and sum(value > 0.1 for value in expected) > 3
    # The rows that are excluded altogether don't count for the batch either.
    if ours is softmax_focal:
        batch, rows = ours(logits, target, weight, gamma, reduction="batch"), weight.any(axis=1)
        np.testing.assert_allclose(batch, [sum(expected) / rows.sum()] * 20, rtol=1e-5)


def test_without_gamma_the_focal_losses_are_cross_entropies():
    logits, target, weight = draw()
    logits *= 40
    target[4] *= 0.3
    for modulated, plain in (
        (focal, binary_cross_entropy),
        (softmax_focal, softmax_cross_entropy),
    ):
        expected = plain(logits, target, weight)
        np.testing.assert_array_equal(modulated(logits, target, weight, 0.0), expected)
        np.testing.assert_array_equal(
            gradient(modulated, logits, target, weight, 0.0),
            gradient(plain, logits, target, weight),
        )


@pytest.mark.parametrize("amount", [0.0, 0.2])
def test_cross_entropies_equal_keras_and_scikit_learn(amount):
    logits, target = draw_one_hot()
    ones, options = np.ones_like(target), {"from_logits": True, "reduction": None}
    for ours, theirs, exclusive in (
        (binary_cross_entropy, keras.losses.BinaryCrossentropy, False),
        (softmax_cross_entropy, keras.losses.CategoricalCrossentropy, True),
    ):
        smoothed = smooth_labels(target, ones, amount, exclusive=exclusive)
        expected = theirs(label_smoothing=amount, **options)(target, logits)
        np.testing.assert_allclose(ours(logits, smoothed, ones), expected, rtol=2e-6)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    rows = [sklearn.metrics.log_loss(*x, labels=[0, 1]) for x in zip(target, p, strict=True)]
    np.testing.assert_allclose(binary_cross_entropy(logits, target, ones), rows, rtol=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("amount", [0.0, 0.2])
def test_focal_losses_equal_keras(gamma, amount):
    logits, target = draw_one_hot()
    logits /= 3  # Keras takes the logarithm of 1 - p, and loses digits where p is near 1
    ones, options = np.ones_like(target), {"from_logits": True, "reduction": None}
    for ours, theirs, exclusive in (
        (focal, keras.losses.BinaryFocalCrossentropy, False),
        # Its alpha is a factor of the whole, .25 by default; the binary one's is left off by it.
        (softmax_focal, functools.partial(keras.losses.CategoricalFocalCrossentropy, 1.0), True),
    ):
        smoothed = smooth_labels(target, ones, amount, exclusive=exclusive)
        expected = theirs(gamma=gamma, label_smoothing=amount, **options)(target, logits)
        np.testing.assert_allclose(ours(logits, smoothed, ones, gamma), expected, rtol=2e-6)


def test_losses_of_pixels_equal_keras():
    logits, target = draw_one_hot(PIXELS)
    ones = np.ones_like(target)
    pixel = keras.losses.categorical_crossentropy(target, logits, from_logits=True)
    image = softmax_cross_entropy(logits, target, ones[..., :1])
    np.testing.assert_allclose(image, np.mean(pixel, axis=(1, 2)), rtol=1e-6)
    batch = softmax_cross_entropy(logits, target, ones[..., :1], reduction="batch")
    np.testing.assert_allclose(batch, [np.mean(pixel)] * 3, rtol=1e-6)
    batch = binary_cross_entropy(logits, target, ones, reduction="batch")
    mean = keras.losses.BinaryCrossentropy(from_logits=True)(target, logits)
    np.testing.assert_allclose(batch, [mean] * 3, rtol=1e-6)


def test_the_mean_over_a_batch_counts_pixels_and_not_images():
    logits, target = draw_one_hot(PIXELS)
    weight = (np.random.default_rng(0).random(PIXELS) < 0.7).astype(np.float32)
    weight[0] *= 0.5
    image, batch = (
        binary_cross_entropy(logits, target, weight, reduction=r) for r in ("image", "batch")
    )
    norm = weight.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(batch, [np.average(image, weights=norm)] * 3, rtol=1e-6)
    assert abs(np.mean(image) / batch[0] - 1) > 1e-3


def test_the_gradient_of_softmax_cross_entropy_is_probability_minus_target():
    logits, target = draw_one_hot()
    target[0] = [0.5, 0, 0, 0.5]
    slope = gradient(softmax_cross_entropy, logits, target, np.ones_like(target))
    np.testing.assert_allclose(slope, jax.nn.softmax(logits) - target, atol=1e-7)
    assert np.abs(slope).max() > 0.5


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


def test_binary_cross_entropy_is_stable():
    logits = jnp.asarray([[-200.0], [200.0], [-200.0], [200.0], [0.0]])
    target = jnp.asarray([[0.0], [1.0], [1.0], [0.0], [1.0]])
    ones = jnp.ones_like(target)
    values = binary_cross_entropy(logits, target, ones)
    np.testing.assert_allclose(values, [0, 0, 200, 200, np.log(2)], rtol=1e-6)
    slope = gradient(binary_cross_entropy, logits, target, ones)
    np.testing.assert_allclose(slope[:, 0], [0, 0, -1, 1, -0.5], atol=1e-6)


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


@pytest.mark.parametrize("gamma", GAMMAS)
def test_softmax_focal_is_stable(gamma):
    sizes = np.float32([0, 1e-3, 1, 10, 16, 17, 30, 88, 104, 1e4, HUGE])
    logits = np.stack([np.concatenate([sizes, -sizes]), 0 * np.tile(sizes, 2)], axis=1)
    target, ones = np.eye(2, dtype=np.float32)[:1].repeat(22, axis=0), np.ones_like(logits)
    assert np.all(np.isfinite(gradient(softmax_focal, logits, target, ones, gamma)))
    values = softmax_focal(logits, target, ones, gamma)
    np.testing.assert_allclose(values[17:], sizes[6:], rtol=1e-6)
    np.testing.assert_array_equal(values[6:11], 0)


def test_the_gradient_of_focal_is_its_slope():
    logits = np.linspace(-6, 6, 25, dtype=np.float32)[:, None]
    ones = np.ones_like(logits)
    for truth in (0 * ones, ones):
        up, down = (np.array(loop_binary(logits + h, truth, ones, 2.0)) for h in (0.01, -0.01))
        slope = gradient(focal, logits, truth, ones, 2.0)
        np.testing.assert_allclose(slope[:, 0], (up - down) / 0.02, rtol=1e-3, atol=1e-5)


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


def test_shapes_and_reductions_that_make_no_sense_are_refused():
    rows, images = jnp.zeros((4, 4)), jnp.zeros((2, 4, 4))
    for loss in (softmax_cross_entropy, binary_cross_entropy):
        with pytest.raises(ValueError, match="must be alike"):
            loss(rows[..., None], rows, rows)
        with pytest.raises(ValueError, match="rank"):
            loss(rows, rows, jnp.ones(4))
        with pytest.raises(UserError, match=r"'imgae'.*'batch'.*'image'.*Choose"):
            loss(rows, rows, rows, reduction="imgae")
    with pytest.raises(ValueError, match=r"need \[B, K\] or \[B, H, W, K\], not \(2, 4, 4\)"):
        softmax_cross_entropy(images, images, images)
