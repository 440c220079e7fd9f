"""The study's autoencoders: sizes, draws, Keras 3's values with the same weights, unpooling."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from random_values import draw_variables

from vocjax import losses
from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.models import draw
from vocjax.models.autoencoder import ConvAutoencoder, Decoder, Encoder
from vocjax.models.encoders import encoder_and_decoder
from vocjax.models.layers import DOWNSAMPLINGS, NORMS, UPSAMPLINGS, ConvBlock, Style
from vocjax.models.ops import max_pool, max_positions
from vocjax.models.segmenter import Mirror

CONFIGS = Path(__file__).parents[2] / "configs"
ENCODER, DECODER = (6, 5, 4), (3, 12)  # small, and the decoder has both kinds of up-sampling


def draw_images(n, size=12, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.random((n, size, size, 3)), jnp.float32)


def small_autoencoder(decoder=DECODER, **settings):
    style = Style(**settings)
    return ConvAutoencoder(Encoder(ENCODER, style), Decoder(decoder, 3, style))


def shapes_of(model, shape=(64, 64, 3)):
    """((image, code), variables) of two images, as shapes."""
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    return jax.eval_shape(model.init_with_output, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("name", "code_shape", "in_encoder", "in_all"),
    [
        ("autoencoder_2048", (8, 8, 32), 394_464, 499_523),
        ("autoencoder_256", (4, 4, 16), 399_088, 798_163),
        ("autoencoder_72", (2, 2, 18), None, None),  # the lecture's
    ],
)
def test_the_studys_sizes(name, code_shape, in_encoder, in_all):
    config = load_config(CONFIGS / f"{name}.py")
    model = ConvAutoencoder(*encoder_and_decoder(config, 3))
    (image, code), variables = shapes_of(model)
    assert code.shape == (2, *code_shape)
    assert image.shape == (2, 64, 64, 3)
    if in_all is not None:
        trees = (variables["params"]["encoder"], variables["params"])
        assert [sum(x.size for x in jax.tree.leaves(t)) for t in trees] == [in_encoder, in_all]


def test_names_of_the_parameters():
    _, variables = shapes_of(small_autoencoder(norm="batch"), (12, 12, 3))
    blocks = {f"encoder/ConvBlock_{i}" for i in range(len(ENCODER))}
    blocks |= {f"decoder/ConvBlock_{i}" for i in range(len(DECODER))}
    convs = {f"{block}/Conv_0" for block in blocks} | {"decoder/Conv_0"}
    norms = {f"{block}/BatchNorm_0" for block in blocks}
    expected = {f"params/{conv}/{leaf}" for conv in convs for leaf in ("kernel", "bias")}
    expected |= {f"params/{norm}/{leaf}" for norm in norms for leaf in ("scale", "bias")}
    expected |= {f"batch_stats/{norm}/{leaf}" for norm in norms for leaf in ("mean", "var")}
    paths = jax.tree.leaves_with_path(variables)
    assert {jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths} == expected


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("downsample", DOWNSAMPLINGS)
@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_every_style_keeps_the_sizes(downsample, upsample, norm):
    style = Style("silu", norm, 0.1, 1, downsample, upsample, dtype=jnp.bfloat16)
    model = ConvAutoencoder(Encoder((5, 3, 7), style), Decoder((3, 5), 1, style))
    (image, code), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 12, 20, 1)))
    )
    assert (image.shape, image.dtype) == ((2, 12, 20, 1), jnp.float32)
    assert (code.shape, code.dtype) == ((2, 3, 5, 7), jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


# Sums of the first draws' magnitudes, as written when the first runs were trained.
DRAWN = {
    "encoder/ConvBlock_0/Conv_0": 5.1206,
    "encoder/ConvBlock_0/ResidualBlock_0/Conv_0": 13.5686,
    "encoder/ConvBlock_0/ResidualBlock_0/Conv_1": 12.5789,
    "encoder/ConvBlock_1/Conv_0": 8.8707,
    "encoder/ConvBlock_1/ResidualBlock_0/Conv_0": 7.0571,
    "encoder/ConvBlock_1/ResidualBlock_0/Conv_1": 7.7022,
    "decoder/ConvBlock_0/Conv_0": 13.2604,
    "decoder/ConvBlock_0/ResidualBlock_0/Conv_0": 22.0887,
    "decoder/ConvBlock_0/ResidualBlock_0/Conv_1": 20.7829,
    "decoder/Conv_0": 7.1639,
}


@pytest.mark.parametrize("downsample", DOWNSAMPLINGS)
def test_dilation_replaces_the_halvings_beyond_the_output_stride(downsample):
    style = Style("tanh", downsample=downsample, residual=1)
    plain, dilated = (Encoder((2, 2, 2, 2), style, output_stride=most) for most in (0, 2))
    images = draw_images(1, 16)
    maps, variables = dilated.init_with_output(jax.random.key(0), images, method="stages")
    assert [x.shape[1] for x in maps.values()] == [16, 8, 8, 8]
    assert dilated.strides == {"stage1": 1, "stage2": 2, "stage3": 2, "stage4": 2}
    same = plain.init(jax.random.key(0), images)
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    for index, dilation in ((2, 2), (3, 4)):
        params, x = variables["params"][f"ConvBlock_{index}"], maps[f"stage{index}"]
        block = ConvBlock(2, "same", style, dilation)
        found = block.apply({"params": params}, x, train=False)
        np.testing.assert_allclose(maps[f"stage{index + 1}"], found, rtol=1e-5, atol=1e-6)
        of_conv = {"params": {"Conv_0": params["Conv_0"]}}
        first = ConvBlock(2, "same", Style("tanh"), dilation).apply(of_conv, x, train=False)
        expected = jax.lax.conv_general_dilated(
            x,
            params["Conv_0"]["kernel"],
            (1, 1),
            "SAME",
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        np.testing.assert_allclose(first, jnp.tanh(expected), rtol=1e-4, atol=1e-5)


def test_a_key_draws_the_parameters_and_the_dropout_that_it_always_drew():
    style = Style(norm="batch", dropout=0.25, residual=1)
    model = Mirror(Encoder((3, 2), style), Decoder((4,), 1, style))
    images = jnp.arange(32.0).reshape(2, 4, 4, 1) / 32
    variables = draw.variables(jax.jit(model.init), jax.random.key(0), images[:1])
    kernels = {
        jax.tree_util.keystr(path[:-1], simple=True, separator="/"): float(jnp.abs(leaf).sum())
        for path, leaf in jax.tree.leaves_with_path(variables["params"])
        if leaf.ndim == 4
    }
    assert kernels == pytest.approx(DRAWN, abs=1e-4)
    rngs = {"dropout": jax.random.key(1)}
    apply = functools.partial(model.apply, train=True, mutable="batch_stats")
    (logits, code), _ = jax.jit(apply)(variables, images, rngs=rngs)
    assert float(jnp.abs(logits).sum()) == pytest.approx(28.09815, abs=1e-4)
    assert float(jnp.abs(code).sum()) == pytest.approx(14.14394, abs=1e-4)


def keras_model():
    """The same layers in the same order, as the study's Keras code has them."""
    layers = [keras.Input((12, 12, 3))]

    def conv(features, activation):
        how = {"padding": "same", "kernel_initializer": "zeros"}
        return keras.layers.Conv2D(features, 3, activation=activation, **how)

    def block(features):
        layers.append(conv(features, "relu"))
        layers.append(keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3))

    halve, double = keras.layers.MaxPooling2D, keras.layers.UpSampling2D
    for widths, resize in ((ENCODER, halve), (DECODER, double)):
        for index, features in enumerate(widths):
            if index:
                layers.append(resize())
            block(features)
    return keras.Sequential([*layers, double(), conv(3, "sigmoid")])


