"""The study's networks: sizes, Keras 3's values with the same weights, padding, precision."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vocjax import losses
from vocjax.errors import UserError
from vocjax.models.autoencoder import ConvAutoencoder, Decoder, Encoder, LinearAutoencoder
from vocjax.models.classifier import Classifier
from vocjax.models.layers import check_poolable, kernel_initializer
from vocjax.models.segmenter import Segmenter

STUDY = {
    "AE 2048": ((256, 128, 64, 32), (32, 64, 128), (8, 8, 32), 394_464, 499_523),
    "AE 256": ((256, 128, 64, 32, 16), (32, 64, 128, 256), (4, 4, 16), 399_088, 798_163),
}
ENCODER, DECODER = (6, 5, 4), (3, 12)  # small, and the decoder has both kinds of up-sampling


def draw_images(n, size=12, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.random((n, size, size, 3)), jnp.float32)


def small_autoencoder(**settings):
    return ConvAutoencoder(Encoder(ENCODER, **settings), Decoder(DECODER, 3, **settings))


def initial(model, seed=0):
    """Variables without any zeros or ones left, so that a missing bias or scale is noticed."""
    variables = jax.jit(model.init)(jax.random.key(seed), draw_images(1))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + 0.1 * rng.random(x.shape, np.float32), variables)


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", STUDY)
def test_the_studys_sizes(name):
    encoder, decoder, code_shape, in_encoder, in_all = STUDY[name]
    model = ConvAutoencoder(Encoder(encoder), Decoder(decoder, 3))
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    (image, code), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert count(variables["params"]["encoder"]) == in_encoder
    assert count(variables["params"]) == in_all
    assert code.shape == (2, *code_shape)
    assert image.shape == (2, 64, 64, 3)


def keras_model():
    """The same layers in the same order, as the study's Keras code has them."""
    layers = [keras.Input((12, 12, 3))]

    def conv(features, activation):
        return keras.layers.Conv2D(
            features, 3, padding="same", activation=activation, kernel_initializer="zeros"
        )

    def block(features):
        layers.append(conv(features, "relu"))
        layers.append(keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3))

    for index, features in enumerate(ENCODER):
        if index:
            layers.append(keras.layers.MaxPooling2D())
        block(features)
    for index, features in enumerate(DECODER):
        if index:
            layers.append(keras.layers.UpSampling2D())
        block(features)
    layers.append(keras.layers.UpSampling2D())
    layers.append(conv(3, "sigmoid"))
    return keras.Sequential(layers)


def in_keras_order(tree, leaves):
    """List the named leaves block by block, the first block of the encoder first."""
    blocks = [tree["encoder"][f"ConvBlock_{i}"] for i in range(len(ENCODER))]
    blocks += [tree["decoder"][f"ConvBlock_{i}"] for i in range(len(DECODER))]
    blocks.append({"Conv_0": tree["decoder"].get("Conv_0")})
    return [block[module][leaf] for block in blocks for module, leaf in leaves if module in block]


def trained_values(params):
    names = [("Conv_0", "kernel"), ("Conv_0", "bias")]
    return in_keras_order(params, [*names, ("BatchNorm_0", "scale"), ("BatchNorm_0", "bias")])


def moving_values(stats):
    return in_keras_order(stats, [("BatchNorm_0", "mean"), ("BatchNorm_0", "var")])


def assert_all_close(ours, theirs, **tolerances):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **tolerances)


def test_forward_gradient_and_statistics_equal_keras():
    model, images = small_autoencoder(batch_norm=True), draw_images(5)
    variables = initial(model)
    peer = keras_model()
    trained, moving = trained_values(variables["params"]), moving_values(variables["batch_stats"])

    @jax.jit
    def ours(params):
        def loss(params):
            (image, _), updates = model.apply(
                variables | {"params": params}, images, train=True, mutable=["batch_stats"]
            )
            return losses.mse(image, images).mean(), (image, updates["batch_stats"])

        return jax.value_and_grad(loss, has_aux=True)(params)

    @jax.jit
    def theirs(trained):
        def loss(trained):
            image, moved = peer.stateless_call(trained, moving, images, training=True)
            return jnp.mean((image - images) ** 2), (image, moved)

        return jax.value_and_grad(loss, has_aux=True)(trained)

    (loss, (image, stats)), gradient = ours(variables["params"])
    (their_loss, (their_image, their_stats)), their_gradient = theirs(trained)
    assert float(loss) == pytest.approx(float(their_loss), rel=1e-6)
    np.testing.assert_allclose(image, their_image, rtol=1e-5, atol=1e-6)
    assert_all_close(trained_values(gradient), their_gradient, rtol=1e-4, atol=1e-6)
    assert_all_close(moving_values(stats), their_stats, rtol=1e-5, atol=1e-6)
    evaluated, _ = jax.jit(model.apply)(variables, images)
    expected, _ = jax.jit(lambda: peer.stateless_call(trained, moving, images, training=False))()
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-6)


