"""Key maps: how other libraries name and lay out the parameters of a network.

Our kernels are [height, width, in, out]. A dense layer has [in, out], which is the same with height
and width 1. A depthwise kernel is [height, width, 1, channels]. A path joins the keys of a
parameter or a statistic with slashes, without the collection: "backbone/conv1/norm/mean".
"""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np

from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.preprocessing import Preprocessing

Shape = tuple[int, ...]


class Layout(Enum):
    """A foreign layout: for each of its axes, the axes of our [H, W, I, O] that it holds.

    `OI` and `IO` are matrices. A kernel that covers a whole map, as in the first dense layer of
    AlexNet and VGG, is flattened in them in the order of the letters that they join.
    """

    VECTOR = ()  # biases, scales and statistics, which have one axis everywhere
    OIHW = ((3,), (2,), (0,), (1,))  # convolutions of torch, Gluon and Darknet, depthwise too
    OI = ((3,), (2, 0, 1))  # linear layers of torch, which flattens channels first
    HWIO = ((0,), (1,), (2,), (3,))  # convolutions of Keras
    HWOI = ((0,), (1,), (3,), (2,))  # depthwise convolutions of Keras: [H, W, channels, 1]
    IO = ((0, 1, 2), (3,))  # dense layers of Keras, which flattens channels last


KeyMap = dict[str, tuple[str, Layout]]  # (foreign name, foreign layout) by our path


class Source(NamedTuple):
    """Who published weights of a backbone, and what an import of them needs.

    - `key_map`: from a network to the foreign names and layouts of its parameters;
    - `preprocessing`: of the images that the weights were trained with;
    - `fields`: of the backbone, with which it computes what the source's network computes.
    """

    key_map: Callable[[Network], KeyMap]
    preprocessing: Preprocessing
    fields: Mapping[str, str] = {}


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


def torch_conv(ours: str, theirs: str, bias: bool = False) -> KeyMap:
    """Convolution of torch, depthwise or not."""
    return _layer(ours, theirs, ".weight", Layout.OIHW, ".bias" if bias else "")


def torch_dense(ours: str, theirs: str) -> KeyMap:
    """Linear layer of torch."""
    return _layer(ours, theirs, ".weight", Layout.OI, ".bias")


def torch_norm(ours: str, theirs: str) -> KeyMap:
    """Batch norm of torch; its `num_batches_tracked` has no counterpart here."""
    return _norm(ours, theirs, (".weight", ".bias", ".running_mean", ".running_var"))


def torch_conv_norm(ours: str, conv: str, norm: str) -> KeyMap:
    """`ConvNorm` whose convolution and batch norm have these names in torch."""
    return torch_conv(f"{ours}/conv", conv) | torch_norm(f"{ours}/norm", norm)


def keras_conv(ours: str, theirs: str, bias: bool = False) -> KeyMap:
    """Convolution of Keras."""
    return _layer(ours, theirs, "/kernel", Layout.HWIO, "/bias" if bias else "")


def keras_depthwise(ours: str, theirs: str) -> KeyMap:
    """Depthwise convolution of Keras, without bias."""
    return _layer(ours, theirs, "/depthwise_kernel", Layout.HWOI)


def keras_dense(ours: str, theirs: str) -> KeyMap:
    """Dense layer of Keras."""
    return _layer(ours, theirs, "/kernel", Layout.IO, "/bias")


def keras_norm(ours: str, theirs: str) -> KeyMap:
    """Batch norm of Keras."""
    return _norm(ours, theirs, ("/gamma", "/beta", "/moving_mean", "/moving_variance"))


def keras_conv_norm(ours: str, conv: str, norm: str, bias: bool = False) -> KeyMap:
    """`ConvNorm` whose convolution and batch norm have these names in Keras."""
    return keras_conv(f"{ours}/conv", conv, bias) | keras_norm(f"{ours}/norm", norm)


def gluon_conv(ours: str, theirs: str, bias: bool = False) -> KeyMap:
    """Convolution of Gluon, depthwise or not."""
    return _layer(ours, theirs, "_weight", Layout.OIHW, "_bias" if bias else "")


def gluon_norm(ours: str, theirs: str) -> KeyMap:
    """Batch norm of Gluon."""
    return _norm(ours, theirs, ("_gamma", "_beta", "_running_mean", "_running_var"))


def _layer(ours: str, theirs: str, kernel: str, layout: Layout, bias: str = "") -> KeyMap:
    keys = {f"{ours}/kernel": (theirs + kernel, layout)}
    if bias:
        keys[f"{ours}/bias"] = (theirs + bias, Layout.VECTOR)
    return keys


def _norm(ours: str, theirs: str, suffixes: tuple[str, ...]) -> KeyMap:
    keys = ("scale", "bias", "mean", "var")
    return {
        f"{ours}/{key}": (theirs + suffix, Layout.VECTOR)
        for key, suffix in zip(keys, suffixes, strict=True)
    }


def _four_axes(shape: Shape) -> Shape:
    return (1,) * (4 - len(shape)) + shape
