"""How others lay out a weight, and the way there and back; shapes are checked, never guessed.

Our kernels are [height, width, in, out] or, in a dense layer, [in, out], which is the same with
height and width 1. A depthwise kernel is [height, width, 1, channels].
"""

import math
from enum import Enum

import numpy as np

Shape = tuple[int, ...]


class Layout(Enum):
    """A foreign layout: for each of its axes, the axes of our [H, W, I, O] that it holds.

    `OI` and `IO` are matrices; a kernel that looks at a whole map, as the first dense layer of
    AlexNet and VGG, is flattened in them in the order of the letters that they join.
    """

    VECTOR = ()  # biases, scales and statistics, which have one axis everywhere
    OIHW = ((3,), (2,), (0,), (1,))  # convolutions of torch, Gluon and Darknet, depthwise too
    OI = ((3,), (2, 0, 1))  # linear layers of torch, which flattens channels first
    HWIO = ((0,), (1,), (2,), (3,))  # convolutions of Keras
    HWOI = ((0,), (1,), (3,), (2,))  # depthwise convolutions of Keras: [H, W, channels, 1]
    IO = ((0, 1, 2), (3,))  # dense layers of Keras, which flattens channels last


def foreign_shape(shape: Shape, layout: Layout) -> Shape:
    """Return the shape that our parameter of `shape` has in `layout`."""
    if layout is Layout.VECTOR:
        return shape
    ours = _four_axes(shape)
    return tuple(math.prod(ours[axis] for axis in axes) for axes in layout.value)


def convert(array: np.ndarray, layout: Layout, shape: Shape) -> np.ndarray:
    """Bring a foreign array into our layout, where the parameter has `shape`.

    Raises ValueError unless `array` has `foreign_shape(shape, layout)`.
    """
    expected = foreign_shape(shape, layout)
    if array.shape != expected:
        raise ValueError(f"has shape {array.shape}, expected {expected}")
    if layout is Layout.VECTOR:
        return array
    ours, order = _four_axes(shape), [axis for axes in layout.value for axis in axes]
    apart = array.reshape([ours[axis] for axis in order])
    return apart.transpose(np.argsort(order)).reshape(shape)


def restore(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Bring one of our arrays into a foreign layout: the inverse of `convert`."""
    if layout is Layout.VECTOR:
        return array
    order = [axis for axes in layout.value for axis in axes]
    apart = array.reshape(_four_axes(array.shape)).transpose(order)
    return apart.reshape(foreign_shape(array.shape, layout))


def _four_axes(shape: Shape) -> Shape:
    return (1,) * (4 - len(shape)) + shape
