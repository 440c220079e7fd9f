"""What all segmentation networks have in common: sizes, odd ones too, and any encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compared import interpolated
from flax import linen as nn
from random_values import draw

from vocjax.errors import UserError
from vocjax.models.autoencoder import Decoder, Encoder
from vocjax.models.deeplab import AtrousPyramid
from vocjax.models.fcn import FCNDecoder
from vocjax.models.layers import UPSAMPLINGS, Style
from vocjax.models.segmenter import Mirror, Segmenter, enlarged, resized
from vocjax.models.unet import UNetDecoder

OUTPUTS = 2
# Every network, and every way that one enlarges.
KINDS = ("fcn", "deeplab", *(f"unet {upsample}" for upsample in UPSAMPLINGS))


def make(kind, stem, downsample):
    name, _, upsample = kind.partition(" ")
    if upsample == "unpool":
        downsample = "pool"
    style = Style(upsample=upsample or "bilinear", downsample=downsample, dropout=0.2)
    encoder = Encoder((3, 4, 5), style, stem)
    decoders = {
        "fcn": FCNDecoder(OUTPUTS, 2, encoder.centred, style),
        "deeplab": AtrousPyramid(OUTPUTS, 4, (1, 2), style),
        "unet": UNetDecoder(OUTPUTS, (4, 3), style),
    }
    return Segmenter(encoder, decoders[name])


@pytest.mark.parametrize(
    ("downsample", "stem", "size"),  # halves that are rounded down, up, and first up, then down
    [
        ("pool", "same", (65, 47)),
        ("pool", "same", (64, 48)),
        ("stride", "stride", (65, 47)),
        ("pool", "stride", (8, 9)),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_have_the_inputs_size(kind, downsample, stem, size):
    model = make(kind, stem, downsample)
    images = jax.ShapeDtypeStruct((3, *size, 1), jnp.float32)
    (logits, code), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert (logits.shape, logits.dtype) == ((3, *size, OUTPUTS), jnp.float32)
    encoded = jax.eval_shape(model.encoder.init_with_output, jax.random.key(0), images)[0]
    assert (code.shape, code.dtype) == (encoded.shape, encoded.dtype)
    assert variables["params"].keys() == {"encoder", "decoder"}


class Stages(nn.Module):
    """An encoder whose maps are given; one stride has two."""

    strides = {"a": 1, "b": 2, "c": 2, "d": 4}  # noqa: RUF012
    channels = {"a": 3, "b": 1, "c": 4, "d": 5}  # noqa: RUF012
    centred = True

    def stages(self, images, known=None, *, train=False, valid=None):
        return {
            name: draw(len(images), *(-(-n // self.strides[name]) for n in images.shape[1:3]), c)
            for name, c in self.channels.items()
        }


def test_a_decoder_gets_the_deepest_map_of_each_stride():
    class Widths(nn.Module):
        def __call__(self, maps, *, train, valid):
            assert {s: x.shape[-1] for s, x in maps.items()} == {1: 3, 2: 4, 4: 5}
            assert list(maps) == [1, 2, 4]
            return 4, maps[4]

    logits, code = Segmenter(Stages(), Widths()).apply({}, jnp.zeros((1, 5, 6, 1)))
    assert (logits.shape, code.shape) == ((1, 5, 6, 5), (1, 2, 2, 5))


@pytest.mark.parametrize("size", [(3, 2), (5, 4), (1, 9), (6, 4)])
def test_resizing_crops_or_repeats_half_on_each_side(size):
    x = np.asarray(draw(2, 4, 4, 3))
    expected = x
    for axis, n in ((1, size[0]), (2, size[1])):
        half = abs(n - 4) // 2
        rows = np.clip(np.arange(n) - half, 0, 3) if n > 4 else np.arange(n) + half
        expected = np.take(expected, rows, axis=axis)
    np.testing.assert_array_equal(resized(jnp.asarray(x), *size), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_enlarging_is_linear_interpolation(factor):
    x = draw(2, 3, 1, 4)
    got = enlarged(x, factor, 3 * factor, factor)
    np.testing.assert_allclose(got, interpolated(x, factor), rtol=1e-5, atol=1e-6)
    one_more = enlarged(x, factor, 3 * factor + 1, factor)
    np.testing.assert_array_equal(one_more[:, :-1], got)
    np.testing.assert_array_equal(one_more[:, -1], got[:, -1])


def shape_of_logits(model, size):
    images = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    (logits, _), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    return logits.shape


MIRROR = Mirror(Encoder((2, 2, 2, 2, 2)), Decoder((2, 2, 2, 2), 1))
DEEP = Segmenter(Encoder((2, 2, 2, 2, 2)), FCNDecoder(1))


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (MIRROR, (60, 64), r"data.size=60 can't be halved 4 times; .* are 48 or 64"),
        (MIRROR, (64, 33), r"data.size=33 can't be halved 4 times; .* are 32 or 48"),
        (MIRROR, (15, 16), r"data.size=15 can't be halved 4 times; .* are 16"),
        (DEEP, (15, 100), "images of 15x100 pixels can't .* must be at least 16; set data.size to"),
        (DEEP, (15, 1), "images of 15x1 pixels can't .* must be at least 16; set data.size to 16"),
    ],
)
def test_a_size_that_cannot_work_is_refused_with_the_nearest_that_can(model, size, message):
    with pytest.raises(UserError, match=message):
        shape_of_logits(model, size)


@pytest.mark.parametrize(("model", "size"), [(MIRROR, (32, 16)), (DEEP, (16, 31))])
def test_a_size_that_works_passes(model, size):
    assert shape_of_logits(model, size) == (1, *size, 1)
