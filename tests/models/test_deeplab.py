"""DeepLab v3 and v3+: parameters, the branches by XLA's convolutions, rates larger than the map."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from random_values import draw, draw_variables

from vocjax.models.autoencoder import Encoder
from vocjax.models.convolution import xla_conv
from vocjax.models.deeplab import AtrousPyramid, SkipPyramid
from vocjax.models.layers import Style
from vocjax.models.segmenter import Segmenter

FEATURES, RATES, OUTPUTS = 4, (2, 4, 7), 3  # 4 is less than one side
MAP = (4, 5)


@pytest.mark.parametrize(("norm", "per_feature"), [("none", 1), ("batch", 3)])
def test_parameters_over_the_studys_encoder(norm, per_feature):
    decoder = AtrousPyramid(21, style=Style(norm=norm))
    model = Segmenter(Encoder((256, 128, 64, 32, 16)), decoder)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    branches = 16 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    expected = branches + 6 * 256 * per_feature + 256 * 21 + 21
    assert sum(x.size for x in jax.tree.leaves(params["decoder"])) == expected
    assert sum(x.size for x in jax.tree.leaves(params["encoder"])) == 399_088


@pytest.mark.parametrize("rates", [RATES, ()])
def test_the_branches_are_what_the_paper_says(rates):
    """By XLA's dilated convolutions, whatever the rate, and NumPy; there may be none of them."""
    decoder, x = AtrousPyramid(OUTPUTS, FEATURES, rates, Style("elu")), draw(3, *MAP, 3)
    variables = draw_variables(decoder, {2: x})

    @jax.jit
    def both(x):
        def dense(x, name):
            return x @ variables["params"][name]["kernel"] + variables["params"][name]["bias"]

        def atrous(i, rate):
            conv = variables["params"][f"AtrousConv_{i}"]
            return xla_conv(x, conv["kernel"], ((rate, rate), (rate, rate)), rate) + conv["bias"]

        mean = dense(x.mean(axis=(1, 2), keepdims=True), "image")
        branches = [dense(x, "point"), *(atrous(i, rate) for i, rate in enumerate(rates))]
        branches.append(jnp.broadcast_to(mean, branches[0].shape))
        joined = jax.nn.elu(jnp.concatenate(branches, axis=-1))
        expected = dense(jax.nn.elu(dense(joined, "projection")), "score")
        return decoder.apply(variables, {2: x})[1], expected

    np.testing.assert_allclose(*both(x), rtol=1e-4, atol=1e-5)


def test_a_rate_larger_than_the_map_is_a_1x1_convolution():
    decoder, maps = AtrousPyramid(1, 3, (2, 5), Style("elu")), {2: draw(2, 4, 5, 2)}
    variables = draw_variables(decoder, maps)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: decoder.apply({"params": p}, maps)[1].sum())(params)

    gradients = gradient(variables["params"])
    small, large = (np.abs(gradients[f"AtrousConv_{i}"]["kernel"]).sum((2, 3)) > 0 for i in (0, 1))
    assert np.all(small)
    np.testing.assert_array_equal(large, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_every_pixel_sees_the_whole_map_by_its_mean():
    decoder, x = AtrousPyramid(1, 3, (1,), Style("elu")), draw(2, 6, 7, 2)
    variables = draw_variables(decoder, {4: x})
    apply = jax.jit(decoder.apply)
    stride, before = apply(variables, {4: x})
    _, after = apply(variables, {4: x.at[0, 0, 0, 0].add(1.0)})
    assert stride == 4
    assert np.all(after[0] != before[0])
    np.testing.assert_array_equal(after[1], before[1])


def test_the_decoder_of_v3_plus_is_that_of_keras_layers():
    """Separable convolutions, bilinear enlarging and the skip, by Keras, of the same arrays."""
    style = Style("elu", upsample="bilinear")
    decoder = SkipPyramid(OUTPUTS, FEATURES, (2, 3), 2, True, style)
    deep, low = draw(2, 5, 6, 3), draw(2, 20, 24, 3, seed=1)
    maps = {1: draw(2, 80, 96, 1), 4: low, 16: deep}
    variables = draw_variables(decoder, maps)
    params = variables["params"]

    def dense(x, name):
        return x @ params[name]["kernel"] + params[name]["bias"]

    def separable(x, name, rate=1):
        point = params[f"{name}_pointwise"]
        layer = keras.layers.SeparableConv2D(FEATURES, 3, padding="same", dilation_rate=rate)
        layer.build(x.shape)
        alone = np.moveaxis(params[f"{name}_depthwise"]["kernel"], 2, 3)
        layer.set_weights([alone, point["kernel"][None, None], point["bias"]])
        return layer(x)

    branches = [
        dense(deep, "point"),
        *(separable(deep, f"AtrousConv_{i}", r) for i, r in ((0, 2), (1, 3))),
    ]
    mean = dense(deep.mean(axis=(1, 2), keepdims=True), "image")
    branches.append(jnp.broadcast_to(mean, branches[0].shape))
    x = jax.nn.elu(dense(jax.nn.elu(jnp.concatenate(branches, axis=-1)), "projection"))
    x = keras.layers.UpSampling2D(4, interpolation="bilinear")(x)
    x = jnp.concatenate([x, jax.nn.elu(dense(low, "low_level"))], axis=-1)
    for i in range(2):
        x = jax.nn.elu(separable(x, f"refine_{i}"))
    stride, scores = decoder.apply(variables, maps)
    assert stride == 4 and decoder.reads((16, 8, 4, 2, 1)) == (16, 4)
    np.testing.assert_allclose(scores, dense(x, "score"), rtol=1e-4, atol=1e-4)
