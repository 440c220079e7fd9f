"""U-Net: parameters, the convolution of a concatenation, skips, unpooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import draw, draw_variables

from vocjax.errors import UserError
from vocjax.models.autoencoder import Encoder
from vocjax.models.convolution import xla_conv
from vocjax.models.layers import UPSAMPLINGS, Style
from vocjax.models.ops import (
    bilinear_upsample,
    max_pool,
    max_positions,
    max_unpool,
    transposed_conv,
)
from vocjax.models.pads import SAME
from vocjax.models.segmenter import Segmenter
from vocjax.models.unet import SkipBlock, UNetDecoder, check_doubling

FILTERS, WIDTHS, OUTPUTS = (3, 4, 5), (6, 2), 3
SIZE = (8, 12)
STUDY = Style()


def unet(style=STUDY, filters=FILTERS, widths=WIDTHS, outputs=OUTPUTS):
    return Segmenter(Encoder(filters, style), UNetDecoder(outputs, widths, style))


def sizes(model, images):
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in params.items()}


def by_hand(upsample):
    """Count the decoder's parameters, with batch norm."""
    total, deep = 0, FILTERS[-1]
    for skip, width in zip(FILTERS[-2::-1], WIDTHS, strict=True):
        if upsample == "unpool":
            total += 9 * deep * skip + skip
            deep = skip
        side = 4 if upsample == "transposed" else 3
        total += side**2 * deep * width + width + 9 * skip * width + 2 * width
        deep = width
    return total + deep * OUTPUTS + OUTPUTS


@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_parameters(upsample):
    model = unet(Style(upsample=upsample, norm="batch"))
    assert sizes(model, jnp.zeros((1, *SIZE, 3)))["decoder"] == by_hand(upsample)


def test_parameters_over_the_studys_encoder():
    model = unet(filters=(256, 128, 64, 32, 16), widths=(32, 64, 128, 256), outputs=1)
    expected = {"encoder": 399_088, "decoder": 1_175_777}
    assert sizes(model, jnp.zeros((1, 64, 64, 3))) == expected
    narrow = unet(filters=(32, 64, 128, 256), widths=(128, 64, 32), outputs=1)
    assert sizes(narrow, jnp.zeros((1, 64, 64, 3)))["decoder"] == 580_865


def doubled(x, upsample):
    if upsample == "bilinear":
        return bilinear_upsample(x)
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "transposed"])
def test_a_step_convolves_the_concatenation(upsample):
    """With "transposed" the deep map has a transposed convolution, and the two are added."""
    block = SkipBlock(4, Style("elu", upsample=upsample))
    deep, skip = draw(2, 3, 5, 2), draw(2, 6, 10, 3, seed=1)
    variables = draw_variables(block, deep, skip, train=False)
    of_deep, of_skip = (variables["params"][name] for name in ("deep", "skip"))

    @jax.jit
    def both(deep, skip):
        if upsample == "transposed":
            y = transposed_conv(deep, of_deep["kernel"]) + xla_conv(skip, of_skip["kernel"], SAME)
        else:
            joined = jnp.concatenate([doubled(deep, upsample), skip], axis=-1)
            kernels = jnp.concatenate([of_deep["kernel"], of_skip["kernel"]], axis=2)
            y = xla_conv(joined, kernels, SAME)
        return block.apply(variables, deep, skip, train=False), jax.nn.elu(y + of_deep["bias"])

    np.testing.assert_allclose(*both(deep, skip), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_every_map_counts(upsample):
    """The skips of odd sizes too; and an image sees only itself."""
    decoder = UNetDecoder(OUTPUTS, WIDTHS, Style("elu", upsample=upsample))
    maps = {1: draw(2, 9, 7, 3), 2: draw(2, 4, 4, 4), 4: draw(2, 2, 2, 5)}
    variables = draw_variables(decoder, maps, train=False)
    apply = jax.jit(decoder.apply, static_argnames="train")
    stride, scores = apply(variables, maps, train=False)
    assert (int(stride), scores.shape) == (1, (2, 9, 7, OUTPUTS))
    for changed_stride in maps:
        other = maps | {changed_stride: maps[changed_stride].at[0, 1, 1, 0].add(1.0)}
        _, changed = apply(variables, other, train=False)
        assert np.any(changed[0] != scores[0])
        np.testing.assert_array_equal(changed[1], scores[1])


def test_unpooling_puts_values_where_the_skips_maxima_are():
    """Of an odd skip the last row is dropped; of a deep map that was rounded up, its own."""
    block = SkipBlock(4, Style("elu", upsample="unpool"))
    deep, skip = draw(2, 3, 3, 4), draw(2, 5, 6, 4, seed=1)
    identity = jnp.zeros((3, 3, 4, 4)).at[1, 1].set(jnp.eye(4))
    conv = {"kernel": identity, "bias": jnp.zeros(4)}
    params = {"unpooled": conv, "deep": conv, "skip": {"kernel": jnp.zeros_like(identity)}}
    got = jax.jit(lambda: block.apply({"params": params}, deep, skip, train=False))()
    switches, peaks = max_positions(skip), max_pool(skip, padding="VALID")
    values = max_unpool(deep[:, :2], switches)
    np.testing.assert_allclose(got[:, :4], jax.nn.elu(values), rtol=1e-6)
    np.testing.assert_array_equal(got[:, 4], got[:, 3])
    np.testing.assert_array_equal(got[:, :4] != 0, skip[:, :4] == doubled(peaks, "nearest"))


@pytest.mark.parametrize(
    ("strides", "widths", "message"),
    [
        ([1, 2], (4, 3, 2), r"has 3 widths, \(4, 3, 2\); .* strides \(1, 2\) takes at most 1"),
        ([1, 4], (4,), r"strides are \(1, 4\); U-Net doubles .* FCN or DeepLab"),
    ],
)
def test_widths_and_strides_that_do_not_fit_are_refused(strides, widths, message):
    with pytest.raises(UserError, match=message):
        check_doubling(strides, widths)
