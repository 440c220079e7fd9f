"""Class weights and hard examples of pixels, against Keras and NumPy loops."""

import jax
import keras
import numpy as np
import pytest

from vocjax import losses
from vocjax.config import study_segmenter
from vocjax.errors import UserError

B, H, W, K = 2, 5, 6, 3
FACTORS = (0.5, 2.0, 4.0)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((B, H, W, K)).astype(np.float32)
    index = rng.integers(0, K, (B, H, W))
    weight = (rng.random((B, H, W, 1)) > 0.3).astype(np.float32)
    weight[1] *= rng.random((H, W, 1)) > 0.5  # the images have different numbers of pixels
    return logits, np.eye(K, dtype=np.float32)[index], weight


def loss_of(arrays, exclusive, **fields):
    config = study_segmenter().loss
    config.update({"name": "cross_entropy"} | fields)
    return np.asarray(jax.jit(losses.make_pixel_loss(config, exclusive))(*arrays))


def entropies(arrays, exclusive):
    """The cross-entropy of each pixel, by Keras, and of each column where they are questions."""
    logits, truth, _ = arrays
    if exclusive:
        return np.asarray(keras.losses.categorical_crossentropy(truth, logits, from_logits=True))
    own = [keras.losses.binary_crossentropy(truth[..., k:][..., :1], logits[..., k:][..., :1], True)
           for k in range(K)]  # fmt: skip
    return np.stack([np.asarray(x) for x in own], axis=-1)


@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_class_weights_multiply_the_pixels_of_a_class(arrays, reduction):
    _, truth, weight = arrays
    ours = loss_of(arrays, True, reduction=reduction, class_weights=FACTORS)
    each = entropies(arrays, True) * (truth @ np.array(FACTORS))
    counted = weight[..., 0]
    if reduction == "image":
        expected = (each * counted).sum((1, 2)) / counted.sum((1, 2))
    else:
        expected = [(each * counted).sum() / counted.sum()] * B
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_class_weights_of_questions_are_pos_weights(arrays):
    _, truth, weight = arrays
    ours = loss_of(arrays, False, class_weights=FACTORS, reduction="batch")
    each = entropies(arrays, False) * np.where(truth > 0, FACTORS, 1)
    expected = (each * weight).sum() / (weight.sum() * K)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_the_hardest_pixels_are_those_of_the_largest_loss(arrays, exclusive, reduction):
    logits, truth, weight = arrays
    ours = loss_of(arrays, exclusive, reduction=reduction, hardest=0.3)
    each, counted = entropies(arrays, exclusive), weight[..., 0] > 0
    each = each if exclusive else each.mean(axis=-1)

    def hardest(values):
        return np.sort(values)[::-1][: int(np.ceil(0.3 * len(values)))].mean()

    expected = [hardest(each[i][counted[i]]) for i in range(B)]
    if reduction == "batch":
        expected = [hardest(each[counted])] * B
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    config = study_segmenter().loss
    config.update(name="focal", hardest=0.3, reduction=reduction)
    loss = losses.make_pixel_loss(config, exclusive)
    slope = jax.jit(jax.grad(lambda x: loss(x, truth, weight).sum()))(logits)
    moved = np.any(np.asarray(slope) != 0, axis=-1)
    assert not np.any(moved & ~counted)
    assert 0 < moved.sum() <= np.ceil(0.3 * counted.sum()) + 1


def test_without_pixels_the_loss_is_zero(arrays):
    logits, truth, weight = arrays
    empty = np.zeros_like(weight)
    for fields in ({"hardest": 0.3}, {"class_weights": FACTORS}):
        np.testing.assert_array_equal(loss_of((logits, truth, empty), True, **fields), 0)


def test_other_terms_of_a_sum_stay_as_they_are(arrays):
    both = loss_of(arrays, True, name="cross_entropy + soft_dice", hardest=0.3)
    dice = loss_of(arrays, True, name="soft_dice")
    np.testing.assert_allclose(both - dice, loss_of(arrays, True, hardest=0.3), rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hardest": 0.0}, "loss.hardest is 0.0"),
        ({"hardest": 1.5}, "loss.hardest is 1.5"),
        (
            {"name": "soft_dice", "class_weights": FACTORS},
            "is 'soft_dice', .*set loss.class_weights",
        ),
        (
            {"name": "soft_dice", "class_weights": FACTORS, "weighting": "effective_number"},
            "'soft_dice', loss.weighting 'effective_number' .* set loss.weighting to 'given'",
        ),
    ],
)
def test_mistakes_are_named(arrays, fields, message):
    with pytest.raises(UserError, match=message):
        loss_of(arrays, True, **fields)
    with pytest.raises(UserError, match=r"loss.class_weights is .* 3 positive numbers"):
        losses.check_factors((1.0, -1.0, 2.0), ("a", "b", "c"))
