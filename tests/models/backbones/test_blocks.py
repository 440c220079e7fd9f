"""Blocks: XLA's and Keras's values in all their paddings, dilation, statistics."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from models.random_values import draw, draw_variables

from vocjax.models.backbones.blocks import (
    KERAS_NORM,
    Conv,
    ConvNorm,
    Sampling,
    atrous,
)
from vocjax.models.backbones.heads import ConvHead, FlattenHead, MeanHead, adaptive_mean_pool
from vocjax.models.ops import max_pool


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def xla_conv(x, kernel, stride, dilation, padding, groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize(
    ("strides", "output_stride", "expected"),
    [
        ((2, 2, 1, 2), 32, [(2, 1, 1), (2, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ((2, 2, 2, 1, 2, 2), 8, [(2, 1, 1)] * 3 + [(1, 1, 1), (1, 1, 2), (1, 2, 4)]),
        ((4, 2, 2), 8, [(4, 1, 1), (2, 1, 1), (1, 1, 2)]),
        ((1, 4, 4, 2), 8, [(1, 1, 1), (4, 1, 1), (2, 1, 2), (1, 2, 4)]),
    ],
)
def test_strides_beyond_the_output_stride_become_dilation(strides, output_stride, expected):
    samplings = atrous(strides, output_stride)
    assert samplings == [Sampling(*numbers) for numbers in expected]
    assert tuple(sampling.nominal for sampling in samplings) == strides


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding"),
    [
        (1, 1, 1, "SAME"),
        (1, 2, 1, "SAME"),
        (1, 2, 1, 0),
        (3, 2, 1, "SAME"),
        (3, 1, 2, "SAME"),
        (5, 2, 1, "VALID"),
        (3, 2, 1, ((0, 1), (0, 1))),
        ((1, 7), 1, 1, "SAME"),
    ],
)
def test_convolution_equals_xla(kernel, stride, dilation, padding):
    x, conv = draw(2, 9, 12, 3), Conv(4, kernel, stride, dilation, padding)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    params = {"kernel": draw(*sides, 3, 4, seed=1), "bias": draw(4, seed=2)}
    ours = jax.jit(conv.apply)({"params": params}, x)
    padding = ((0, 0), (0, 0)) if padding == 0 else padding
    theirs = xla_conv(x, params["kernel"], stride, dilation, padding)
    np.testing.assert_allclose(ours, theirs + params["bias"], rtol=1e-5, atol=1e-5)


def test_a_number_as_padding_grows_with_the_dilation():
    x, variables = draw(1, 9, 8, 2), {"params": {"kernel": draw(3, 3, 2, 3), "bias": draw(3)}}
    by_number, same = (Conv(3, 3, dilation=2, padding=padding) for padding in (1, "SAME"))
    expected = jax.jit(same.apply)(variables, x)
    np.testing.assert_array_equal(jax.jit(by_number.apply)(variables, x), expected)


pool = jax.jit(max_pool, static_argnums=(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "around"),
    [
        ((9, 12), 2, 2, "VALID", ((0, 0), (0, 0))),
        ((9, 12), 3, 2, "SAME", ((1, 1), (0, 1))),  # as Keras has it: more at the end
        ((10, 7), 3, 2, "CEIL", ((0, 1), (0, 0))),  # as torch has it: only at the end
        ((9, 12), 3, 2, 1, ((1, 1), (1, 1))),
        ((10, 7), 3, 1, "SAME", ((1, 1), (1, 1))),
    ],
)
def test_max_pool_is_the_maximum_of_windows(size, window, stride, padding, around):
    x = draw(2, *size, 3) - 10  # were zeros padded, they would be seen
    padded = np.pad(x, ((0, 0), *around, (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (window, window), (1, 2))
    expected = windows[:, ::stride, ::stride].max(axis=(-2, -1))
    np.testing.assert_array_equal(pool(x, window, stride, 1, padding), expected)


@pytest.mark.parametrize("window", [2, 3])
def test_a_dilated_max_pool_has_the_strided_ones_values(window):
    x = draw(1, 17, 19, 2)
    dense = np.asarray(pool(x, window, 1, 1, "VALID"))
    np.testing.assert_array_equal(dense[:, ::2, ::2], pool(x, window, 2, 1, "VALID"))
    again = np.asarray(pool(dense, window, 1, 2, "VALID"))
    expected = pool(dense[:, ::2, ::2], window, 1, 1, "VALID")
    np.testing.assert_array_equal(again[:, ::2, ::2], expected)
    assert pool(x, window, 1, 2, "SAME").shape == x.shape


def test_max_pool_gives_its_gradient_to_the_maxima():
    x = draw(1, 6, 6, 2)
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, 3, 2, 1, 1).sum()))(x)
    peer = jax.jit(jax.grad(lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))).sum()))
    np.testing.assert_array_equal(gradient, peer(x))


@functools.partial(jax.jit, static_argnums=(0, 3))
def train_or_apply(block, variables, x, train, valid=None):
    return block.apply(variables, x, train=train, valid=valid, mutable=["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("features", [4, None])
def test_a_block_convolves_normalises_and_activates(features, train):
    x = draw(4, 7, 9, 3)
    block = ConvNorm(features, 3, 2, norm=KERAS_NORM, activation=nn.relu6)
    variables = draw_variables(block, x)
    ours, state = train_or_apply(block, variables, x, train)

    groups = 3 if features is None else 1
    kernel = variables["params"]["conv"]["kernel"]
    y = np.asarray(xla_conv(x, kernel, 2, 1, "SAME", groups))
    params, stats = variables["params"]["norm"], variables["batch_stats"]["norm"]
    mean, var = (y.mean((0, 1, 2)), y.var((0, 1, 2))) if train else (stats["mean"], stats["var"])
    y = (y - mean) / np.sqrt(var + 1e-3) * params["scale"] + params["bias"]
    np.testing.assert_allclose(ours, y.clip(0, 6), rtol=1e-4, atol=1e-5)

    decay = 0.99 if train else 1
    for key, of_batch in (("mean", mean), ("var", var)):
        expected = decay * stats[key] + (1 - decay) * of_batch
        np.testing.assert_allclose(state["batch_stats"]["norm"][key], expected, rtol=1e-5)


def test_padded_examples_take_no_part_in_the_statistics():
    x, block = draw(3, 6, 6, 2), ConvNorm(4)
    variables = draw_variables(block, x)
    expected, statistics = train_or_apply(block, variables, x[:2], True)
    valid = np.asarray([1, 1, 0])
    for padding in (x[2:], 100 + x[2:]):
        padded = np.concatenate([x[:2], padding])
        got, moved = train_or_apply(block, variables, padded, True, valid)
        np.testing.assert_allclose(got[:2], expected, rtol=1e-5, atol=1e-5)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), moved, statistics)


@pytest.mark.parametrize(
    ("size", "target"), [((13, 13), (6, 6)), ((3, 5), (7, 7)), ((4, 9), (4, 3))]
)
def test_adaptive_pooling_means_over_torchs_windows(size, target):
    x = draw(2, *size, 3)

    def window(n, m, i):
        return slice(i * n // m, -(-(i + 1) * n // m))

    expected = np.zeros((2, *target, 3), np.float32)
    for i, j in np.ndindex(target):
        rows, columns = window(size[0], target[0], i), window(size[1], target[1], j)
        expected[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    got = jax.jit(adaptive_mean_pool, static_argnums=1)(x, target)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "head", [MeanHead(5, dropout=0.5), ConvHead(5, dropout=0.5), FlattenHead(5, 2, width=8)]
)
def test_a_head_drops_in_training_only(head):
    x = draw(2, 3, 4, 6)
    variables = draw_variables(head, x)
    train = jax.jit(
        lambda seed: head.apply(variables, x, train=True, rngs={"dropout": jax.random.key(seed)})
    )
    assert (train(1) != train(2)).any()
    assert jax.jit(head.apply)(variables, x).shape == (2, 5)  # without an rng


def test_the_mean_head_is_linear_in_the_mean():
    x, head = draw(2, 3, 4, 6), MeanHead(5)
    variables = draw_variables(head, x)
    dense = variables["params"]["dense"]
    expected = x.mean(axis=(1, 2)) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(jax.jit(head.apply)(variables, x), expected, rtol=1e-5, atol=1e-6)
