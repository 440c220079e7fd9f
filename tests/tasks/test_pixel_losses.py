"""Losses by name, and their sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.config import study_segmenter
from vocjax.tasks.pixel_losses import make_loss
from vocjax.tasks.targets import Target

FOREGROUND = Target("foreground", ("foreground",))
CLASSES = Target("softmax", ("cat", "dog"))


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 3, (2, 4, 4))
    truth = jnp.asarray(np.eye(3)[index], jnp.float32)
    weight = jnp.asarray(rng.random((2, 4, 4, 1)) > 0.3, jnp.float32)
    return jnp.asarray(rng.standard_normal(truth.shape), jnp.float32), truth, weight


def fields(**values):
    config = study_segmenter().loss
    config.update(values)
    return config


def test_a_sum_has_its_factors(arrays):
    loss = make_loss(fields(name="soft_dice + 0.5 cross_entropy", classes="all"), CLASSES)
    dice = losses.soft_dice(*arrays, exclusive=True, classes="all")
    entropy = losses.softmax_cross_entropy(*arrays, reduction="batch")
    np.testing.assert_allclose(loss(*arrays), dice + 0.5 * entropy, rtol=1e-6)


@pytest.mark.parametrize("target", [FOREGROUND, CLASSES])
@pytest.mark.parametrize(
    "name", ["cross_entropy", "focal", "soft_dice", "soft_jaccard", "tversky", "lovasz"]
)
def test_every_loss_falls_towards_the_truth(arrays, target, name):
    loss = make_loss(fields(name=name, classes="all"), target)
    logits, truth, weight = (x[..., -max(1, x.shape[-1] * (target is CLASSES)) :] for x in arrays)
    better = 6 * (2 * truth - 1)
    values = [loss(x, truth, weight) for x in (-better, logits, better)]
    assert values[0].shape == (2,)
    assert values[0][0] > values[1][0] > values[2][0] >= 0
    gradient = jax.grad(lambda x: loss(x, truth, weight).mean())(logits)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[np.asarray(weight[..., 0]) == 0] == 0)


def test_tverskys_weights_are_the_configs(arrays):
    logits, truth, weight = (x[..., :1] for x in arrays)
    loss = make_loss(fields(name="tversky", alpha=0.3, beta=0.9), FOREGROUND)
    p = np.asarray(jax.nn.sigmoid(logits))
    t, w = np.asarray(truth), np.asarray(weight)
    tp, fp, fn = (w * p * t).sum(), (w * p * (1 - t)).sum(), (w * (1 - p) * t).sum()
    expected = 1 - tp / (tp + 0.3 * fp + 0.9 * fn)
    np.testing.assert_allclose(loss(logits, truth, weight), expected, rtol=1e-5)