def in_keras_order(tree, leaves):
    """List the named leaves block by block, the first block of the encoder first."""
    blocks = [tree["encoder"][f"ConvBlock_{i}"] for i in range(len(ENCODER))]
    blocks += [tree["decoder"][f"ConvBlock_{i}"] for i in range(len(DECODER))]
    blocks.append({"Conv_0": tree["decoder"].get("Conv_0")})
    return [block[module][leaf] for block in blocks for module, leaf in leaves if module in block]


NORM = [("BatchNorm_0", "scale"), ("BatchNorm_0", "bias")]
TRAINED = [("Conv_0", "kernel"), ("Conv_0", "bias"), *NORM]
MOVING = [("BatchNorm_0", "mean"), ("BatchNorm_0", "var")]


def assert_all_close(ours, theirs, **tolerances):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **tolerances)


def test_forward_gradient_and_statistics_equal_keras():
    model, images = small_autoencoder(norm="batch"), draw_images(5)
    variables = draw_variables(model, images)
    peer = keras_model()
    trained = in_keras_order(variables["params"], TRAINED)
    moving = in_keras_order(variables["batch_stats"], MOVING)

    @jax.jit
    def ours(params):
        def loss(params):
            (image, _), updates = model.apply(
                variables | {"params": params}, images, train=True, mutable=["batch_stats"]
            )
            return losses.mse(image, images).mean(), (image, updates["batch_stats"])

        gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return gradient, model.apply(variables, images)[0]

    @jax.jit
    def theirs(trained):
        def loss(trained):
            image, moved = peer.stateless_call(trained, moving, images, training=True)
            return jnp.mean((image - images) ** 2), (image, moved)

        gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        return gradient, peer.stateless_call(trained, moving, images, training=False)[0]

    ((loss, (image, stats)), gradient), evaluated = ours(variables["params"])
    ((their_loss, (their_image, their_stats)), their_gradient), expected = theirs(trained)
    assert float(loss) == pytest.approx(float(their_loss), rel=1e-6)
    np.testing.assert_allclose(image, their_image, rtol=1e-5, atol=1e-6)
    assert_all_close(in_keras_order(gradient, TRAINED), their_gradient, rtol=1e-4, atol=1e-6)
    assert_all_close(in_keras_order(stats, MOVING), their_stats, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_gives_nearly_the_same_images():
    images = draw_images(2)
    variables = draw_variables(small_autoencoder(norm="batch"), images)

    @jax.jit
    def both(images):
        models = (small_autoencoder(norm="batch", dtype=x) for x in (jnp.bfloat16, jnp.float32))
        return [model.apply(variables, images)[0] for model in models]

    rounded, exact = both(images)
    np.testing.assert_allclose(rounded, exact, atol=0.1)
    assert np.any(rounded != exact)


def test_the_last_switches_are_the_first_to_be_used():
    encoder = Encoder((3, 3, 3), Style(upsample="unpool"))
    decoder = Decoder((3, 3), 3, Style(upsample="unpool"))
    images = draw_images(2, size=8)
    blocks = [f"ConvBlock_{i}" for i in range(3)]
    identity = jnp.zeros((3, 3, 3, 3)).at[1, 1].set(jnp.eye(3))
    conv = {"Conv_0": {"kernel": identity, "bias": jnp.zeros(3)}}
    in_encoder = {"params": dict.fromkeys(blocks, conv)}
    in_decoder = {"params": dict.fromkeys(blocks[:2], conv) | conv}

    @jax.jit
    def run():
        code, switches = encoder.apply(in_encoder, images, method="with_switches")
        with_switches = decoder.apply(in_decoder, code, switches)
        return code, switches, with_switches, decoder.apply(in_decoder, code)

    code, switches, restored, alone = run()
    halved = max_pool(images, padding="VALID")
    peaks = np.asarray(max_pool(halved, padding="VALID"))
    np.testing.assert_array_equal(code, peaks)
    np.testing.assert_array_equal(switches[1], max_positions(halved))
    # Through identities each maximum comes back to where it was in the image.
    spread = peaks.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(restored, np.where(images == spread, images, 0))
    # Without switches it goes to the top left of its 4x4 pixels.
    np.testing.assert_array_equal(alone[:, ::4, ::4], peaks)
    assert np.count_nonzero(alone) == np.count_nonzero(peaks)


@pytest.mark.parametrize("whole", [ConvAutoencoder, Mirror])
def test_a_call_hands_the_switches_to_the_decoder(whole):
    style = Style(upsample="unpool")
    model = whole(Encoder((4, 2), style), Decoder((4,), 1, style))
    images = draw_images(2, size=4)
    variables = draw_variables(model, images)

    @jax.jit
    def both(images):
        bound = model.bind(variables)
        code, switches = bound.encoder.with_switches(images)
        return bound(images), code, bound.decoder(code, switches), bound.decoder(code)

    (output, its_code), code, with_switches, without = both(images)
    logits = output if whole is Mirror else jnp.log(output / (1 - output))
    np.testing.assert_array_equal(its_code, code)
    np.testing.assert_allclose(logits, with_switches, rtol=1e-4, atol=1e-5)
    assert np.abs(logits - without).max() > 0.01


def build(**fields):
    config = load_config(CONFIGS / "autoencoder_256.py")
    config.model.update({"encoder": (8, 6, 4, 2), "decoder": (4, 6, 8)} | fields)
    return encoder_and_decoder(config, 3)


def test_a_config_makes_both_halves():
    encoder, decoder = build(upsample="unpool", activation="elu", residual=2)
    style = Style("elu", upsample="unpool", residual=2)
    assert encoder == Encoder((8, 6, 4, 2), style)
    assert decoder == Decoder((4, 6, 8), 3, style)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"upsample": "unpool", "decoder": (4, 8, 8)},
            r"model.decoder is \(4, 8, 8\); with .* set it to \(4, 6, 8\)",
        ),
        ({"norm": "layer"}, "model.norm is 'layer'; it is one of none, batch, group"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        build(**fields)