def test_padded_examples_change_nothing():
    shared = {"batch_norm": True}
    model = ConvAutoencoder(Encoder((5, 4), **shared), Decoder((3,), 3, **shared))
    variables = initial(model)

    @jax.jit
    def step(images, valid):
        def loss(params):
            (image, _), updates = model.apply(
                variables | {"params": params},
                images,
                train=True,
                valid=valid,
                mutable=["batch_stats"],
            )
            values = losses.mse(image, images)
            return jnp.sum(values * valid) / jnp.sum(valid), (values, updates)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    images, other = draw_images(5), draw_images(3, seed=1)
    (loss, (values, stats)), gradient = step(images, jnp.ones(5))
    padded = jnp.concatenate([images, other]), jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([5, 3]))
    (padded_loss, (padded_values, padded_stats)), padded_gradient = step(*padded)
    np.testing.assert_allclose(padded_loss, loss, atol=1e-6)
    np.testing.assert_allclose(padded_values[:5], values, atol=1e-6)
    np.testing.assert_allclose(ravel_pytree(padded_stats)[0], ravel_pytree(stats)[0], atol=1e-6)
    np.testing.assert_allclose(
        ravel_pytree(padded_gradient)[0], ravel_pytree(gradient)[0], atol=1e-6
    )


@pytest.mark.parametrize(
    "model",
    [small_autoencoder(), LinearAutoencoder(5, (12, 12, 3))],
    ids=["convolutional", "linear"],
)
def test_encoder_and_decoder_compose(model):
    variables, images = initial(model), draw_images(2)
    image, code = jax.jit(model.apply)(variables, images)
    encoded = jax.jit(lambda x: model.apply(variables, x, method="encode"))(images)
    np.testing.assert_allclose(encoded, code, rtol=1e-6, atol=1e-7)
    decoded = jax.jit(lambda x: model.apply(variables, x, method="decode"))(code)
    np.testing.assert_allclose(decoded, image, rtol=1e-6, atol=1e-7)


def test_encoder_and_decoder_stand_alone():
    model, images = small_autoencoder(), draw_images(2)
    params = initial(model)["params"]

    @jax.jit
    def whole(images):
        return model.apply({"params": params}, images)

    @jax.jit
    def in_parts(images):
        code = Encoder(ENCODER).apply({"params": params["encoder"]}, images)
        return jax.nn.sigmoid(Decoder(DECODER, 3).apply({"params": params["decoder"]}, code)), code

    assert_all_close(in_parts(images), whole(images), rtol=1e-6, atol=1e-7)


def make(name, dtype):
    shared = {"batch_norm": True, "dtype": dtype}
    return {
        "autoencoder": ConvAutoencoder(Encoder(ENCODER, **shared), Decoder(DECODER, 3, **shared)),
        "linear": LinearAutoencoder(5, (12, 12, 3), dtype=dtype),
        "classifier": Classifier(Encoder(ENCODER, **shared), 2),
        "segmenter": Segmenter(Encoder(ENCODER, **shared), Decoder(DECODER, 1, **shared)),
    }[name]


@pytest.mark.parametrize("name", ["autoencoder", "linear", "classifier", "segmenter"])
def test_bfloat16_keeps_params_outputs_and_gradients_float32(name):
    model, images = make(name, jnp.bfloat16), draw_images(2)
    variables = jax.jit(model.init)(jax.random.key(0), images)

    def loss(params):
        (output, code), updates = model.apply(
            variables | {"params": params}, images, train=True, mutable=["batch_stats"]
        )
        return jnp.mean(output**2), (output, code, updates)

    shapes = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), variables["params"])
    (value, (output, code, updates)), gradient = shapes
    assert {x.dtype for x in jax.tree.leaves((variables, value, output, updates, gradient))} == {
        jnp.dtype(jnp.float32)
    }
    assert code.dtype == jnp.bfloat16
    exact = jax.jit(make(name, jnp.float32).apply)(variables, images)[0]
    rounded = jax.jit(model.apply)(variables, images)[0]
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert np.any(rounded != exact)


def test_dropout_draws_in_training_only():
    model, images = small_autoencoder(dropout=0.5), draw_images(2)
    variables = initial(model)

    @jax.jit
    def train(key):
        return model.apply(variables, images, train=True, rngs={"dropout": key})[0]

    one, other = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(train(one), train(one))
    assert np.any(train(one) != train(other))
    evaluated = jax.jit(model.apply)(variables, images)[0]
    without = jax.jit(small_autoencoder().apply)(variables, images)[0]
    np.testing.assert_array_equal(evaluated, without)


def test_initialisers_have_keras_limits():
    shape = (3, 3, 8, 16)
    fan_in, fan_out = 9 * 8, 9 * 16
    draws = kernel_initializer("glorot_uniform")(jax.random.key(0), shape)
    limit = np.sqrt(6 / (fan_in + fan_out))
    assert 0.98 * limit < np.abs(draws).max() <= limit
    lecun = kernel_initializer("lecun_normal")(jax.random.key(0), shape)
    assert np.std(lecun) == pytest.approx(np.sqrt(1 / fan_in), rel=0.05)
    he = kernel_initializer("he_normal")(jax.random.key(0), shape)
    assert np.std(he) == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
    with pytest.raises(UserError, match=r"'orthogonal'; model.kernel_init is one of glorot_uni"):
        kernel_initializer("orthogonal")


@pytest.mark.parametrize(
    ("size", "pools", "nearest"),
    [
        (60, 4, "48 or 64 (multiples of 16)"),
        (65, 4, "64 or 80 (multiples of 16)"),
        (10, 4, "16 (multiples of 16)"),
        (0, 2, "4 (multiples of 4)"),
    ],
)
def test_size_that_cannot_be_pooled_names_the_nearest(size, pools, nearest):
    with pytest.raises(UserError) as told:
        check_poolable(size, pools)
    assert f"data.size={size} can't be halved {pools} times" in str(told.value)
    assert f"are {nearest}" in str(told.value)


@pytest.mark.parametrize(("size", "pools"), [(64, 4), (64, 6), (48, 4), (7, 0)])
def test_size_that_can_be_pooled_passes(size, pools):
    check_poolable(size, pools)
