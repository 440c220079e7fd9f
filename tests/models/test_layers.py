"""Styles and layers: Keras 3's values with the same weights, and the mistakes in a config."""

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from ml_collections import ConfigDict
from random_values import draw, draw_variables

from vocjax.errors import UserError
from vocjax.models.draw import variables as variables_of
from vocjax.models.layers import (
    ACTIVATIONS,
    INITIALIZERS,
    ConvBlock,
    ResidualBlock,
    Style,
    style_of,
)


def stateless(layer, x, weights, state=(), **arguments):
    if not layer.built:
        layer.build(x.shape)
    return layer.stateless_call(list(weights), list(state), x, **arguments)[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_keras(name):
    x = jnp.linspace(-4, 4, 81)
    expected = getattr(keras.activations, name)(x)
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "features", "groups"), [("same", 12, 4), ("stride", 16, 8), ("stride", 5, 1)]
)
def test_a_stage_with_group_norm_equals_keras(sampling, features, groups):
    block, x = ConvBlock(features, sampling, Style("elu", "group")), draw(3, 4, 6, 2)
    params = draw_variables(block, x, train=False)["params"]
    strides = 2 if sampling == "stride" else 1

    @jax.jit
    def both(x):
        conv, norm = params["Conv_0"], params["GroupNorm_0"]
        peer = keras.layers.Conv2D(features, 3, strides, padding="same", activation="elu")
        y = stateless(peer, x, (conv["kernel"], conv["bias"]))
        peer = keras.layers.GroupNormalization(groups, epsilon=1e-3)
        theirs = stateless(peer, y, (norm["scale"], norm["bias"]))
        return block.apply({"params": params}, x, train=True), theirs

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_residual_block_equals_keras(train):
    block, x = ResidualBlock(Style("relu", "batch")), draw(3, 4, 6, 5)
    variables = draw_variables(block, x, train=False)
    params, stats = variables["params"], variables["batch_stats"]

    @jax.jit
    def both(x):
        ours, _ = block.apply(variables, x, train=train, mutable=["batch_stats"])
        y = x
        for i in (0, 1):
            norm, moving = params[f"BatchNorm_{i}"], stats[f"BatchNorm_{i}"]
            weights, state = (norm["scale"], norm["bias"]), (moving["mean"], moving["var"])
            peer = keras.layers.BatchNormalization(epsilon=1e-3)
            y = keras.activations.relu(stateless(peer, y, weights, state, training=train))
            weights = (params[f"Conv_{i}"]["kernel"], params[f"Conv_{i}"]["bias"])
            y = stateless(keras.layers.Conv2D(5, 3, padding="same"), y, weights)
        return ours, x + y

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-5)


def test_padded_examples_take_no_part_in_a_residual_blocks_statistics():
    block, x = ResidualBlock(Style("relu", "batch")), draw(3, 2, 2, 5)
    variables = draw_variables(block, x, train=False)

    @jax.jit
    def moved(x):
        valid = jnp.array([1, 1, 0])
        return block.apply(variables, x, train=True, valid=valid, mutable=["batch_stats"])[1]

    jax.tree.map(np.testing.assert_array_equal, moved(x), moved(x.at[2].add(1)))


def test_a_stage_has_its_residual_blocks_after_everything_else():
    block, x = ConvBlock(4, "stride", Style("tanh", residual=2)), draw(2, 4, 6, 3)
    variables = draw_variables(block, x, train=False)
    params = variables["params"]
    assert params.keys() == {"Conv_0", "ResidualBlock_0", "ResidualBlock_1"}

    @jax.jit
    def both(x):
        plain = {"params": {"Conv_0": params["Conv_0"]}}
        y = ConvBlock(4, "stride", Style("tanh")).apply(plain, x, train=False)
        for i in (0, 1):
            residual = {"params": params[f"ResidualBlock_{i}"]}
            y = ResidualBlock(Style("tanh")).apply(residual, y, train=False)
        return block.apply(variables, x, train=False), y

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-6)


def test_dropout_in_a_residual_block_leaves_the_input_alone():
    block, x = ResidualBlock(Style(dropout=0.99)), jnp.ones((1, 2, 2, 4))
    params = variables_of(jax.jit(partial(block.init, train=False)), jax.random.key(0), x)["params"]

    def apply(key, train):
        return block.apply({"params": params}, x, train=train, rngs={"dropout": key})

    keys = jax.random.split(jax.random.key(0), 3)
    np.testing.assert_array_equal(apply(keys[0], True), x)
    assert np.any(apply(keys[0], False) != x)


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_batch_norm_keeps_the_share_of_its_statistics_that_the_style_says(momentum):
    block, x = (
        ConvBlock(2, style=Style("tanh", "batch", norm_momentum=momentum)),
        jnp.full((1, 2, 2, 1), 0.5),
    )
    variables = block.init(jax.random.key(0), x, train=False)
    _, after = block.apply(variables, x, train=True, mutable=["batch_stats"])
    plain = ConvBlock(2, style=Style("tanh")).apply({"params": variables["params"]}, x, train=False)
    (found,), (began,) = (v["batch_stats"].values() for v in (after, variables))
    expected = momentum * began["mean"] + (1 - momentum) * plain.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)


def config_of(model, precision="float32"):
    return ConfigDict({"model": model, "precision": precision})


def test_a_config_without_a_style_has_the_studys():
    model = {"name": "autoencoder", "encoder": (4,), "kernel_init": "glorot_uniform"}
    assert style_of(config_of(model)) == Style()
    assert style_of(config_of(model, "bfloat16")).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activation": "selu"}, "model.activation is 'selu'; it is one of relu, leaky_"),
        ({"norm": True}, "model.norm is True; it is one of none, batch, group"),
        ({"downsample": "mean"}, "model.downsample is 'mean'; it is one of pool, stride"),
        ({"upsample": "cubic"}, "model.upsample is 'cubic'; it is one of nearest, bilinear, tran"),
        ({"kernel_init": "zeros"}, "model.kernel_init is 'zeros'; it is one of glorot_uniform"),
        ({"kernel_init": "orthogonal"}, "model.kernel_init is 'orthogonal'; it is one of glorot"),
        (
            {"norm_momentum": 1.0},
            "model.norm_momentum is 1.0; it must be at least 0 and less than 1",
        ),
        ({"dropout": 1.0}, "model.dropout is 1.0; it must be at least 0 and less than 1"),
        ({"dropout": -0.1}, "model.dropout is -0.1; it must be at least 0 and less than 1"),
        ({"residual": -1}, "model.residual is -1; it is the number of residual blocks"),
        ({"residual": True}, "model.residual is True; it is the number of residual blocks"),
        (
            {"upsample": "unpool", "downsample": "stride"},
            "'unpool' and model.downsample 'stride'; .* set model.downsample to 'pool', or",
        ),
    ],
)
def test_mistakes_in_a_style_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        style_of(config_of(fields))


# Uniform numbers have the deviation limit / sqrt(3), with Keras' limit sqrt(6 / (in + out)).
@pytest.mark.parametrize(
    ("name", "variance"),
    [("glorot_uniform", 2 / (72 + 144)), ("lecun_normal", 1 / 72), ("he_normal", 2 / 72)],
)
def test_initialisers_have_keras_limits(name, variance):
    draws = INITIALIZERS[name](jax.random.key(0), (3, 3, 8, 16))
    assert np.std(draws) == pytest.approx(np.sqrt(variance), rel=0.05)
    if name == "glorot_uniform":
        assert 0.98 < np.abs(draws).max() / np.sqrt(3 * variance) <= 1
