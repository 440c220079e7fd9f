"""Convolutions of stride 1 in each of their forms against XLA's: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compared import assert_as_good_as_bfloat16_is, assert_equal_in_float32, with_gradients
from random_values import draw

from vocjax.models.convolution import conv, xla_conv
from vocjax.models.pads import SAME

THIN_TO_WIDE, WIDE_TO_THIN, NEITHER = (3, 7), (7, 3), (5, 6)  # channels, features: a branch each
TO_MANY, TO_FEW = (5, 40), (40, 5)
UNEVEN = ((1, 0), (0, 1))


def draw_pair(side, channels, features):
    return draw(2, 5, 7, channels), draw(side, side, channels, features, seed=1)


PADDINGS = [
    (3, SAME, 1),
    (2, UNEVEN, 1),
    (2, SAME, 1),
    (3, ((2, 2), (2, 2)), 2),
    (3, ((3, 4), (1, 2)), 3),
    (3, ((9, 9), (9, 9)), 9),
    (3, ((3, 3), (3, 3)), 1),  # more than the kernel reaches
]


@pytest.mark.parametrize(
    ("side", "padding", "dilation", "widths"),
    [
        *((*case, widths) for case in PADDINGS for widths in (THIN_TO_WIDE, WIDE_TO_THIN)),
        (3, ((2, 2), (2, 2)), 2, NEITHER),
        (3, ((3, 4), (1, 2)), 2, NEITHER),
        (3, SAME, 1, TO_MANY),
        (2, UNEVEN, 1, TO_FEW),
    ],
)
def test_conv_equals_xlas(widths, side, padding, dilation):
    assert_equal_in_float32(
        lambda x, k: conv(x, k, padding, dilation),
        lambda x, k: xla_conv(x, k, padding, dilation),
        *draw_pair(side, *widths),
    )


@pytest.mark.parametrize("widths", [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize(("side", "padding"), [(3, SAME), (2, UNEVEN)])
def test_conv_in_bfloat16(widths, side, padding):
    x, kernel = (values.astype(jnp.bfloat16) for values in draw_pair(side, *widths))
    assert_as_good_as_bfloat16_is(
        lambda x, k: conv(x, k, padding), lambda x, k: xla_conv(x, k, padding), x, kernel
    )


def test_wide_kernels_that_are_no_3x3_are_xlas():
    x, kernel = draw(1, 5, 6, 128), draw(3, 1, 128, 128, seed=1)
    gradients = jax.grad(lambda x, k: conv(x, k, ((1, 1), (0, 0))).sum(), argnums=(0, 1))(x, kernel)
    assert [g.shape for g in gradients] == [x.shape, kernel.shape]


# Winograd's form in all three directions, in that of the kernel alone, and in none; odd sizes too.
@pytest.mark.parametrize(
    ("size", "channels", "features"),
    [((33, 32), 128, 130), ((32, 33), 129, 128), ((11, 12), 129, 128), ((1, 3), 128, 128)],
)
def test_a_wide_conv_equals_xlas(size, channels, features):
    """To 3e-6 of the largest value: each is a sum of a thousand terms."""
    x, kernel = draw(2, *size, channels), draw(3, 3, channels, features, seed=1)
    ours = jax.jit(with_gradients(conv))(x, kernel)
    theirs = jax.jit(with_gradients(lambda x, k: xla_conv(x, k, SAME)))(x, kernel)
    for mine, expected in zip(ours, theirs, strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(mine, expected, rtol=0, atol=3e-6 * largest)


def test_a_wide_conv_in_bfloat16():
    x, kernel = draw(2, 33, 32, 128), draw(3, 3, 128, 128, seed=1)
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert_as_good_as_bfloat16_is(conv, lambda x, k: xla_conv(x, k, SAME), x, kernel)


def test_conv_is_same_where_no_padding_is_given():
    x, kernel = draw(1, 4, 6, 2), draw(3, 3, 2, 5)
    assert conv(x, kernel).shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(conv(x, kernel), conv(x, kernel, SAME))
