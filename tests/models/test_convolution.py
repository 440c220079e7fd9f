"""The faster convolutions against XLA's own, values and gradients, compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vocjax.models.convolution import conv, max_pool, upsample_conv

SAME = ((1, 1), (1, 1))
THIN_TO_WIDE, WIDE_TO_THIN = (3, 7), (7, 3)  # channels, features: a branch each


def xla_conv(x, kernel, padding):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def draw(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def uneven(y):
    return jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)


def with_gradients(function, cotangent=uneven):
    """Return `run(*arguments)`: the value, and the gradients by a fixed cotangent."""

    def run(*arguments):
        y, pull = jax.vjp(function, *arguments)
        return y, *pull(cotangent(y))

    return run


def assert_equal_in_float32(function, reference, *arguments):
    @jax.jit
    def both(*arguments):
        return with_gradients(function)(*arguments), with_gradients(reference)(*arguments)

    for ours, theirs in zip(*both(*arguments), strict=True):
        assert ours.dtype == theirs.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def assert_as_good_as_bfloat16_is(function, reference, *arguments):
    """Within two roundings (2^-7) of the sum of the terms' magnitudes, which float32 tells."""

    @jax.jit
    def all_three(*arguments):
        exact = [x.astype(jnp.float32) for x in arguments]
        sizes = [jnp.abs(x) for x in exact]
        return (
            with_gradients(function)(*arguments),
            with_gradients(reference)(*exact),
            with_gradients(reference, jnp.ones_like)(*sizes),
        )

    results = zip(*all_three(*arguments), strict=True)
    for (ours, exact, size), dtype in zip(
        results, (jnp.bfloat16, *(x.dtype for x in arguments)), strict=True
    ):
        assert ours.dtype == dtype
        error = np.abs(np.asarray(ours, np.float32) - np.asarray(exact))
        assert np.all(error <= 2**-7 * np.asarray(size))


@pytest.mark.parametrize(("channels", "features"), [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize(("side", "padding"), [(3, SAME), (2, ((1, 0), (0, 1))), (2, SAME)])
def test_conv_equals_xlas(channels, features, side, padding):
    x, kernel = draw((2, 5, 7, channels), (side, side, channels, features))
    assert_equal_in_float32(
        lambda x, k: conv(x, k, padding), lambda x, k: xla_conv(x, k, padding), x, kernel
    )


@pytest.mark.parametrize(("channels", "features"), [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize(("side", "padding"), [(3, SAME), (2, ((0, 1), (1, 0)))])
def test_conv_in_bfloat16(channels, features, side, padding):
    shapes = (2, 5, 7, channels), (side, side, channels, features)
    x, kernel = draw(*shapes, dtype=jnp.bfloat16)
    assert_as_good_as_bfloat16_is(
        lambda x, k: conv(x, k, padding), lambda x, k: xla_conv(x, k, padding), x, kernel
    )


def test_conv_is_same_where_no_padding_is_given():
    x, kernel = draw((1, 4, 6, 2), (3, 3, 2, 5))
    assert conv(x, kernel).shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(conv(x, kernel), conv(x, kernel, SAME))


def repeat_and_convolve(x, kernel):
    return xla_conv(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), kernel, SAME)


# One convolution where four times the features are within the channels, four otherwise.
@pytest.mark.parametrize(
    ("channels", "features", "size"),
    [
        (8, 2, (3, 5)),
        (8, 2, (1, 1)),
        (5, 1, (4, 2)),
        (4, 2, (3, 5)),
        (2, 6, (1, 1)),
        (2, 6, (4, 2)),
    ],
)
def test_upsample_conv_equals_repeating_and_convolving(channels, features, size):
    x, kernel = draw((2, *size, channels), (3, 3, channels, features))
    assert_equal_in_float32(upsample_conv, repeat_and_convolve, x, kernel)


@pytest.mark.parametrize(("channels", "features"), [(8, 2), (3, 4)])
def test_upsample_conv_in_bfloat16_with_a_float32_kernel(channels, features):
    x, kernel = draw((2, 3, 5, channels), (3, 3, channels, features))
    assert_as_good_as_bfloat16_is(
        upsample_conv, repeat_and_convolve, x.astype(jnp.bfloat16), kernel
    )


def test_max_pool_equals_flaxs():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.permutation(2 * 6 * 4 * 3).reshape(2, 6, 4, 3), jnp.float32)  # no ties
    got = jax.jit(with_gradients(max_pool))(x)
    want = jax.jit(with_gradients(lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))))(x)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("window", [[[1, 1], [1, 1]], [[2, 1], [2, 0]], [[0, 3], [3, 3]]])
def test_max_pool_shares_the_gradient_of_equals(window):
    x = jnp.asarray(window, jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient > 0, x == x.max())
    assert gradient.sum() == 1


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (1, 2)])
def test_max_pool_refuses_an_odd_size(size):
    with pytest.raises(ValueError, match=r"max_pool .*odd"):
        max_pool(jnp.zeros((1, *size, 2)))
