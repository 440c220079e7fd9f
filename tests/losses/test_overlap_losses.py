"""Dice, Jaccard, Tversky and Lovász: Keras, certain predictions, weights, empty masks, mistakes."""

import itertools
import os

os.environ["KERAS_BACKEND"] = "jax"

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from compiled import values_and_slope, values_of

from vocjax import losses
from vocjax.errors import UserError

IMAGES = (5, 4, 6)
REDUCTIONS = pytest.mark.parametrize("reduction", ["batch", "image"])


def draw(seed=0, shape=IMAGES):
    """Logits, a 0 / 1 target and a 0 / 1 weight of one shape."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    target = (rng.random(shape) < 0.4).astype(np.float32)
    weight = (rng.random(shape) < 0.7).astype(np.float32)
    return logits, target, weight


@REDUCTIONS
def test_soft_dice_of_a_foreground_has_its_weights_and_smoothing(reduction):
    logits, target, weight = draw()
    weight[4] = 0
    weight[1] *= 0.5
    p, axes = jax.nn.sigmoid(logits), None if reduction == "batch" else (1, 2)
    dice = (2 * (weight * p * target).sum(axes) + 1) / ((weight * (p + target)).sum(axes) + 1)
    ours = values_of(losses.soft_dice, logits, target, weight, reduction=reduction, smoothing=1.0)
    np.testing.assert_allclose(ours, np.broadcast_to(1 - dice, 5), rtol=1e-5)


def test_dice_and_tversky_equal_keras():
    logits, target, weight = draw(shape=(5, 4, 6, 3))
    ones, p = np.ones_like(weight), np.asarray(jax.nn.sigmoid(logits))
    for reduction, axis in (("image", (1, 2, 3)), ("batch", None)):
        theirs = keras.losses.Dice(axis=axis, reduction=None)(target, p)
        ours = values_of(losses.soft_dice, logits, target, ones, reduction=reduction)
        np.testing.assert_allclose(ours, np.broadcast_to(theirs, 5), rtol=1e-5)
    # Keras swaps truth and prediction: its alpha is that of false negatives.
    theirs = keras.losses.Tversky(alpha=0.7, beta=0.2, axis=(1, 2), reduction=None)(target, p)
    options = {"alpha": 0.2, "beta": 0.7, "reduction": "image", "classes": "all"}
    ours = values_of(losses.tversky, logits, target, ones, **options)
    np.testing.assert_allclose(ours, np.mean(theirs, axis=1), rtol=1e-5)
    # Empty truth and prediction are the largest error to Keras, and none here.
    zeros = np.zeros((1, 2, 2, 1), np.float32)
    assert keras.losses.Dice()(zeros, zeros) == 1
    np.testing.assert_array_equal(values_of(losses.soft_dice, zeros - 300, zeros, zeros + 1), 0)


@REDUCTIONS
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_soft_dice_is_finite_at_the_edges(reduction, smoothing):
    @jax.jit
    @jax.vmap
    def value_and_gradient(logit, truth, counted):
        shape = (2, 64, 64)
        target, weight = jnp.full(shape, truth), jnp.full(shape, counted)

        def total(logits):
            options = {"reduction": reduction, "smoothing": smoothing}
            values = losses.soft_dice(logits, target, weight, **options)
            return values.sum(), values

        return jax.grad(total, has_aux=True)(jnp.full(shape, logit))

    logits = [0.0, -30.0, -60.0, -90.0, -300.0, 300.0]
    cases = np.float32(list(itertools.product(logits, *[[0.0, 1.0]] * 2)))
    slope, value = jax.device_get(value_and_gradient(*cases.T))
    assert np.all((value >= 0) & (value <= 1))
    assert np.all(np.isfinite(slope))


@REDUCTIONS
def test_where_truth_and_prediction_are_empty_the_loss_is_0(reduction):
    zeros, ones = np.zeros((2, 8, 8), np.float32), np.ones((2, 8, 8), np.float32)
    loss = partial(values_and_slope, losses.soft_dice, reduction=reduction)
    for logits, weight in [(zeros - 300, ones), (zeros, zeros)]:
        for array in loss(logits, zeros, weight):
            np.testing.assert_array_equal(array, 0)
    # Some prediction of an empty truth is the largest error.
    np.testing.assert_array_equal(loss(zeros, zeros, ones)[0], 1)


@REDUCTIONS
def test_an_absent_class_is_the_largest_error_or_left_out(reduction):
    logits, target, weight = draw(shape=(5, 4, 6, 3))
    target[..., 2] = 0
    loss = partial(values_of, losses.tversky, alpha=0.3, beta=0.7, reduction=reduction)
    mean, present = (loss(logits, target, weight, classes=c) for c in ("all", "present"))
    np.testing.assert_allclose(mean, (2 * present + 1) / 3, rtol=1e-6)
    absent = loss(logits, 0 * target, weight, classes="present")
    np.testing.assert_array_equal(absent, 0)


def jaccard(predicted, target, weight):
    """The Jaccard loss of decisions, over counted pixels."""
    both = weight * predicted * target
    return 1 - both.sum() / (weight * np.maximum(predicted, target)).sum()


def test_jaccard_and_lovasz_of_certain_predictions_are_the_jaccard_loss():
    _, target, weight = draw()
    predicted = draw(seed=1)[1]
    logits = 300 * (2 * predicted - 1)
    expected = [jaccard(*x) for x in zip(predicted, target, weight, strict=True)]
    ours = values_of(losses.soft_jaccard, logits, target, weight, reduction="image")
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    ours = values_of(losses.lovasz, logits, target, weight, reduction="image")
    np.testing.assert_allclose(ours, 301 * np.array(expected), rtol=1e-6)
    classes = [np.stack([1 - x, x], axis=-1) for x in (predicted, target)]
    options = {"exclusive": True, "reduction": "image", "classes": "present"}
    ours = values_of(losses.lovasz, 300 * classes[0], classes[1], weight[..., None], **options)
    others = [jaccard(1 - p, 1 - t, w) for p, t, w in zip(predicted, target, weight, strict=True)]
    np.testing.assert_allclose(ours, np.mean([expected, others], axis=0), rtol=1e-6)


def test_a_pixel_of_weight_two_counts_in_lovasz_as_two_pixels():
    logits, target, weight = draw()
    doubled = [np.concatenate([x, x[:1]]) for x in (logits, target, weight)]
    weight[0] *= 2
    ours = values_of(losses.lovasz, logits, target, weight)
    np.testing.assert_allclose(ours, values_of(losses.lovasz, *doubled)[:5], rtol=1e-6)


def test_the_gradient_of_lovasz_is_exact_for_many_pixels():
    n = 2**15
    target = (np.arange(n) % 3 == 0).astype(np.float32)
    # All are wrong, the first pixels the most.
    logits = np.linspace(2, 1, n, dtype=np.float32) * (1 - 2 * target)
    _, slope = values_and_slope(losses.lovasz, logits[None], target[None], np.ones((1, n)))
    missed, extra = np.cumsum(target, dtype=np.float64), np.cumsum(1 - target, dtype=np.float64)
    expected = np.diff((missed + extra) / (target.sum() + extra), prepend=0)
    np.testing.assert_allclose(slope[0] * (1 - 2 * target), expected, rtol=1e-5)


def test_a_column_of_weight_0_has_no_part_in_the_softmax():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 3, (2, 4, 6, 4)), np.eye(4)[rng.integers(0, 3, (2, 4, 6))]
    wide = [x.astype(np.float32) for x in (logits, target, target * 0 + [1, 1, 1, 0])]
    loss = partial(values_of, losses.soft_jaccard, exclusive=True, classes="present")
    np.testing.assert_allclose(loss(*wide), loss(*(x[..., :3] for x in wide)), rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.soft_dice])
def test_weight_broadcasts_along_axes_of_size_one(loss):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (3, 4, 5, 2)).astype(np.float32)
    target, narrow = (rng.random((3, 4, 5, n)).round().astype(np.float32) for n in (2, 1))
    exclusive = loss is losses.cross_entropy
    ours, theirs = (
        values_of(loss, logits, target, weight, exclusive=exclusive)
        for weight in (narrow, narrow.repeat(2, axis=-1))
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("loss", [losses.soft_dice, losses.soft_jaccard, losses.lovasz])
def test_options_and_shapes_that_make_no_sense_are_refused(loss):
    arrays = [np.zeros((1, 2, 2, 3))] * 3
    with pytest.raises(UserError, match=r"'imgae'; it is one of batch, image"):
        values_of(loss, *arrays, reduction="imgae")
    with pytest.raises(UserError, match=r"'some'; it is one of together, all, present"):
        values_of(loss, *arrays, classes="some")
    for options in ({"exclusive": True}, {"classes": "all"}):
        with pytest.raises(ValueError, match=r"classes need .* not \(5, 4, 6\)"):
            values_of(loss, *draw(), **options)


def test_numbers_out_of_their_range_are_refused():
    for values, message in (
        ({"smoothing": -1.0}, "loss.smoothing is -1.0; it must be at least 0"),
        ({"alpha": -0.5}, "loss.alpha is -0.5; it must be at least 0"),
        ({"alpha": 0.0, "beta": 0.0}, "loss.alpha and loss.beta are both 0"),
    ):
        with pytest.raises(UserError, match=message):
            losses.tversky(*[np.zeros((1, 2, 2))] * 3, **values)
