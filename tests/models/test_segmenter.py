"""What all segmentation networks have in common: sizes, odd ones too, padding, precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from random_values import draw, draw_variables

from vocjax.errors import UserError
from vocjax.models.autoencoder import Decoder
from vocjax.models.deeplab import DeepLab
from vocjax.models.encoders import Encoder
from vocjax.models.fcn import FCN
from vocjax.models.layers import UPSAMPLINGS, Style
from vocjax.models.segmenter import Segmenter, check_size, enlarged, pyramid, resized
from vocjax.models.unet import UNet

OUTPUTS = 2
# Every network, and every way that one enlarges.
KINDS = ("fcn", "deeplab", *(f"unet {upsample}" for upsample in UPSAMPLINGS))


def make(kind, stem="same", filters=(3, 4, 5), **settings):
    name, _, upsample = kind.partition(" ")
    if upsample == "unpool":
        settings["downsample"] = "pool"
    style = Style(upsample=upsample or "bilinear", **settings)
    encoder = Encoder(filters, style, stem)
    if name == "fcn":
        return FCN(encoder, OUTPUTS, len(filters) - 1, style)
    if name == "deeplab":
        return DeepLab(encoder, OUTPUTS, 4, (1, 2), style)
    return UNet(encoder, OUTPUTS, filters[-2::-1], style)


@pytest.mark.parametrize("size", [(65, 47), (64, 48), (8, 9)])
@pytest.mark.parametrize(
    ("downsample", "stem"),  # halves that are rounded down, up, and first up, then down
    [("pool", "same"), ("stride", "stride"), ("pool", "stride")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_have_the_inputs_size(kind, downsample, stem, size):
    model = make(kind, stem, downsample=downsample, dropout=0.2)
    images = jax.ShapeDtypeStruct((3, *size, 1), jnp.float32)
    (logits, code), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert (logits.shape, logits.dtype) == ((3, *size, OUTPUTS), jnp.float32)
    encoded = jax.eval_shape(model.encoder.init_with_output, jax.random.key(0), images)[0]
    assert (code.shape, code.dtype) == (encoded.shape, encoded.dtype)
    assert variables["params"].keys() == {"encoder", "decoder"}


def test_the_studys_network_has_as_many_outputs_as_its_decoder():
    model = Segmenter(Encoder((4, 3)), Decoder((4,), 21))
    (logits, code), _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 6, 4, 1)))
    )
    assert (logits.shape, logits.dtype) == ((2, 6, 4, 21), jnp.float32)
    assert code.shape == (2, 3, 2, 3)


class Stages(nn.Module):
    """An encoder whose maps are given; one stride has two."""

    strides = {"a": 1, "b": 2, "c": 2, "d": 4}  # noqa: RUF012
    channels = {"a": 3, "b": 1, "c": 4, "d": 5}  # noqa: RUF012
    centred = True

    def stages(self, images, *, train=False, valid=None):
        return {
            name: draw(len(images), *(-(-n // self.strides[name]) for n in images.shape[1:3]), c)
            for name, c in self.channels.items()
        }


def test_of_each_stride_the_deepest_map_is_taken():
    maps = Stages().stages(jnp.zeros((1, 5, 6, 1)))
    chosen = pyramid(Stages.strides, maps)
    assert list(chosen) == [1, 2, 4]
    for stride, name in {1: "a", 2: "c", 4: "d"}.items():
        assert chosen[stride] is maps[name]


@pytest.mark.parametrize(
    ("model", "features"),
    [
        (FCN(Stages(), 1), {"score1": 3, "score2": 4, "score4": 5}),
        (UNet(Stages(), 1, (7, 6)), {"SkipBlock_0": (5, 4, 7), "SkipBlock_1": (7, 3, 6)}),
        (DeepLab(Stages(), 1, 2, (3,)), {"point": 5, "AtrousConv_0": 5, "image": 5}),
    ],
)
def test_any_encoder_that_tells_its_stages_will_do(model, features):
    (logits, code), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 9, 7, 3)))
    )
    assert logits.shape == (2, 9, 7, 1)
    assert code.shape == (2, 3, 2, 5)
    decoder = variables["params"]["decoder"]
    for name, expected in features.items():
        if isinstance(expected, int):
            assert decoder[name]["kernel"].shape[-2] == expected
        else:
            deep, skip, width = expected
            assert decoder[name]["deep"]["kernel"].shape == (3, 3, deep, width)
            assert decoder[name]["skip"]["kernel"].shape == (3, 3, skip, width)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_examples_change_nothing_and_gradients_are_finite(kind):
    model = make(kind, filters=(3, 4), norm="batch")
    images, other = draw(3, 5, 7, 1), draw(2, 5, 7, 1, seed=1)
    variables = draw_variables(model, images)

    @jax.jit
    def step(images, valid):
        def loss(params):
            (logits, _), updates = model.apply(
                variables | {"params": params},
                images,
                train=True,
                valid=valid,
                mutable=["batch_stats"],
            )
            values = jnp.mean(jnp.sin(3 * logits), axis=(1, 2, 3))
            return jnp.sum(values * valid) / jnp.sum(valid), (logits[:3], updates)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    def padded(last):
        images_and_padding = jnp.concatenate([images, last])
        return step(images_and_padding, jnp.array([1.0, 1, 1, 0, 0]))

    (loss, (logits, stats)), gradient = padded(other)
    (other_loss, (other_logits, other_stats)), other_gradient = padded(1 - other)
    np.testing.assert_array_equal(logits, other_logits)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
    np.testing.assert_array_equal(ravel_pytree(stats)[0], ravel_pytree(other_stats)[0])
    np.testing.assert_allclose(
        ravel_pytree(other_gradient)[0], ravel_pytree(gradient)[0], atol=1e-6
    )
    assert np.all(np.isfinite(ravel_pytree(gradient)[0]))
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.any(leaf), jax.tree_util.keystr(path)


@pytest.mark.parametrize("kind", ["unet nearest", "deeplab"])
def test_dropout_draws_in_training_only(kind):
    model, images = make(kind, filters=(4, 6), dropout=0.5), draw(2, 6, 5, 1)
    variables = draw_variables(model, images)

    @functools.partial(jax.jit, static_argnames="train")
    def run(key, train):
        return model.apply(variables, images, train=train, rngs={"dropout": key})[0]

    one, other = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(run(one, True), run(one, True))
    assert np.any(run(one, True) != run(other, True))
    without = jax.jit(make(kind, filters=(4, 6)).apply)(variables, images)[0]
    np.testing.assert_allclose(run(one, False), without, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(run(one, False), run(other, False))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_and_logits_are_float32_whatever_the_computation(kind):
    model, images = make(kind, dtype=jnp.bfloat16, norm="batch"), jnp.zeros((2, 9, 7, 1))
    (logits, code), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    assert (logits.dtype, code.dtype) == (jnp.float32, jnp.bfloat16)


@pytest.mark.parametrize("kind", ["unet bilinear", "deeplab"])
def test_bfloat16_gives_nearly_the_same_logits(kind):
    model, images = make(kind, filters=(4, 6), dtype=jnp.bfloat16, norm="batch"), draw(2, 6, 5, 1)
    variables = draw_variables(model, images)
    rounded, _ = jax.jit(model.apply)(variables, images)
    exact, _ = jax.jit(make(kind, filters=(4, 6), norm="batch").apply)(variables, images)
    assert np.any(rounded != exact)
    np.testing.assert_allclose(rounded, exact, rtol=0.02, atol=0.02 * np.abs(exact).max())


@pytest.mark.parametrize("size", [(3, 2), (5, 4), (1, 9), (6, 4)])
def test_resizing_crops_or_repeats_half_on_each_side(size):
    x = np.asarray(draw(2, 4, 4, 3))
    expected = x
    for axis, n in ((1, size[0]), (2, size[1])):
        half = abs(n - 4) // 2
        rows = np.clip(np.arange(n) - half, 0, 3) if n > 4 else np.arange(n) + half
        expected = np.take(expected, rows, axis=axis)
    np.testing.assert_array_equal(resized(jnp.asarray(x), *size), expected)


def interpolated(x, factor):
    """Enlarge [batch, h, w, channels], channel by channel: linear between the pixels' centres."""
    for axis in (1, 2):
        n = x.shape[axis]
        places = (np.arange(factor * n) + 0.5) / factor - 0.5  # np.interp repeats the edges
        line = functools.partial(np.interp, places, np.arange(n))
        x = np.apply_along_axis(line, axis, x)
    return x


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_enlarging_is_linear_interpolation(factor):
    x = draw(2, 3, 1, 4)
    got = enlarged(x, factor, 3 * factor, factor)
    np.testing.assert_allclose(got, interpolated(x, factor), rtol=1e-5, atol=1e-6)
    one_more = enlarged(x, factor, 3 * factor + 1, factor)
    np.testing.assert_array_equal(one_more[:, :-1], got)
    np.testing.assert_array_equal(one_more[:, -1], got[:, -1])


