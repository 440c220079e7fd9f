"""Depthwise convolutions against XLA's grouped ones: values and gradients."""

import pytest
from compared import assert_equal_in_float32
from random_values import draw

from vocjax.models.convolution import xla_conv
from vocjax.models.depthwise import depthwise_conv


@pytest.mark.parametrize("size", [(9, 12), (10, 7)])
@pytest.mark.parametrize(
    ("stride", "dilation", "padding"),
    [
        (1, 1, ((1, 1), (1, 1))),
        (2, 1, ((1, 1), (1, 1))),
        (2, 1, ((0, 1), (0, 1))),
        (1, 2, ((2, 2), (2, 2))),
        (2, 1, ((0, 0), (0, 0))),
        (1, 1, ((3, 3), (3, 3))),  # more than the kernel reaches
    ],
)
def test_depthwise_convolution_equals_xla(size, stride, dilation, padding):
    assert_equal_in_float32(
        lambda x, kernel: depthwise_conv(x, kernel, stride, dilation, padding),
        lambda x, kernel: xla_conv(x, kernel, padding, dilation, stride),
        *(draw(2, *size, 5), draw(3, 3, 1, 5, seed=1)),
    )
