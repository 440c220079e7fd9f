"""The convolution and its gradients against XLA's, compiled."""

import jax.numpy as jnp
import numpy as np
import pytest
from compared import assert_as_good_as_bfloat16_is, assert_equal_in_float32
from random_values import draw

from vocjax.models.ops import SAME, conv, xla_conv

THIN_TO_WIDE, WIDE_TO_THIN, NEITHER = (3, 7), (7, 3), (5, 6)  # channels, features: a branch each
UNEVEN = ((1, 0), (0, 1))


def draw_pair(side, channels, features):
    return draw(2, 5, 7, channels), draw(side, side, channels, features, seed=1)


@pytest.mark.parametrize("widths", [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize(
    ("side", "padding", "dilation"),
    [
        (3, SAME, 1),
        (2, UNEVEN, 1),
        (2, SAME, 1),
        (3, ((2, 2), (2, 2)), 2),
        (3, ((3, 4), (1, 2)), 3),
        (3, ((9, 9), (9, 9)), 9),
    ],
)
def test_conv_equals_xlas(widths, side, padding, dilation):
    assert_equal_in_float32(
        lambda x, k: conv(x, k, padding, dilation),
        lambda x, k: xla_conv(x, k, padding, dilation),
        *draw_pair(side, *widths),
    )


@pytest.mark.parametrize("padding", [((2, 2), (2, 2)), ((3, 4), (1, 2))])
def test_conv_equals_xlas_where_its_gradient_is_xlas(padding):
    assert_equal_in_float32(
        lambda x, k: conv(x, k, padding, 2),
        lambda x, k: xla_conv(x, k, padding, 2),
        *draw_pair(3, *NEITHER),
    )


@pytest.mark.parametrize("widths", [THIN_TO_WIDE, WIDE_TO_THIN])
@pytest.mark.parametrize(("side", "padding"), [(3, SAME), (2, UNEVEN)])
def test_conv_in_bfloat16(widths, side, padding):
    x, kernel = (values.astype(jnp.bfloat16) for values in draw_pair(side, *widths))
    assert_as_good_as_bfloat16_is(
        lambda x, k: conv(x, k, padding), lambda x, k: xla_conv(x, k, padding), x, kernel
    )


def test_conv_is_same_where_no_padding_is_given():
    x, kernel = draw(1, 4, 6, 2), draw(3, 3, 2, 5)
    assert conv(x, kernel).shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(conv(x, kernel), conv(x, kernel, SAME))