MIRROR = Segmenter(Encoder((2, 2, 2, 2, 2)), Decoder((2, 2, 2, 2), 1))
DEEP = FCN(Encoder((2, 2, 2, 2, 2)), 1)


@pytest.mark.parametrize(
    ("model", "size", "rule", "nearest"),
    [
        (MIRROR, (60, 64), "multiples of 16", "48x64 or 64x64"),
        (MIRROR, (65, 33), "multiples of 16", "64x32 or 80x48"),
        (MIRROR, (15, 16), "multiples of 16", "16x16"),
        (DEEP, (15, 100), "at least 16", "16x100"),
        (DEEP, (15, 1), "at least 16", "16x16"),
    ],
)
def test_a_size_that_cannot_work_is_refused_with_the_nearest_that_can(model, size, rule, nearest):
    height, width = size
    message = (
        f"images of {height}x{width} pixels can't .* stride 16: height and width must be {rule}; "
        f"set data.size to the nearest that can, {nearest}."
    )
    with pytest.raises(UserError, match=message):
        check_size(model, height, width)
    images = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("model", "size"), [(MIRROR, (64, 16)), (DEEP, (65, 47)), (DEEP, (16, 31))]
)
def test_a_size_that_works_passes(model, size):
    check_size(model, *size)
    images = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)[0]
    assert logits.shape == (1, *size, 1)
