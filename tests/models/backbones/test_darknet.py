"""Darknet-19 and Tiny Darknet against the published layers, computed plainly."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from models.backbones.parity import apply, error, foreign, random_variables

from vocjax.models.backbones.darknet import DarknetNorm, darknet19, darknet_keys, tiny_darknet

# As in the published .cfg files: convolutions as filters and side, max-pools of 2 and stride 2.
CFG = {
    darknet19: """32x3 max 64x3 max 128x3 64x1 128x3 max 256x3 128x1 256x3 max
        512x3 256x1 512x3 256x1 512x3 max 1024x3 512x1 1024x3 512x1 1024x3""",
    tiny_darknet: """16x3 max 32x3 max 16x1 128x3 16x1 128x3 max 32x1 256x3 32x1 256x3 max
        64x1 512x3 64x1 512x3 128x1""",
}
LIMIT = 1e-4  # of the largest logit, in float32


@jax.jit
def convolve(x, kernel):
    """[batch, channels, height, width] by [features, channels, side, side], zeros around."""
    return jax.lax.conv(x, kernel, (1, 1), "SAME")


def halve(x):
    """Darknet's max-pool: (size + 1 - 2) // 2 + 1 windows, which look beyond the end."""
    height, width = (size + 1 for size in x.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    even = x[:, :, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(*x.shape[:2], height // 2, 2, width // 2, 2).max(axis=(3, 5))


def reference(cfg, arrays, images, deviation):
    """Logits as Darknet's own code computes them."""
    x, index = images.transpose(0, 3, 1, 2), 0
    for layer in cfg.split():
        if layer == "max":
            x = halve(x)
            continue
        field = {
            name: arrays[f"{index}/{name}"]
            for name in ("weights", "rolling_mean", "rolling_variance", "scales", "biases")
        }
        filters, side = map(int, layer.split("x"))
        assert field["weights"].shape == (filters, x.shape[1], side, side)
        per_channel = {key: value[:, None, None] for key, value in field.items()}
        x = convolve(x, field["weights"]) - per_channel["rolling_mean"]
        x = x / deviation(per_channel["rolling_variance"])
        x = x * per_channel["scales"] + per_channel["biases"]
        x = np.where(x > 0, x, 0.1 * x)
        index += 1
    x = convolve(x, arrays[f"{index}/weights"]) + arrays[f"{index}/biases"][:, None, None]
    return x.mean(axis=(2, 3))


def variables_with_still_channels(network):
    """Random ones, where every third channel hardly varies, as in the published weights."""
    variables = random_variables(network, (64, 64, 3))

    def still(path, leaf):
        if path[-1] == "var":
            leaf[::3] = 1e-13
        if path[-1] == "scale":
            leaf[::3] = 1e-6
        return leaf

    leaves = flatten_dict(variables)
    return unflatten_dict({path: still(path, leaf) for path, leaf in leaves.items()})


@pytest.mark.parametrize(
    ("make", "norm", "deviation"),
    [
        (darknet19, "darknet", lambda variance: np.sqrt(variance) + 1e-6),
        (tiny_darknet, "darknet", lambda variance: np.sqrt(variance) + 1e-6),
        (tiny_darknet, "usual", lambda variance: np.sqrt(variance + 1e-5)),
    ],
)
def test_logits_equal_the_published_layers(make, norm, deviation):
    network = make(classes=10, norm=norm)
    variables = variables_with_still_channels(network)
    arrays = foreign(variables, darknet_keys(network))
    images = np.random.default_rng(1).standard_normal((2, 45, 38, 3), np.float32)
    expected = reference(CFG[make], arrays, images, deviation)
    assert error(apply(network, variables, images), expected) < LIMIT


def test_darknets_norm_equals_the_usual_one_where_channels_vary():
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 3), np.float32)
    valid = np.asarray([1, 1, 1, 0])
    ours, usual = DarknetNorm(), nn.BatchNorm(momentum=0.99, epsilon=0)
    variables = ours.init(jax.random.key(0), x, train=False, valid=None)
    y, moved = ours.apply(variables, x, train=True, valid=valid, mutable=["batch_stats"])
    mask = valid[:, None, None, None] > 0
    expected, statistics = usual.apply(
        variables, x, use_running_average=False, mask=mask, mutable=["batch_stats"]
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), moved, statistics)


def test_a_blank_map_has_a_finite_gradient():
    blank = np.zeros((2, 3, 4, 5), np.float32)
    norm = DarknetNorm()
    variables = norm.init(jax.random.key(0), blank, train=False, valid=None)

    @jax.jit
    @jax.grad
    def gradient(blank):
        y, _ = norm.apply(variables, blank, train=True, valid=None, mutable=["batch_stats"])
        return (y + 1).prod()

    assert np.isfinite(gradient(blank)).all()
