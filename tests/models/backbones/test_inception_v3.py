"""The mean pool of Inception v3, with and without the zeros around the map."""

import functools

import jax
import numpy as np
import pytest

from vocjax.models.backbones import inception_v3


@pytest.mark.parametrize("dilation", [1, 2])
def test_means_count_zeros_or_not(dilation):
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 3), np.float32)
    around = ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0))
    taps = [
        (slice(i * dilation, i * dilation + 7), slice(j * dilation, j * dilation + 8))
        for i in range(3)
        for j in range(3)
    ]
    padded, inside = np.pad(x, around), np.pad(np.ones_like(x), around)
    total = sum(padded[:, rows, columns] for rows, columns in taps)
    number = sum(inside[:, rows, columns] for rows, columns in taps)
    for counts_padding, expected in ((True, total / 9), (False, total / number)):
        pool = functools.partial(inception_v3.mean_pool, counts_padding=counts_padding)
        got = jax.jit(pool, static_argnums=1)(x, dilation)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
