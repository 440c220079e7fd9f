"""Dropout drops the right share, independently, the same wherever it is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.models.dropout import Dropout, bits

SHAPE = (8, 64, 64, 4)  # 131,072 numbers


def dropped(key, x, rate=0.25):
    return Dropout(rate).apply({}, x, deterministic=False, rngs={"dropout": key})


def test_the_rest_is_scaled_and_has_the_gradient():
    x, key = jnp.full(SHAPE, 3.0), jax.random.key(0)
    y, gradient = dropped(key, x), jax.grad(lambda x: dropped(key, x).sum())(x)
    np.testing.assert_array_equal(jnp.unique(y), [0, 4])
    np.testing.assert_allclose(gradient, y / 3, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(rate):
    """Within four standard errors, over the map and at each place of it over many keys."""
    share = float((dropped(jax.random.key(1), jnp.ones(SHAPE), rate) == 0).mean())
    assert abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / np.prod(SHAPE))
    keys = jax.random.split(jax.random.key(2), 4000)
    shares = jax.vmap(lambda key: dropped(key, jnp.ones((5, 7)), rate) == 0)(keys).mean(0)
    assert np.abs(shares - rate).max() < 4 * np.sqrt(rate * (1 - rate) / len(keys))


def test_nothing_is_dropped_in_evaluation_or_at_rate_0():
    x = jnp.ones(SHAPE)
    assert Dropout(0.5).apply({}, x, deterministic=True) is x
    assert Dropout(0.0).apply({}, x, deterministic=False) is x


def test_all_32_bits_are_even_and_unlike_their_neighbours():
    """Within five standard errors: each bit, each pair of bits, and each bit a step further."""
    words = np.asarray(bits(jax.random.key(3), SHAPE)).ravel()
    signs = np.unpackbits(words.view(np.uint8)).reshape(-1, 32).astype(np.float32) * 2 - 1
    limit = 5 / np.sqrt(len(signs))
    assert np.abs(signs.mean(0)).max() < limit
    pairs = signs.T @ signs / len(signs)
    assert np.abs(pairs - np.eye(32)).max() < limit
    for step in (1, 4, 256, 16384):  # the next channel, column, row and image
        assert np.abs((signs[step:] * signs[:-step]).mean(0)).max() < limit


def test_keys_have_masks_of_their_own():
    keys = jax.random.split(jax.random.key(4), 64)
    masks = np.asarray(jax.vmap(lambda key: bits(key, (64, 64)) >> 31)(keys), np.float32)
    signs = masks.reshape(64, -1) * 2 - 1
    alike = signs @ signs.T / signs.shape[1] - np.eye(64)
    assert np.abs(alike).max() < 5 / np.sqrt(signs.shape[1])


def test_a_mask_is_the_same_under_vmap_and_jit():
    keys, x = jax.random.split(jax.random.key(5), 3), jnp.ones((4, 5))
    together = jax.jit(jax.vmap(lambda key: dropped(key, x)))(keys)
    np.testing.assert_array_equal(together, [dropped(key, x) for key in keys])
