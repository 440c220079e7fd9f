"""The convolutions against XLA's and Keras', values and gradients, compiled; pooling by hand."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn

from vocjax.models.ops import (
    bilinear_upsample,
    conv,
    max_pool,
    max_positions,
    max_unpool,
    strided_conv,
    transposed_conv,
    upsample_conv,
)

SAME = ((1, 1), (1, 1))
THIN_TO_WIDE, WIDE_TO_THIN = (3, 7), (7, 3)  # channels, features: a branch each


def xla_conv(x, kernel, padding, dilation=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
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


@pytest.mark.parametrize(("channels", "features"), [THIN_TO_WIDE, WIDE_TO_THIN, (5, 6)])
@pytest.mark.parametrize(
    ("dilation", "padding"), [(2, ((2, 2), (2, 2))), (3, ((3, 4), (1, 2))), (9, ((9, 9), (9, 9)))]
)
def test_atrous_conv_equals_xlas(channels, features, dilation, padding):
    x, kernel = draw((2, 5, 7, channels), (3, 3, channels, features))
    assert_equal_in_float32(
        lambda x, k: conv(x, k, padding, dilation),
        lambda x, k: xla_conv(x, k, padding, dilation),
        x,
        kernel,
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


@pytest.mark.parametrize("size", [(6, 4), (7, 4), (6, 5), (3, 3)])
def test_max_pool_equals_flaxs(size):
    rng, shape = np.random.default_rng(0), (2, *size, 3)
    x = jnp.asarray(rng.permutation(np.prod(shape)).reshape(shape), jnp.float32)  # no ties
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


@pytest.mark.parametrize("pool", [max_pool, max_positions])
@pytest.mark.parametrize("size", [(1, 4), (3, 1)])
def test_pooling_refuses_what_has_no_window(pool, size):
    with pytest.raises(ValueError, match=f"there are {size[0]} and {size[1]}"):
        pool(jnp.zeros((1, *size, 2)))


def keras_strided(x, kernel):
    layer = keras.layers.Conv2D(kernel.shape[-1], 3, strides=2, padding="same", use_bias=False)
    layer.build(x.shape)
    return layer.stateless_call([kernel], [], x)[0]


def keras_transposed(x, kernel):
    layer = keras.layers.Conv2DTranspose(
        kernel.shape[-1], 4, strides=2, padding="same", use_bias=False
    )
    layer.build(x.shape)
    return layer.stateless_call([jnp.swapaxes(kernel, 2, 3)], [], x)[0]


@pytest.mark.parametrize(("channels", "features"), [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 4), (1, 3)])
def test_strided_conv_equals_keras(channels, features, size):
    x, kernel = draw((2, *size, channels), (3, 3, channels, features))
    assert_equal_in_float32(strided_conv, keras_strided, x, kernel)


@pytest.mark.parametrize(("channels", "features"), [(8, 2), (2, 3)])  # one convolution, and four
@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_transposed_conv_equals_keras(channels, features, size):
    x, kernel = draw((2, *size, channels), (4, 4, channels, features))
    assert_equal_in_float32(transposed_conv, keras_transposed, x, kernel)


@pytest.mark.parametrize(
    ("function", "reference", "side"),
    [(strided_conv, keras_strided, 3), (transposed_conv, keras_transposed, 4)],
)
def test_resampling_convs_in_bfloat16_with_a_float32_kernel(function, reference, side):
    x, kernel = draw((2, 4, 6, 3), (side, side, 3, 4))
    assert_as_good_as_bfloat16_is(function, reference, x.astype(jnp.bfloat16), kernel)


def test_transposed_conv_draws_no_checkerboard():
    y = transposed_conv(jnp.ones((1, 5, 5, 1)), jnp.ones((4, 4, 1, 1)))
    np.testing.assert_array_equal(y[:, 1:-1, 1:-1], np.full((1, 8, 8, 1), 4.0))


@pytest.mark.parametrize("size", [(1, 3), (4, 2)])
def test_bilinear_upsampling_equals_keras(size):
    layer = keras.layers.UpSampling2D(interpolation="bilinear")
    (x,) = draw((2, *size, 3))
    assert_equal_in_float32(bilinear_upsample, layer, x)
    assert bilinear_upsample(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def windows_with_ties(seed=0, shape=(2, 4, 6, 3)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, shape).astype(np.float32)


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_max_positions_and_unpooling_equal_a_double_loop(size):
    x = windows_with_ties(shape=(2, *size, 3))
    switches = max_positions(jnp.asarray(x))
    placed = np.zeros((2, 4, 6, 3), np.float32)
    for b, i, j, c in np.ndindex(switches.shape):
        window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        place = int(np.argmax(window))  # the first of equals
        assert switches[b, i, j, c] == place
        placed[b, 2 * i + place // 2, 2 * j + place % 2, c] = window.max()
    unpooled = max_unpool(max_pool(jnp.asarray(x)), switches)
    np.testing.assert_array_equal(unpooled, placed)


def test_max_unpool_equals_torchs():
    torch = pytest.importorskip("torch")
    x = windows_with_ties()
    ours = max_unpool(max_pool(jnp.asarray(x)), max_positions(jnp.asarray(x)))
    pooled, indices = torch.nn.MaxPool2d(2, return_indices=True)(
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    )
    theirs = torch.nn.MaxUnpool2d(2)(pooled, indices).numpy()
    np.testing.assert_array_equal(ours, theirs.transpose(0, 2, 3, 1))


def test_the_gradient_of_max_unpool_is_taken_where_the_value_went():
    x, gradient = draw((1, 2, 2, 3), (1, 4, 4, 3))
    switches = max_positions(gradient)  # then it is the largest of each window that is taken
    (of_x,) = jax.vjp(lambda x: max_unpool(x, switches), x)[1](gradient)
    np.testing.assert_array_equal(of_x, max_pool(gradient))


def test_max_unpool_refuses_switches_of_another_shape():
    with pytest.raises(ValueError, match=r"values \(1, 2, 2, 3\) and switches \(1, 2, 2, 1\)"):
        max_unpool(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2, 1), jnp.uint8))
