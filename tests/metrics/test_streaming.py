"""Metrics against float64 loops, scikit-learn and scikit-image; sums that add up over any split."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
import sklearn.metrics

from vocjax import losses
from vocjax.metrics import streaming
from vocjax.metrics.streaming import Mean

IMAGES = (7, 6, 5)


def compiled(function):
    program = jax.jit(function)
    return lambda *arrays: jax.device_get(program(*arrays))


# As the training step has them, under their own names, but with NumPy arrays as results.
mean = compiled(streaming.mean)
add = compiled(streaming.add)
psnr = compiled(streaming.psnr)
ssim = compiled(losses.structural_similarity)
elementwise_accuracy = compiled(streaming.elementwise_accuracy)
exact_match = compiled(streaming.exact_match)
argmax_accuracy = compiled(streaming.argmax_accuracy)
soft_dice_per_image = compiled(losses.dice_coefficient)
hard_dice_per_image = compiled(streaming.hard_dice_per_image)
iou_per_image = compiled(streaming.iou_per_image)
mse = compiled(losses.mse)


def draw_columns(seed=0, examples=40, columns=6):
    """Logits, probabilities, a 0 / 1 target and a 0 / 1 weight that spares part of a row."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (examples, columns)).astype(np.float32)
    target = (rng.random(logits.shape) < 0.3).astype(np.float32)
    weight = (rng.random(logits.shape) < 0.8).astype(np.float32)
    weight[:, 0] = 1
    return logits, 1 / (1 + np.exp(-logits)), target, weight


def draw_masks(seed=0, shape=IMAGES):
    """Probabilities, a 0 / 1 target and a 0 / 1 weight of images."""
    rng = np.random.default_rng(seed)
    probability = rng.random(shape).astype(np.float32)
    target = (rng.random(shape) < 0.4).astype(np.float32)
    weight = (rng.random(shape) < 0.8).astype(np.float32)
    return probability, target, weight


@pytest.mark.parametrize(
    ("values", "valid", "expected"),
    [
        ([1.0, 2.0, 6.0, 50.0], [1.0, 1.0, 1.0, 0.0], 3.0),
        ([1.0, np.nan, 3.0, np.inf], [True, False, True, False], 2.0),
        ([1.0, np.nan], [1, 1], np.nan),  # a valid NaN is not hidden
        ([1.0, 1.0], [0, 0], np.nan),
    ],
)
def test_mean_divides_by_the_number_of_valid_values(values, valid, expected):
    sums = mean(np.float32(values), np.array(valid))
    assert (sums.total.dtype, sums.count.dtype) == (np.float32, np.int32)
    assert streaming.value(sums) == pytest.approx(expected, nan_ok=True)


def test_mean_is_summed_in_float32():
    values = np.full((1000,), 0.1, jnp.bfloat16)
    expected = float(values[0])
    assert streaming.value(mean(values, np.ones(1000))) == pytest.approx(expected, rel=1e-6)


def test_a_mean_of_a_hundred_thousand_keeps_its_digits():
    @jax.jit
    def summed(batches):
        def step(sums, batch):
            return streaming.add(sums, streaming.mean(batch, np.ones(32))), None

        nothing = Mean(np.zeros(()), np.zeros((), jnp.int32))
        return jax.lax.scan(step, nothing, batches)[0]

    values = np.random.default_rng(0).random((3125, 32)).astype(np.float32)
    for batches, off in ((values, 2e-6), (np.full_like(values, 0.1), 5e-5)):
        ours = streaming.value(summed(batches))
        assert ours == pytest.approx(batches.mean(dtype=np.float64), rel=off)


@compiled
def sums(probability, target, weight, valid):
    dice = losses.dice_coefficient(probability, target, weight)
    return [streaming.mean(x, valid) for x in (dice, losses.mse(probability, target))]


@pytest.mark.parametrize("batch_size", [7, 64])
def test_sums_of_batches_add_up_to_the_whole(batch_size):
    """Any split, the last batch padded with rubbish, gives what all examples at once give."""
    arrays = draw_masks(shape=(40, 4, 4))
    whole = sums(*arrays, np.ones(40, np.float32))
    parts = []
    for start in range(0, 40, batch_size):
        batch = [x[start : start + batch_size] for x in (*arrays, np.ones(40, np.float32))]
        padding = (0, batch_size - len(batch[0]))
        for i, rubbish in enumerate([np.nan, np.nan, 1, 0]):
            widths = [padding, *[(0, 0)] * (batch[i].ndim - 1)]
            batch[i] = np.pad(batch[i], widths, constant_values=rubbish)
        parts.append(sums(*batch))
    for ours, theirs in zip(functools.reduce(add, parts), whole, strict=True):
        assert ours.count == theirs.count == 40
        assert streaming.value(ours) == pytest.approx(streaming.value(theirs), rel=1e-6)


