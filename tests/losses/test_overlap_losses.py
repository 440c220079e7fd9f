"""Dice, Jaccard, Tversky and Lovász: weights, Keras, hard predictions, empty masks, mistakes."""

import itertools
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from vocjax import losses
from vocjax.errors import UserError

IMAGES = (5, 4, 6)
OPTIONS = ("exclusive", "reduction", "smoothing", "classes", "alpha", "beta")

soft_dice = jax.jit(losses.soft_dice, static_argnames=OPTIONS[:4])
soft_jaccard = jax.jit(losses.soft_jaccard, static_argnames=OPTIONS[:4])
tversky = jax.jit(losses.tversky, static_argnames=OPTIONS)
lovasz_hinge = jax.jit(losses.lovasz_hinge, static_argnames=("reduction", "classes"))
lovasz_softmax = jax.jit(losses.lovasz_softmax, static_argnames=("reduction", "classes"))


def draw(seed=0, shape=IMAGES):
    """Logits, a 0 / 1 target and a 0 / 1 weight of one shape."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    target = (rng.random(shape) < 0.4).astype(np.float32)
    weight = (rng.random(shape) < 0.7).astype(np.float32)
    return logits, target, weight


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def dice(p, t, w, smoothing):
    numerator, denominator = smoothing, smoothing
    for pi, ti, wi in zip(p.flat, t.flat, w.flat, strict=True):
        numerator += 2 * pi * ti * wi
        denominator += pi * wi + ti * wi
    return numerator / denominator


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_soft_dice_of_a_foreground_equals_a_loop(smoothing):
    logits, target, weight = draw()
    weight[4] = 0
    weight[1] *= 0.5
    p = sigmoid(logits)
    batch = soft_dice(logits, target, weight, smoothing=smoothing)
    np.testing.assert_allclose(batch, [1 - dice(p, target, weight, smoothing)] * 5, rtol=1e-5)
    image = soft_dice(logits, target, weight, reduction="image", smoothing=smoothing)
    expected = [1 - dice(*x, smoothing) for x in zip(p[:4], target[:4], weight[:4], strict=True)]
    np.testing.assert_allclose(image, [*expected, 0.0], rtol=1e-5)


def test_dice_and_tversky_equal_keras():
    logits, target, weight = draw(shape=(5, 4, 6, 3))
    ones, p = np.ones_like(weight), sigmoid(logits).astype(np.float32)
    for reduction, axis in (("image", (1, 2, 3)), ("batch", None)):
        theirs = keras.losses.Dice(axis=axis, reduction=None)(target, p)
        ours = soft_dice(logits, target, ones, reduction=reduction)
        np.testing.assert_allclose(ours, np.broadcast_to(theirs, 5), rtol=1e-5)
    # Keras has the roles of truth and prediction swapped: its alpha is that of false negatives.
    theirs = keras.losses.Tversky(alpha=0.7, beta=0.2, axis=(1, 2), reduction=None)(target, p)
    ours = tversky(logits, target, ones, alpha=0.2, beta=0.7, reduction="image", classes="all")
    np.testing.assert_allclose(ours, np.mean(theirs, axis=1), rtol=1e-5)


def test_keras_differs_where_truth_and_prediction_are_empty():
    zeros = np.zeros((1, 2, 2, 1), np.float32)
    assert keras.losses.Dice()(zeros, zeros) == 1
    np.testing.assert_array_equal(soft_dice(zeros - 300, zeros, zeros + 1), 0)


@pytest.mark.parametrize("reduction", ["batch", "image"])
def test_soft_dice_is_finite_at_the_edges(reduction):
    @jax.jit
    @jax.vmap
    def value_and_gradient(logit, truth, counted, smoothing):
        shape = (2, 64, 64)
        target, weight = jnp.full(shape, truth), jnp.full(shape, counted)

        def total(logits):
            values = losses.soft_dice(
                logits, target, weight, reduction=reduction, smoothing=smoothing
            )
            return values.sum(), values

        return jax.grad(total, has_aux=True)(jnp.full(shape, logit))

    logits = [0.0, -30.0, -60.0, -90.0, -300.0, 300.0]
    cases = jnp.asarray(list(itertools.product(logits, *[[0.0, 1.0]] * 3)))
    slope, value = value_and_gradient(*cases.T)
    assert np.all((value >= 0) & (value <= 1))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("reduction", ["batch", "image"])
def test_where_truth_and_prediction_are_empty_the_loss_is_0(reduction):
    zeros, ones = np.zeros((2, 8, 8), np.float32), np.ones((2, 8, 8), np.float32)

    @jax.jit
    def slope_and_value(logits, weight):
        def total(logits):
            values = losses.soft_dice(logits, zeros, weight, reduction=reduction)
            return values.sum(), values

        return jax.grad(total, has_aux=True)(logits)

    for logits, weight in [(zeros - 300, ones), (zeros, zeros)]:
        for values in slope_and_value(logits, weight):
            np.testing.assert_array_equal(values, 0)
    # An empty truth with some prediction left is wrong in full.
    np.testing.assert_array_equal(slope_and_value(zeros, ones)[1], 1)


@pytest.mark.parametrize("reduction", ["batch", "image"])
def test_a_class_that_is_absent_is_wrong_in_full_or_left_out(reduction):
    logits, target, weight = draw(shape=(5, 4, 6, 3))
    target[..., 2] = 0
    options = {"alpha": 0.3, "beta": 0.7, "reduction": reduction}
    mean = tversky(logits, target, weight, classes="all", **options)
    present = tversky(logits, target, weight, classes="present", **options)
    np.testing.assert_allclose(mean, (2 * present + 1) / 3, rtol=1e-6)
    absent = tversky(logits, 0 * target, weight, classes="present", **options)
    np.testing.assert_array_equal(absent, 0)


def jaccard(predicted, target, weight):
    """The Jaccard loss of decisions, over counted pixels."""
    both = weight * predicted * target
    return 1 - both.sum() / (weight * np.maximum(predicted, target)).sum()


def test_of_certain_predictions_jaccard_and_lovasz_are_the_jaccard_loss():
    _, target, weight = draw()
    predicted = draw(seed=1)[1]
    logits = 300 * (2 * predicted - 1)
    expected = [jaccard(*x) for x in zip(predicted, target, weight, strict=True)]
    ours = soft_jaccard(logits, target, weight, reduction="image")
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    ours = lovasz_hinge(logits, target, weight, reduction="image")
    np.testing.assert_allclose(ours, 301 * np.array(expected), rtol=1e-6)
    classes = [np.stack([1 - x, x], axis=-1) for x in (predicted, target)]
    ours = lovasz_softmax(300 * classes[0], classes[1], weight[..., None], reduction="image")
    others = [jaccard(1 - p, 1 - t, w) for p, t, w in zip(predicted, target, weight, strict=True)]
    np.testing.assert_allclose(ours, np.mean([expected, others], axis=0), rtol=1e-6)


def test_a_pixel_of_weight_two_counts_in_lovasz_as_two_of_them():
    logits, target, weight = draw()
    doubled = [np.concatenate([x, x[:1]]) for x in (logits, target, weight)]
    weight[0] *= 2
    ours = lovasz_hinge(logits, target, weight)
    np.testing.assert_allclose(ours, lovasz_hinge(*doubled)[:5], rtol=1e-6)


def test_the_gradient_of_lovasz_is_exact_for_many_pixels():
    n = 2**15
    target = (np.arange(n) % 3 == 0).astype(np.float32)
    # All are wrong, the first pixels the most.
    logits = np.linspace(2, 1, n, dtype=np.float32) * (1 - 2 * target)
    total = jax.jit(jax.grad(lambda x: losses.lovasz_hinge(x, target[None], jnp.ones((1, n)))[0]))
    slope = total(logits[None])[0] * (1 - 2 * target)
    missed, extra = np.cumsum(target, dtype=np.float64), np.cumsum(1 - target, dtype=np.float64)
    expected = np.diff((missed + extra) / (target.sum() + extra), prepend=0)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_a_column_of_weight_0_is_out_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 3, (2, 4, 6, 4)), np.eye(4)[rng.integers(0, 3, (2, 4, 6))]
    wide = [x.astype(np.float32) for x in (logits, target, target * 0 + [1, 1, 1, 0])]
    narrow, options = (x[..., :3] for x in wide), {"exclusive": True, "classes": "present"}
    ours = soft_jaccard(*wide, **options)
    np.testing.assert_allclose(ours, soft_jaccard(*narrow, **options), rtol=1e-6)


def test_an_array_without_classes_has_none_that_exclude_each_other():
    for call in (
        lambda *x: losses.soft_dice(*x, exclusive=True),
        lambda *x: losses.soft_jaccard(*x, classes="all"),
        losses.lovasz_softmax,
    ):
        with pytest.raises(ValueError, match=r"classes need .* not \(5, 4, 6\)"):
            call(*map(jnp.asarray, draw()))


@pytest.mark.parametrize("loss", [losses.soft_dice, losses.soft_jaccard, losses.lovasz_hinge])
def test_unknown_options_are_told(loss):
    arrays = [jnp.zeros((1, 2, 2, 3))] * 3
    with pytest.raises(UserError, match=r"'imgae'.*'batch'.*'image'.*Choose"):
        loss(*arrays, reduction="imgae")
    with pytest.raises(UserError, match=r"'some'.*'together'.*'all'.*'present'.*Choose"):
        loss(*arrays, classes="some")
