"""An autoencoder of patches with a linear trunk: sizes, Keras' values, and how it begins."""

from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from random_values import draw_variables

from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.models import build, draw
from vocjax.models.autoencoder import ConvAutoencoder, Decoder, Encoder
from vocjax.models.layers import ConvBlock, Style

CONFIGS = Path(__file__).parents[2] / "configs"
LINEAR = Style("gelu", residual=1, trunk="linear", downsample="stride", upsample="transposed")
SMALL = ConvAutoencoder(Encoder((4, 6), LINEAR, "patch", 2), Decoder((6, 4), 3, LINEAR, 4))


def images(n=2, height=16, width=16, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((n, height, width, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [({}, (4, 4, 16)), ({"code": 0}, (4, 4, 256)), ({"stem": "same", "code": 7}, (16, 16, 7))],
)
def test_the_configs_code(changes, shape):
    config = load_config(CONFIGS / "autoencoder_convolutional.py")
    config.model.update(changes)
    if changes.get("stem") == "same":
        config.model.decoder = (8, 8)
    model = build.autoencoder(config)
    shown = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    (image, code), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), shown)
    assert (image.shape, code.shape) == ((2, 64, 64, 3), (2, *shape))


def test_it_begins_as_a_linear_map_and_every_parameter_learns_but_what_zeros_hide():
    params = draw.variables(jax.jit(SMALL.init), jax.random.key(0), images())["params"]
    a, b = images(2)

    def error(params, x):
        image, _ = SMALL.apply({"params": params}, x, train=True)
        return ((image - x) ** 2).mean(), image

    run = jax.jit(jax.value_and_grad(error, has_aux=True))
    (_, image), _ = run(params, jnp.stack([a, b, (a + b) / 2]))
    np.testing.assert_allclose(image[2], (image[0] + image[1]) / 2, atol=1e-5)
    assert np.abs(image[0] - image[1]).max() > 0.01
    blocks = [params[half][f"ConvBlock_{i}"] for half in ("encoder", "decoder") for i in (0, 1)]
    assert all(not np.any(b["ResidualBlock_0"]["Conv_1"]["kernel"]) for b in blocks)

    _, gradient = run(draw_variables(SMALL, images())["params"], images(3))
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.any(leaf), path


def test_a_stage_is_a_convolution_and_residual_sums():
    block = ConvBlock(5, "same", LINEAR)
    x = images()
    params = draw_variables(block, x, train=False)["params"]

    def conv(x, name, tree):
        return keras.ops.conv(x, tree[name]["kernel"], padding="same") + tree[name]["bias"]

    y = conv(x, "Conv_0", params)
    residual = params["ResidualBlock_0"]
    gelu = [keras.activations.gelu(y, approximate=False)]
    gelu.append(keras.activations.gelu(conv(gelu[0], "Conv_0", residual), approximate=False))
    expected = y + conv(gelu[1], "Conv_1", residual)
    np.testing.assert_allclose(
        block.apply({"params": params}, x, train=False), expected, rtol=1e-5, atol=1e-5
    )


def test_patches_are_keras_convolutions_of_stride_4():
    """3x3 patches of 4x4 pixels are a kernel of 12x12, in the encoder and, transposed, after it."""
    linear = LINEAR._replace(residual=0)
    encoder, decoder = Encoder((5,), linear, "patch"), Decoder((6,), 3, linear, 4)
    x = images(2, 12, 20)
    ours = draw_variables(encoder, x)
    layer = keras.layers.Conv2D(5, 12, strides=4, padding="same")
    layer.build(x.shape)
    kernel = np.asarray(ours["params"]["ConvBlock_0"]["Conv_0"]["kernel"])
    wide = kernel.reshape(3, 3, 4, 4, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(12, 12, 3, 5)
    layer.set_weights([wide, ours["params"]["ConvBlock_0"]["Conv_0"]["bias"]])
    np.testing.assert_allclose(encoder.apply(ours, x), layer(2 * x - 1), rtol=1e-5, atol=1e-4)

    code = jnp.asarray(np.random.default_rng(1).standard_normal((2, 3, 5, 6)), jnp.float32)
    theirs = draw_variables(decoder, code)["params"]
    identity = jnp.zeros((3, 3, 6, 6)).at[1, 1].set(jnp.eye(6))
    theirs["ConvBlock_0"]["Conv_0"] = {"kernel": identity, "bias": jnp.zeros(6)}
    layer = keras.layers.Conv2DTranspose(3, 12, strides=4, padding="same", use_bias=False)
    layer.build(code.shape)
    kernel = np.asarray(theirs["Conv_0"]["kernel"]).reshape(3, 3, 6, 4, 4, 3)
    # A transposed convolution reads the neighbour on the other side.
    wide = kernel[::-1, ::-1].transpose(0, 3, 1, 4, 5, 2).reshape(12, 12, 3, 6)
    layer.set_weights([wide])
    bias = np.asarray(theirs["Conv_0"]["bias"]).reshape(4, 4, 3)
    expected = np.asarray(layer(code)) + np.tile(bias, (3, 5, 1))
    found = decoder.apply({"params": theirs}, code)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_stages_are_without_the_projection_and_sizes_are_rounded_up():
    encoder, x = SMALL.encoder, images(2, 13, 22)
    variables = draw_variables(encoder, x)
    assert encoder.strides == {"stage1": 4, "stage2": 8}
    maps = encoder.apply(variables, x, method="stages")
    assert {name: m.shape for name, m in maps.items()} == {
        "stage1": (2, 4, 6, 4),
        "stage2": (2, 2, 3, 6),
    }
    projection = variables["params"]["code"]
    expected = np.asarray(maps["stage2"]) @ projection["kernel"][0, 0] + projection["bias"]
    np.testing.assert_allclose(encoder.apply(variables, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"code": -1}, "model.code is -1; it is how many numbers the code has at each place"),
        ({"trunk": "curved"}, "model.trunk is 'curved'; it is one of activated, linear"),
        ({"stem": "patches"}, "model.stem is 'patches'; it is one of same, stride, patch"),
        ({"decoder": (8, 8)}, "model.decoder has 2 widths; .* it takes 3"),
    ],
)
def test_a_wrong_field_is_refused(fields, message):
    config = load_config(CONFIGS / "autoencoder_convolutional.py")
    config.model.update(fields)
    with pytest.raises(UserError, match=message):
        build.autoencoder(config)
