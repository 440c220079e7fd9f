"""Losses against loops in float64, Keras, scikit-learn and scikit-image; gradients at the edges."""

import itertools
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import skimage.metrics
import sklearn.metrics

from vocjax import losses
from vocjax.errors import UserError

RNG_SHAPE = (5, 4, 3, 2)

binary_cross_entropy = jax.jit(losses.binary_cross_entropy)
dissimilarity = jax.jit(losses.dissimilarity)
soft_dice = jax.jit(losses.soft_dice, static_argnames=("reduction", "smoothing"))


def draw(seed=0, shape=RNG_SHAPE):
    """Logits, a 0 / 1 target and a 0 / 1 weight of one shape."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    target = (rng.random(shape) < 0.4).astype(np.float32)
    weight = (rng.random(shape) < 0.7).astype(np.float32)
    return logits, target, weight


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def gradient(loss, logits, *rest, **options):
    def total(logits, *rest):
        return loss(logits, *rest, **options).sum()

    return jax.jit(jax.grad(total))(logits, *rest)


def test_mse_and_mae_equal_keras_per_example():
    rng = np.random.default_rng(0)
    prediction, target = rng.random((2, *RNG_SHAPE), np.float32)
    for ours, theirs in [
        (losses.mse, keras.losses.mean_squared_error),
        (losses.mae, keras.losses.mean_absolute_error),
    ]:
        expected = np.asarray(theirs(target, prediction)).mean(axis=(1, 2))
        np.testing.assert_allclose(ours(prediction, target), expected, rtol=1e-6)


def test_losses_of_low_precision_inputs_are_computed_in_float32():
    rng = np.random.default_rng(0)
    prediction = jnp.asarray(rng.random((2, 300, 300)), jnp.bfloat16)
    target = jnp.asarray(rng.random((2, 300, 300)), jnp.bfloat16)
    weight = jnp.ones(target.shape, jnp.bfloat16)
    exact_p, exact_t = (np.asarray(x, np.float64) for x in (prediction, target))
    squared = ((exact_p - exact_t) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(losses.mse(prediction, target), squared, rtol=1e-5)
    entropy = (np.logaddexp(0, exact_p) - exact_p * exact_t).mean(axis=(1, 2))
    ours = binary_cross_entropy(prediction, target, weight)
    np.testing.assert_allclose(ours, entropy, rtol=1e-5)
    images, exact = prediction[..., None], (exact_p[..., None], exact_t[..., None])
    expected = dissimilarity(*(x.astype(np.float32) for x in exact))
    np.testing.assert_allclose(dissimilarity(images, target[..., None]), expected, rtol=1e-6)
    assert ours.dtype == soft_dice(prediction, target, weight).dtype == jnp.float32


def test_the_gradient_of_dissimilarity_is_that_of_scikit_images_similarity():
    rng = np.random.default_rng(0)
    prediction, target, direction = rng.random((3, 14, 12, 3))
    slope = gradient(dissimilarity, *(x[None].astype(np.float32) for x in (prediction, target)))

    def theirs(step):
        return 1 - skimage.metrics.structural_similarity(
            prediction + step * direction,
            target,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )

    expected = (theirs(1e-4) - theirs(-1e-4)) / 2e-4
    assert float((slope[0] * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_dissimilarity_of_flat_images_has_a_finite_gradient():
    levels = jnp.asarray([0.0, 0.3, 1.0])
    prediction, target = (
        jnp.broadcast_to(x[:, None, None, None], (9, 16, 16, 3))
        for x in (jnp.repeat(levels, 3), jnp.tile(levels, 3))
    )
    assert np.all(np.isfinite(gradient(dissimilarity, prediction, target)))
    values = dissimilarity(prediction, target).reshape(3, 3)
    np.testing.assert_array_equal(jnp.diagonal(values), 0)
    assert np.all(values[~np.eye(3, dtype=bool)] > 0.3)


@pytest.mark.parametrize("shape", [(2, 10, 16, 3), (2, 16, 10, 3), (2, 16, 16)])
def test_dissimilarity_needs_images_of_11_pixels(shape):
    with pytest.raises(ValueError, match="H and W at least 11"):
        dissimilarity(jnp.zeros(shape), jnp.zeros(shape))


def loop_binary_cross_entropy(logits, target, weight):
    values = []
    for x, t, w in zip(logits, target, weight, strict=True):
        total = norm = 0.0
        for xi, ti, wi in zip(x.flat, t.flat, w.flat, strict=True):
            p = 1 / (1 + np.exp(-float(xi)))
            total -= wi * (ti * np.log(p) + (1 - ti) * np.log(1 - p))
            norm += wi
        values.append(total / norm if norm else 0.0)
    return values


def test_binary_cross_entropy_equals_a_loop():
    logits, target, weight = draw()
    weight[2] = 0
    weight[3] *= 0.25
    target[1] *= 0.3
    ours = binary_cross_entropy(logits, target, weight)
    np.testing.assert_allclose(ours, loop_binary_cross_entropy(logits, target, weight), rtol=1e-5)


def test_binary_cross_entropy_equals_keras_and_scikit_learn():
    logits, target, _ = draw(shape=(6, 4))
    ours = np.asarray(binary_cross_entropy(logits, target, np.ones_like(target)))
    theirs = keras.losses.binary_crossentropy(target, logits, from_logits=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    probability = sigmoid(logits)
    per_row = [
        sklearn.metrics.log_loss(t, p, labels=[0, 1])
        for t, p in zip(target, probability, strict=True)
    ]
    np.testing.assert_allclose(ours, per_row, rtol=1e-5)


def test_binary_cross_entropy_is_stable():
    logits = jnp.asarray([[-200.0], [200.0], [-200.0], [200.0], [0.0]])
    target = jnp.asarray([[0.0], [1.0], [1.0], [0.0], [1.0]])
    ones = jnp.ones_like(target)
    values = binary_cross_entropy(logits, target, ones)
    np.testing.assert_allclose(values, [0, 0, 200, 200, np.log(2)], rtol=1e-6)
    slope = gradient(binary_cross_entropy, logits, target, ones)
    np.testing.assert_allclose(slope[:, 0], [0, 0, -1, 1, -0.5], atol=1e-6)


def test_weight_broadcasts_along_axes_of_size_one():
    logits, target, weight = draw()
    weight[:] = weight[:, :, :, :1]
    for loss in (binary_cross_entropy, soft_dice):
        np.testing.assert_array_equal(
            loss(logits, target, weight[..., :1]), loss(logits, target, weight)
        )


def dice(p, t, w, smoothing):
    numerator, denominator = smoothing, smoothing
    for pi, ti, wi in zip(p.flat, t.flat, w.flat, strict=True):
        numerator += 2 * pi * ti * wi
        denominator += pi * wi + ti * wi
    return numerator / denominator


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_soft_dice_equals_a_loop(smoothing):
    logits, target, weight = draw()
    weight[4] = 0
    weight[1] *= 0.5
    p = sigmoid(logits)
    batch = soft_dice(logits, target, weight, smoothing=smoothing)
    np.testing.assert_allclose(batch, [1 - dice(p, target, weight, smoothing)] * 5, rtol=1e-5)
    image = soft_dice(logits, target, weight, reduction="image", smoothing=smoothing)
    expected = [1 - dice(*x, smoothing) for x in zip(p[:4], target[:4], weight[:4], strict=True)]
    np.testing.assert_allclose(image, [*expected, 0.0], rtol=1e-5)


def test_padding_changes_neither_soft_dice_nor_its_gradient():
    logits, target, weight = draw()
    padded = [np.concatenate([x, np.zeros_like(x[:2])]) for x in (logits, target, weight)]
    padded[0][5:] = 3.0

    def batch_loss(logits, target, weight):
        return soft_dice(logits, target, weight)[:5].mean()

    value, slope = jax.value_and_grad(batch_loss)(logits, target, weight)
    padded_value, padded_slope = jax.value_and_grad(batch_loss)(*padded)
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    np.testing.assert_allclose(padded_slope[:5], slope, rtol=1e-5, atol=1e-9)
    assert not np.any(padded_slope[5:])


@pytest.mark.parametrize("reduction", ["batch", "image"])
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_soft_dice_is_finite_at_the_edges(smoothing, reduction):
    @jax.jit
    @jax.vmap
    def value_and_gradient(logit, truth, counted):
        shape = (2, 64, 64)
        target, weight = jnp.full(shape, truth), jnp.full(shape, counted)

        def total(logits):
            values = losses.soft_dice(
                logits, target, weight, reduction=reduction, smoothing=smoothing
            )
            return values.sum(), values

        return jax.grad(total, has_aux=True)(jnp.full(shape, logit))

    logits = [0.0, -30.0, -60.0, -90.0, -300.0, 300.0]
    cases = jnp.asarray(list(itertools.product(logits, [0.0, 1.0], [0.0, 1.0])))
    slope, value = value_and_gradient(*cases.T)
    assert np.all((value >= 0) & (value <= 1))
    assert np.all(np.isfinite(slope))


def test_soft_dice_where_truth_and_prediction_are_empty():
    zeros, ones = jnp.zeros((2, 8, 8)), jnp.ones((2, 8, 8))
    for logits, weight in [(zeros - 300, ones), (zeros, zeros)]:
        for reduction in ("batch", "image"):
            value = soft_dice(logits, zeros, weight, reduction=reduction)
            np.testing.assert_array_equal(value, 0)
            slope = gradient(soft_dice, logits, zeros, weight, reduction=reduction)
            np.testing.assert_array_equal(slope, 0)
    # An empty truth with some prediction left is wrong in full.
    np.testing.assert_array_equal(soft_dice(zeros, zeros, ones, reduction="image"), 1)


MASKED = [binary_cross_entropy, soft_dice]


@pytest.mark.parametrize("loss", MASKED)
def test_excluded_elements_count_for_nothing_whatever_they_hold(loss):
    logits, target, weight = draw()
    weight[3] = 0
    expected = loss(logits, target, weight)
    slope = gradient(loss, logits, target, weight)
    logits, target = np.where(weight == 0, np.nan, logits), np.where(weight == 0, np.inf, target)
    np.testing.assert_array_equal(loss(logits, target, weight), expected)
    np.testing.assert_array_equal(gradient(loss, logits, target, weight), slope)
    assert not np.any(slope[weight == 0])
    assert np.all(np.isfinite(slope))


def test_shapes_that_would_broadcast_to_nonsense_are_refused():
    # [4, 4, 1] against [4, 4] would broadcast to [4, 4, 4].
    image, flat = jnp.zeros((4, 4, 1)), jnp.zeros((4, 4))
    with pytest.raises(ValueError, match="must be alike"):
        losses.mse(image, flat)
    with pytest.raises(ValueError, match="must be alike"):
        dissimilarity(jnp.zeros((2, 16, 16, 3)), jnp.zeros((2, 16, 16, 1)))
    for loss in MASKED:
        with pytest.raises(ValueError, match="must be alike"):
            loss(image, flat, image)
        with pytest.raises(ValueError, match="rank"):
            loss(flat, flat, jnp.ones(4))


def test_an_unknown_reduction_is_told():
    with pytest.raises(UserError, match=r"'imgae'.*'batch'.*'image'"):
        soft_dice(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.ones((1, 2)), reduction="imgae")