def draw_images(shape=(6, 24, 20, 3)):
    """Smooth targets in [0, 1], some flat, and predictions from near to unlike."""
    rng = np.random.default_rng(0)
    slopes = np.cumsum(np.cumsum(rng.normal(0, 1, shape), axis=1), axis=2)
    target = (slopes - slopes.min()) / np.ptp(slopes)
    target[0], target[1, :12] = 1.0, 0.0
    noise = np.linspace(0, 0.5, shape[0])[:, None, None, None] * rng.normal(0, 1, shape)
    return (target + noise).clip(0, 1).astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_metrics_of_images_equal_scikit_image(channels):
    prediction, target = draw_images((6, 24, 20, channels))
    pairs = list(zip(prediction.astype(np.float64), target.astype(np.float64), strict=True))
    squared = [skimage.metrics.mean_squared_error(*pair) for pair in pairs]
    np.testing.assert_allclose(mse(prediction, target), squared, rtol=1e-5)
    decibels = [skimage.metrics.peak_signal_noise_ratio(t, p, data_range=1) for p, t in pairs[1:]]
    ours = psnr(prediction, target)
    np.testing.assert_allclose(ours, [np.inf, *decibels], rtol=1e-6)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = functools.partial(skimage.metrics.structural_similarity, data_range=1, **options)
    similarity = [theirs(*pair, channel_axis=-1) for pair in pairs]
    np.testing.assert_allclose(ssim(prediction, target), similarity, atol=1e-5)
    assert min(similarity) < 0.3 < max(similarity[1:])


def test_ssim_of_equal_images_is_one_and_of_black_and_white_nearly_zero():
    _, target = draw_images()
    np.testing.assert_array_equal(ssim(target, target), 1)
    black, white = np.zeros((2, 11, 11, 3), np.float32), np.ones((2, 11, 11, 3), np.float32)
    np.testing.assert_allclose(ssim(black, white), 1e-4 / (1 + 1e-4), rtol=1e-2)


def test_elementwise_accuracy_and_exact_match_equal_scikit_learn():
    _, probability, target, weight = draw_columns(columns=2)
    elementwise = elementwise_accuracy(probability, target, weight)
    expected = [
        sklearn.metrics.accuracy_score(t[w > 0], p[w > 0] > 0.5)
        for p, t, w in zip(probability, target, weight, strict=True)
    ]
    np.testing.assert_allclose(elementwise, expected, rtol=1e-6)
    exact = exact_match(probability, target, weight)
    np.testing.assert_array_equal(exact, np.asarray(expected) == 1)
    assert 0 < exact.mean() < elementwise.mean() < 1
    # Over whole rows, scikit-learn's accuracy of a multi-label problem is the exact match.
    whole = exact_match(probability, target, np.ones_like(weight)).mean()
    score = sklearn.metrics.accuracy_score(target, (probability > 0.5).astype(np.float32))
    assert float(whole) == pytest.approx(score)
    half, one = np.full((1, 1), 0.5), np.ones((1, 1))  # which means absent
    assert elementwise_accuracy(half, one, one) == 0
    assert elementwise_accuracy(half, 0 * one, one) == 1


def test_argmax_accuracy_equals_a_loop():
    logits, probability, target, weight = draw_columns()
    rows = zip(probability, target, weight, strict=True)
    expected = [t[w > 0][p[w > 0].argmax()] for p, t, w in rows]
    for scores in (logits, probability):
        np.testing.assert_array_equal(argmax_accuracy(scores, target, weight), expected)
    assert 0 < np.mean(expected) < 1


def test_soft_dice_and_iou_per_image_equal_their_definitions():
    p, t, w = (x.astype(np.float64) for x in draw_masks())
    both, total = (w * p * t).sum(axis=(1, 2)), (w * (p + t)).sum(axis=(1, 2))
    ours = soft_dice_per_image(*draw_masks())
    np.testing.assert_allclose(ours, 2 * both / total, rtol=1e-5)
    np.testing.assert_allclose(iou_per_image(ours), both / (total - both), rtol=1e-5)
    assert iou_per_image(ours).mean() > iou_per_image(ours.mean())
    dirty = np.where(w == 0, np.nan, p).astype(np.float32)  # void, whatever it holds
    np.testing.assert_array_equal(soft_dice_per_image(dirty, *draw_masks()[1:]), ours)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_hard_dice_and_iou_per_image_equal_scikit_learn(threshold):
    probability, target, weight = draw_masks()
    images = [
        (t[w > 0], (p[w > 0] > threshold).astype(np.float32))
        for p, t, w in zip(probability, target, weight, strict=True)
    ]
    ours = hard_dice_per_image(probability, target, weight, threshold)
    f1 = [sklearn.metrics.f1_score(*image) for image in images]
    np.testing.assert_allclose(ours, f1, rtol=1e-6)
    jaccard = [sklearn.metrics.jaccard_score(*image) for image in images]
    np.testing.assert_allclose(iou_per_image(ours), jaccard, rtol=1e-6)


def test_dice_where_truth_and_prediction_are_empty_is_one():
    zeros, ones = np.zeros((1, 4, 4)), np.ones((1, 4, 4))
    for dice in (
        soft_dice_per_image(zeros, zeros, ones),
        hard_dice_per_image(0.4 * ones, zeros, ones, 0.5),
        soft_dice_per_image(ones, zeros, zeros),
    ):
        np.testing.assert_array_equal(dice, 1)
        np.testing.assert_array_equal(iou_per_image(dice), 1)
    assert hard_dice_per_image(ones, zeros, ones, 0.5) == 0
    assert hard_dice_per_image(zeros, ones, ones, 0.5) == 0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be alike"):
        elementwise_accuracy(np.ones((4, 1)), np.ones((4, 4)), np.ones((4, 4)))
    with pytest.raises(ValueError, match="must be alike"):
        mean(np.ones((4, 1)), np.ones(4))
