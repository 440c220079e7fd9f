"""DeepLab v3: parameters, Keras 3's values with the same weights, rates larger than the map."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from vocjax.models.autoencoder import Encoder
from vocjax.models.deeplab import AtrousPyramid, DeepLab
from vocjax.models.layers import Style

FILTERS, FEATURES, RATES, OUTPUTS = (2, 3), 4, (1, 2, 7), 3
SIZE, MAP = (8, 10), (4, 5)
BRANCHES = ("point", *(f"rate{rate}" for rate in RATES), "image", "projection")


def draw(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def moved(variables):
    """Variables without any zeros or ones left, so that a missing bias or scale is noticed."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.1 * rng.random(x.shape, np.float32), variables)


@pytest.mark.parametrize(("norm", "per_feature"), [("none", 1), ("batch", 3)])
def test_parameters_over_the_studys_encoder(norm, per_feature):
    model = DeepLab(Encoder((256, 128, 64, 32, 16)), 21, style=Style(norm=norm))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    branches = 16 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    expected = branches + 6 * 256 * per_feature + 256 * 21 + 21
    assert sum(x.size for x in jax.tree.leaves(params["decoder"])) == expected
    assert sum(x.size for x in jax.tree.leaves(params["encoder"])) == 399_088


def keras_deeplab():
    layers, zeros = keras.layers, {"padding": "same", "kernel_initializer": "zeros"}

    def finish(x):
        return layers.BatchNormalization(momentum=0.99, epsilon=1e-3)(layers.ReLU()(x))

    images = keras.Input((*SIZE, 1))
    x = finish(layers.Conv2D(FILTERS[0], 3, **zeros)(images))
    x = finish(layers.Conv2D(FILTERS[1], 3, **zeros)(layers.MaxPooling2D()(x)))
    branches = [finish(layers.Conv2D(FEATURES, 1, **zeros)(x))]
    branches += [
        finish(layers.Conv2D(FEATURES, 3, dilation_rate=rate, **zeros)(x)) for rate in RATES
    ]
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    mean = finish(layers.Conv2D(FEATURES, 1, **zeros)(mean))
    branches.append(layers.UpSampling2D(MAP)(mean))
    x = finish(layers.Conv2D(FEATURES, 1, **zeros)(layers.Concatenate()(branches)))
    scores = layers.Conv2D(OUTPUTS, 1, **zeros)(x)
    return keras.Model(images, layers.UpSampling2D(interpolation="bilinear")(scores))


def by_layer(variables):
    """[(convolution, norm, its statistics), ...], the encoder's first."""
    params, stats = variables["params"], variables["batch_stats"]
    blocks = [f"ConvBlock_{i}" for i in range(len(FILTERS))]
    layers = [
        (
            params["encoder"][block]["Conv_0"],
            params["encoder"][block]["BatchNorm_0"],
            stats["encoder"][block]["BatchNorm_0"],
        )
        for block in blocks
    ]
    decoder, of_decoder = params["decoder"], stats["decoder"]
    for index, name in enumerate(BRANCHES):
        norm = f"BatchNorm_{index}"
        layers.append((decoder[name], decoder[norm], of_decoder[norm]))
    return layers


def assign(peer, variables):
    """Put the weights into a Keras model, whose layers of a kind stand in order of their making."""
    of_kind = {
        kind: sorted(
            (layer for layer in peer.layers if isinstance(layer, kind)),
            key=lambda layer: [int(n) for n in layer.name.split("_") if n.isdigit()] or [0],
        )
        for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization)
    }
    convs, norms = of_kind.values()
    score = variables["params"]["decoder"]["score"]
    ours = by_layer(variables)
    for conv, params in zip(convs, [*(layer[0] for layer in ours), score], strict=True):
        kernel = params["kernel"]
        conv.set_weights([kernel if kernel.ndim == 4 else kernel[None, None], params["bias"]])
    for norm, (_, params, stats) in zip(norms, ours, strict=True):
        norm.set_weights([params["scale"], params["bias"], stats["mean"], stats["var"]])


def test_forward_equals_keras():
    style = Style(norm="batch")
    model = DeepLab(Encoder(FILTERS, style), OUTPUTS, FEATURES, RATES, style)
    images = draw(3, *SIZE, 1)
    variables = moved(jax.jit(model.init)(jax.random.key(0), images))
    with keras.name_scope("peer"):
        peer = keras_deeplab()
    assign(peer, variables)
    trained = [v.value for v in peer.trainable_variables]
    moving = [v.value for v in peer.non_trainable_variables]

    @jax.jit
    def both(images):
        evaluated, _ = model.apply(variables, images)
        (logits, _), _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        their_evaluated, _ = peer.stateless_call(trained, moving, images, training=False)
        their_logits, _ = peer.stateless_call(trained, moving, images, training=True)
        return (evaluated, logits), (their_evaluated, their_logits)

    for ours, theirs in zip(*both(images), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_rate_larger_than_the_map_is_a_1x1_convolution():
    decoder, x = AtrousPyramid(1, 3, (2, 5), Style("elu")), draw(2, 4, 5, 2)
    variables = moved(
        jax.jit(decoder.init, static_argnames="train")(jax.random.key(0), x, train=False)
    )

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: decoder.apply({"params": p}, x, train=False).sum())(params)

    taps = {
        name: np.abs(gradient(variables["params"])[name]["kernel"]).sum(axis=(2, 3)) > 0
        for name in ("rate2", "rate5")
    }
    assert np.all(taps["rate2"])
    np.testing.assert_array_equal(taps["rate5"], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_every_pixel_sees_the_whole_map_by_its_mean():
    decoder, x = AtrousPyramid(1, 3, (1,), Style("elu")), draw(2, 6, 7, 2)
    variables = moved(
        jax.jit(decoder.init, static_argnames="train")(jax.random.key(0), x, train=False)
    )
    apply = jax.jit(decoder.apply, static_argnames="train")
    before = apply(variables, x, train=False)
    after = apply(variables, x.at[0, 0, 0, 0].add(1.0), train=False)
    assert np.all(after[0] != before[0])
    np.testing.assert_array_equal(after[1], before[1])
