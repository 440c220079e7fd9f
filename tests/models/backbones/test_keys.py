"""Layouts: an element ends where its letters say, there and back; shapes are checked."""

import numpy as np
import pytest

from vocjax.models.backbones.keys import Layout, convert, foreign_shape, restore

# A [H, W, I, O] kernel whose elements say where they are: 1000 h + 100 w + 10 i + o.
KERNEL = sum(
    np.arange(n).reshape([n if axis == i else 1 for axis in range(4)]) * 10 ** (3 - i)
    for i, n in enumerate((2, 3, 4, 5))
)


@pytest.mark.parametrize(
    ("layout", "index", "expected"),
    [
        (Layout.OIHW, (4, 3, 1, 2), 1234),
        (Layout.HWIO, (1, 2, 3, 4), 1234),
        (Layout.HWOI, (1, 2, 4, 3), 1234),
        (Layout.OI, (4, 3 * 6 + 1 * 3 + 2), 1234),  # torch flattens channels, rows, columns
        (Layout.IO, (1 * 12 + 2 * 4 + 3, 4), 1234),  # Keras rows, columns, channels
    ],
)
def test_an_element_goes_where_its_letters_say(layout, index, expected):
    theirs = restore(KERNEL, layout)
    assert theirs[index] == expected
    np.testing.assert_array_equal(convert(theirs, layout, KERNEL.shape), KERNEL)


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        (Layout.VECTOR, (7,), (7,)),
        (Layout.OI, (6, 7), (7, 6)),
        (Layout.IO, (6, 7), (6, 7)),
        (Layout.HWIO, (6, 7), (1, 1, 6, 7)),  # a dense layer that is a 1x1 convolution there
        (Layout.OIHW, (6, 7), (7, 6, 1, 1)),
        (Layout.OIHW, (3, 3, 1, 8), (8, 1, 3, 3)),  # depthwise
        (Layout.HWOI, (3, 3, 1, 8), (3, 3, 8, 1)),
    ],
)
def test_shapes_and_the_way_back(layout, shape, expected):
    ours = np.random.default_rng(0).random(shape)
    assert foreign_shape(shape, layout) == expected
    assert restore(ours, layout).shape == expected
    np.testing.assert_array_equal(convert(restore(ours, layout), layout, shape), ours)


@pytest.mark.parametrize(
    ("layout", "shape", "theirs"),
    [
        (Layout.VECTOR, (7,), (1, 7)),
        (Layout.OI, (6, 7), (6, 7)),
        (Layout.OI, (1, 2, 3, 7), (6, 7)),
        (Layout.HWIO, (3, 3, 1, 8), (3, 3, 8, 1)),
    ],
)
def test_another_shape_with_as_many_elements_is_refused(layout, shape, theirs):
    with pytest.raises(ValueError, match=r"expected \("):
        convert(np.zeros(theirs), layout, shape)
