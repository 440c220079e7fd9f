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
    """Who published weights of a backbone, and what an import of them needs."""

    key_map: Callable[[Network], KeyMap]
    preprocessing: Preprocessing  # of the images that the weights were trained with
    fields: Mapping[str, str] = {}  # with which the backbone computes what the source's does


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


class Library(NamedTuple):
    """How a library names and lays out the arrays of a layer; its methods map `ours` to `theirs`.

    An array's name is the layer's with one of these endings; `norms` are of scale, bias, mean and
    variance.
    """

    kernel: str
    convolution: Layout
    matrix: Layout
    bias: str
    norms: tuple[str, str, str, str]

    def conv(self, ours: str, theirs: str, bias: bool = False) -> KeyMap:
        """Map a convolution, in torch and Gluon also a depthwise one."""
        keys = {f"{ours}/kernel": (theirs + self.kernel, self.convolution)}
        return keys | ({f"{ours}/bias": (theirs + self.bias, Layout.VECTOR)} if bias else {})

    def dense(self, ours: str, theirs: str) -> KeyMap:
        """Map a dense layer with bias."""
        kernel, bias = (theirs + self.kernel, self.matrix), (theirs + self.bias, Layout.VECTOR)
        return {f"{ours}/kernel": kernel, f"{ours}/bias": bias}

    def norm(self, ours: str, theirs: str) -> KeyMap:
        """Map a batch norm; torch's `num_batches_tracked` has no counterpart here."""
        pairs = zip(("scale", "bias", "mean", "var"), self.norms, strict=True)
        return {f"{ours}/{key}": (theirs + end, Layout.VECTOR) for key, end in pairs}

    def conv_norm(self, ours: str, conv: str, norm: str, bias: bool = False) -> KeyMap:
        """Map a `ConvNorm` whose convolution and batch norm have these names."""
        return self.conv(f"{ours}/conv", conv, bias) | self.norm(f"{ours}/norm", norm)


TORCH = Library(
    ".weight",
    Layout.OIHW,
    Layout.OI,
    ".bias",
    (".weight", ".bias", ".running_mean", ".running_var"),
)
KERAS = Library(
    "/kernel",
    Layout.HWIO,
    Layout.IO,
    "/bias",
    ("/gamma", "/beta", "/moving_mean", "/moving_variance"),
)
GLUON = Library(
    "_weight",
    Layout.OIHW,
    Layout.OI,
    "_bias",
    ("_gamma", "_beta", "_running_mean", "_running_var"),
)


def keras_depthwise(ours: str, theirs: str) -> KeyMap:
    """Map a depthwise convolution of Keras, without bias."""
    return {f"{ours}/kernel": (f"{theirs}/depthwise_kernel", Layout.HWOI)}


def _four_axes(shape: Shape) -> Shape:
    return (1,) * (4 - len(shape)) + shape
