"""The classifier's head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.models import draw
from vocjax.models.classifier import Head, pooled


@pytest.mark.parametrize("last_init", ["zeros", "glorot_uniform"])
def test_a_last_layer_from_zeros_stays_in_the_span_of_its_codes(last_init):
    """Gradients lie in the span, so whatever was drawn outside it is never unlearnt."""
    codes = jax.random.normal(jax.random.key(0), (4, 1, 1, 10))
    truth = jnp.eye(2)[jnp.array([0, 1, 1, 0])]
    head = Head(2, last_init=last_init)
    params = draw.variables(jax.jit(head.init), jax.random.key(1), codes)
    begin = params["params"]["Dense_0"]["kernel"]

    def loss(params):
        return -(truth * jax.nn.log_softmax(head.apply(params, codes))).sum()

    step = jax.jit(lambda p: jax.tree.map(lambda p, g: p - 0.1 * g, p, jax.grad(loss)(p)))
    first = loss(params)
    for _ in range(20):
        params = step(params)
    assert loss(params) < first / 2
    x = np.asarray(codes).reshape(4, 10)
    outside = np.eye(10) - np.linalg.pinv(x) @ x
    kernel = params["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(outside @ kernel, outside @ begin, atol=1e-6)
    assert (np.abs(outside @ kernel).max() < 1e-6) == (last_init == "zeros")


def test_layers_before_the_last_are_drawn_all_the_same():
    head = Head(2, hidden=(3,), last_init="zeros")
    params = draw.variables(jax.jit(head.init), jax.random.key(0), jnp.ones((1, 2, 2, 5)))["params"]
    assert not params["Dense_1"]["kernel"].any()
    assert params["Dense_0"]["kernel"].all()


def test_polarity_pools_the_two_signs_of_a_map_by_themselves():
    code = jax.random.normal(jax.random.key(0), (3, 2, 4, 5))
    both = np.asarray(pooled(code, "polarity"))
    assert both.shape == (3, 10) and (both >= 0).all()
    np.testing.assert_allclose(both[:, :5] - both[:, 5:], pooled(code, "mean"), atol=1e-6)
    np.testing.assert_allclose(both[:, :5] + both[:, 5:], np.abs(code).mean(axis=(1, 2)), rtol=1e-6)


def test_codes_are_pooled_over_places():
    """The root of the mean of squares has a slope where a feature is 0 everywhere, too."""
    code = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    code[0, :, :, 0] = 0
    np.testing.assert_array_equal(pooled(code, "flatten"), code.reshape(2, -1))
    np.testing.assert_allclose(pooled(code, "mean"), code.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    root = np.sqrt((code.astype(np.float64) ** 2).mean(axis=(1, 2)))
    np.testing.assert_allclose(pooled(code, "rms"), root, rtol=1e-5, atol=2e-6)
    slope = jax.grad(lambda x: pooled(x, "rms").sum())(jnp.asarray(code))
    assert np.isfinite(slope).all()
    assert np.all(slope[0, :, :, 0] == 0)
