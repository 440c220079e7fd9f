"""DeepLab v3: parameters, Keras 3's values with the same weights, rates larger than the map."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from random_values import draw, draw_variables

from vocjax.models.deeplab import AtrousPyramid
from vocjax.models.encoders import Encoder
from vocjax.models.layers import Style
from vocjax.models.segmenter import Segmenter

FILTERS, FEATURES, RATES, OUTPUTS = (2, 3), 4, (2, 4, 7), 3  # 4 is less than one side
SIZE, MAP = (8, 10), (4, 5)
HALVES = ("encoder", "decoder")
BRANCHES = ("point", *(f"AtrousConv_{i}" for i in range(len(RATES))), "image", "projection")


@pytest.mark.parametrize(("norm", "per_feature"), [("none", 1), ("batch", 3)])
def test_parameters_over_the_studys_encoder(norm, per_feature):
    decoder = AtrousPyramid(21, style=Style(norm=norm))
    model = Segmenter(Encoder((256, 128, 64, 32, 16)), decoder)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    branches = 16 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    expected = branches + 6 * 256 * per_feature + 256 * 21 + 21
    assert sum(x.size for x in jax.tree.leaves(params["decoder"])) == expected
    assert sum(x.size for x in jax.tree.leaves(params["encoder"])) == 399_088


def keras_deeplab():
    """The same network; each convolution has the name of ours, and its norm that with _norm."""
    layers = keras.layers

    def conv(x, features, side, name, rate=1):
        return layers.Conv2D(
            features,
            side,
            dilation_rate=rate,
            padding="same",
            kernel_initializer="zeros",
            name=name,
        )(x)

    def block(*arguments):
        norm = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{arguments[3]}_norm")
        return norm(layers.ReLU()(conv(*arguments)))

    x = images = keras.Input((*SIZE, 1))
    for index, features in enumerate(FILTERS):
        x = layers.MaxPooling2D()(x) if index else x
        x = block(x, features, 3, f"ConvBlock_{index}")
    branches = [block(x, FEATURES, 1, "point")]
    branches += [block(x, FEATURES, 3, f"AtrousConv_{i}", rate) for i, rate in enumerate(RATES)]
    mean = block(layers.GlobalAveragePooling2D(keepdims=True)(x), FEATURES, 1, "image")
    branches.append(layers.UpSampling2D(MAP)(mean))
    x = block(layers.Concatenate()(branches), FEATURES, 1, "projection")
    scores = conv(x, OUTPUTS, 1, "score")
    return keras.Model(images, layers.UpSampling2D(interpolation="bilinear")(scores))


def assign(peer, variables):
    """Give a Keras model the weights of ours."""
    (encoder, decoder), stats = (variables["params"][h] for h in HALVES), variables["batch_stats"]
    convs = {name: decoder[name] for name in (*BRANCHES, "score")}
    norms = {
        name: (decoder[f"BatchNorm_{i}"], stats["decoder"][f"BatchNorm_{i}"])
        for i, name in enumerate(BRANCHES)
    }
    for name, block in encoder.items():
        convs[name] = block["Conv_0"]
        norms[name] = block["BatchNorm_0"], stats["encoder"][name]["BatchNorm_0"]
    for name, conv in convs.items():
        kernel = conv["kernel"] if conv["kernel"].ndim == 4 else conv["kernel"][None, None]
        peer.get_layer(name).set_weights([kernel, conv["bias"]])
    for name, (norm, moving) in norms.items():
        values = norm["scale"], norm["bias"], moving["mean"], moving["var"]
        peer.get_layer(f"{name}_norm").set_weights(values)


def test_forward_equals_keras():
    style = Style(norm="batch")
    decoder = AtrousPyramid(OUTPUTS, FEATURES, RATES, style)
    model = Segmenter(Encoder(FILTERS, style), decoder)
    images = draw(3, *SIZE, 1)
    variables = draw_variables(model, images)
    peer = keras_deeplab()
    assign(peer, variables)

    @jax.jit
    def both(images):
        return model.apply(variables, images)[0], peer(images, training=False)

    np.testing.assert_allclose(*both(images), rtol=1e-4, atol=1e-5)


def test_a_rate_larger_than_the_map_is_a_1x1_convolution():
    decoder, maps = AtrousPyramid(1, 3, (2, 5), Style("elu")), {2: draw(2, 4, 5, 2)}
    variables = draw_variables(decoder, maps)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: decoder.apply({"params": p}, maps)[1].sum())(params)

    gradients = gradient(variables["params"])
    taps = {
        name: np.abs(gradients[name]["kernel"]).sum(axis=(2, 3)) > 0
        for name in ("AtrousConv_0", "AtrousConv_1")
    }
    assert np.all(taps["AtrousConv_0"])
    np.testing.assert_array_equal(taps["AtrousConv_1"], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_every_pixel_sees_the_whole_map_by_its_mean():
    decoder, x = AtrousPyramid(1, 3, (1,), Style("elu")), draw(2, 6, 7, 2)
    variables = draw_variables(decoder, {4: x})
    apply = jax.jit(decoder.apply)
    stride, before = apply(variables, {4: x})
    _, after = apply(variables, {4: x.at[0, 0, 0, 0].add(1.0)})
    assert stride == 4
    assert np.all(after[0] != before[0])
    np.testing.assert_array_equal(after[1], before[1])
