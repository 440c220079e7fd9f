"""Convolutions, halving and doubling against XLA's and Keras' operations: values and gradients."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from compared import assert_as_good_as_bfloat16_is, assert_equal_in_float32, with_gradients
from flax import linen as nn
from random_values import draw

from vocjax.models import ops
from vocjax.models.convolution import xla_conv
from vocjax.models.ops import max_pool, max_positions, max_unpool
from vocjax.models.pads import SAME


def repeat_and_convolve(x, kernel):
    return xla_conv(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), kernel, SAME)


# One convolution where four times the features are within the channels, four otherwise.
@pytest.mark.parametrize(
    ("channels", "features", "size"),
    [(8, 2, (3, 5)), (8, 2, (1, 1)), (4, 2, (3, 5)), (2, 6, (1, 1))],
)
def test_upsample_conv_equals_repeating_and_convolving(channels, features, size):
    x, kernel = draw(2, *size, channels), draw(3, 3, channels, features, seed=1)
    assert_equal_in_float32(ops.upsample_conv, repeat_and_convolve, x, kernel)


def halved(x):
    return max_pool(x, padding="VALID")


@pytest.mark.parametrize("size", [(6, 4), (7, 5)])
def test_max_pool_equals_flaxs(size):
    rng, shape = np.random.default_rng(0), (2, *size, 3)
    x = jnp.asarray(rng.permutation(np.prod(shape)).reshape(shape), jnp.float32)  # no ties
    got = jax.jit(with_gradients(halved))(x)
    want = jax.jit(with_gradients(lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))))(x)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("window", [[[1, 1], [1, 1]], [[2, 1], [2, 0]], [[0, 3], [3, 3]]])
def test_max_pool_shares_the_gradient_of_equals(window):
    x = jnp.asarray(window, jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: halved(x).sum())(x)
    np.testing.assert_array_equal(gradient > 0, x == x.max())
    assert gradient.sum() == 1


@pytest.mark.parametrize("size", [(1, 4), (3, 1)])
def test_positions_of_a_map_without_a_window_are_refused(size):
    with pytest.raises(ValueError, match=f"there are {size[0]} and {size[1]}"):
        max_positions(jnp.zeros((1, *size, 2)))


def keras_conv(layer, x, kernel, features):
    layer = layer(features, kernel.shape[0], strides=2, padding="same", use_bias=False)
    layer.build(x.shape)
    return layer.stateless_call([kernel], [], x)[0]


def keras_strided(x, kernel):
    return keras_conv(keras.layers.Conv2D, x, kernel, kernel.shape[-1])


def keras_transposed(x, kernel):
    swapped = jnp.swapaxes(kernel, 2, 3)
    return keras_conv(keras.layers.Conv2DTranspose, x, swapped, kernel.shape[-1])


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 4), (1, 3)])
def test_strided_conv_equals_keras(size):
    x, kernel = draw(2, *size, 3), draw(3, 3, 3, 7, seed=1)
    assert_equal_in_float32(ops.strided_conv, keras_strided, x, kernel)


@pytest.mark.parametrize(("channels", "features"), [(8, 2), (2, 3)])  # one convolution, and four
@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_transposed_conv_equals_keras(channels, features, size):
    x, kernel = draw(2, *size, channels), draw(4, 4, channels, features, seed=1)
    assert_equal_in_float32(ops.transposed_conv, keras_transposed, x, kernel)


@pytest.mark.parametrize(
    ("function", "reference", "shape"),
    [
        (ops.upsample_conv, repeat_and_convolve, (3, 3, 8, 2)),
        (ops.upsample_conv, repeat_and_convolve, (3, 3, 3, 4)),
        (ops.strided_conv, keras_strided, (3, 3, 3, 4)),
        (ops.transposed_conv, keras_transposed, (4, 4, 3, 4)),
    ],
)
def test_resampling_convs_in_bfloat16_with_a_float32_kernel(function, reference, shape):
    x, kernel = draw(2, 4, 6, shape[2]), draw(*shape, seed=1)
    assert_as_good_as_bfloat16_is(function, reference, x.astype(jnp.bfloat16), kernel)


def test_transposed_conv_draws_no_checkerboard():
    y = ops.transposed_conv(jnp.ones((1, 5, 5, 1)), jnp.ones((4, 4, 1, 1)))
    np.testing.assert_array_equal(y[:, 1:-1, 1:-1], np.full((1, 8, 8, 1), 4.0))


@pytest.mark.parametrize("size", [(1, 3), (4, 2)])
def test_bilinear_upsampling_equals_keras(size):
    layer = keras.layers.UpSampling2D(interpolation="bilinear")
    x = draw(2, *size, 3)
    assert_equal_in_float32(ops.bilinear_upsample, layer, x)
    assert ops.bilinear_upsample(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_max_positions_and_unpooling_equal_a_double_loop(size):
    x = np.random.default_rng(0).integers(0, 3, (2, *size, 3)).astype(np.float32)  # ties, too
    switches = max_positions(jnp.asarray(x))
    placed = np.zeros((2, 4, 6, 3), np.float32)
    for b, i, j, c in np.ndindex(switches.shape):
        window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        place = int(np.argmax(window))  # the first of equals
        assert switches[b, i, j, c] == place
        placed[b, 2 * i + place // 2, 2 * j + place % 2, c] = window.max()
    unpooled = max_unpool(halved(jnp.asarray(x)), switches)
    np.testing.assert_array_equal(unpooled, placed)


def test_the_gradient_of_max_unpool_is_taken_where_the_value_went():
    x, gradient = draw(1, 2, 2, 3), draw(1, 4, 4, 3, seed=1)
    switches = max_positions(gradient)  # then it is the largest of each window that is taken
    (of_x,) = jax.vjp(lambda x: max_unpool(x, switches), x)[1](gradient)
    np.testing.assert_array_equal(of_x, halved(gradient))


def test_max_unpool_refuses_switches_of_another_shape():
    with pytest.raises(ValueError, match=r"values \(1, 2, 2, 3\) and switches \(1, 2, 2, 1\)"):
        max_unpool(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2, 1), jnp.uint8))
