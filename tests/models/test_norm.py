"""Batch norm has the values, statistics and gradients of Flax's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vocjax.models.norm import BatchNorm

FIELDS = {"momentum": 0.9, "epsilon": 1e-3}
X = np.random.default_rng(0).normal(2, 3, (4, 5, 6, 3)).astype(np.float32)
VALID = np.asarray([1, 1, 0, 1], np.float32)


def variables(use_scale=True):
    rng = np.random.default_rng(1)
    names = ("scale", "bias") if use_scale else ("bias",)
    params = {name: rng.standard_normal(3, np.float32) for name in names}
    stats = {"mean": rng.random(3, np.float32), "var": rng.random(3, np.float32) + 1}
    return {"params": params, "batch_stats": stats}


def ours(variables, x, average, valid, **fields):
    norm = BatchNorm(**FIELDS, **fields)
    call = {"use_running_average": average, "valid": valid}
    return norm.apply(variables, x, **call, mutable=["batch_stats"])


def flax(variables, x, average, valid, **fields):
    norm = nn.BatchNorm(**FIELDS, **fields)
    mask = None if valid is None else (valid > 0)[:, None, None, None]
    call = {"use_running_average": average, "mask": mask}
    return norm.apply(variables, x, **call, mutable=["batch_stats"])


def gradients(norm, given, x, *call, **fields):
    """Of a loss that reads every number, those of padded examples too."""
    weights = jnp.asarray(np.random.default_rng(2).standard_normal(x.shape, np.float32))

    @jax.jit
    @jax.grad
    def gradient(differentiated):
        params, x = differentiated
        y, _ = norm({**given, "params": params}, x, *call, **fields)
        return (weights * y.astype(jnp.float32) ** 2).sum()

    return gradient((given["params"], x))


def close(found, expected, tolerance):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert mine.dtype == theirs.dtype
        mine, theirs = (np.asarray(x, np.float32) for x in (mine, theirs))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("valid", [None, VALID], ids=["all valid", "one padded"])
@pytest.mark.parametrize("average", [False, True], ids=["training", "evaluation"])
def test_values_statistics_and_gradients_are_flaxs(average, valid, use_scale):
    call = variables(use_scale), X, average, valid
    close(ours(*call, use_scale=use_scale), flax(*call, use_scale=use_scale), 2e-6)
    found = gradients(ours, *call, use_scale=use_scale)
    close(found, gradients(flax, *call, use_scale=use_scale), 1e-5)


def test_half_precision_keeps_statistics_in_float32():
    given, x, dtype = variables(), jnp.asarray(X, jnp.bfloat16), jnp.bfloat16
    (y, moved), (expected, usual) = (
        norm(given, x, False, VALID, dtype=dtype) for norm in (ours, flax)
    )
    assert y.dtype == dtype
    close(y, expected, 2**-7)
    close(moved, usual, 2e-6)


def test_an_example_that_is_padding_may_hold_anything():
    x = np.where(VALID[:, None, None, None] > 0, X, np.inf)
    close(ours(variables(), x, False, VALID)[1], ours(variables(), X, False, VALID)[1], 0)


def test_the_sums_are_no_matrix_products():
    """An accelerator would round what goes into one to fewer bits."""
    call = jax.jit(lambda x: ours(variables(), x, False, VALID)).trace(X)
    assert "dot_general" not in call.lower(lowering_platforms=("tpu",)).as_text()


def test_a_blank_map_has_a_finite_gradient():
    found = gradients(ours, variables(), np.zeros_like(X), False, None)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
