"""Xception as Keras has it (Chollet 2017, "Xception", figure 5)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones import blocks
from vocjax.models.backbones.blocks import Backbone, DepthwiseConv, Padding, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import KERAS, KeyMap, Layout, Source, keras_depthwise
from vocjax.models.backbones.preprocessing import SYMMETRIC
from vocjax.models.ops import max_pool

KerasConvNorm = functools.partial(blocks.ConvNorm, norm=blocks.KERAS_NORM)

# features of each separable convolution, and the stride
BLOCKS = {
    "block2": ((128, 128), 2),
    "block3": ((256, 256), 2),
    "block4": ((728, 728), 2),
    **{f"block{i}": ((728, 728, 728), 1) for i in range(5, 13)},
    "block13": ((728, 1024), 2),
}


class Stem(nn.Module):
    """Two 3x3 convolutions, `conv1` and `conv2`, with batch norm and ReLU."""

    stride: int
    padding: Padding
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', 64]."""
        for name, features, stride in (("conv1", 32, self.stride), ("conv2", 64, 1)):
            conv = KerasConvNorm(features, 3, stride, 1, self.padding, dtype=self.dtype, name=name)
            x = conv(x, train=train, valid=valid)
        return x


class SeparableConv(nn.Module):
    """A 3x3 `depthwise` convolution, then a 1x1 `pointwise` one with batch norm."""

    features: int
    dilation: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, features]."""
        x = DepthwiseConv(3, 1, self.dilation, dtype=self.dtype, name="depthwise")(x)
        conv = functools.partial(KerasConvNorm, activation=None, dtype=self.dtype)
        return conv(self.features, 1, name="pointwise")(x, train=train, valid=valid)


class Block(nn.Module):
    """ReLU and separable convolution, `sepconv1`, `sepconv2`, ..., added to the input.

    A block that strides ends with a 3x3 max-pool, and one that strides or changes the number of
    features has a 1x1 convolution `shortcut`. `relu_first` is False after a ReLU.
    """

    features: tuple[int, ...]
    sampling: Sampling
    relu_first: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, dilation, _ = self.sampling
        y = x
        for i, features in enumerate(self.features):
            if i or self.relu_first:
                y = nn.relu(y)
            conv = SeparableConv(features, dilation, self.dtype, name=f"sepconv{i + 1}")
            y = conv(y, train=train, valid=valid)
        if self.sampling.nominal > 1:
            y = strided_pool(y, stride, dilation)
        if self.sampling.nominal > 1 or x.shape[-1] != y.shape[-1]:
            shortcut = functools.partial(KerasConvNorm, activation=None, dtype=self.dtype)
            layer = shortcut(self.features[-1], 1, stride, name="shortcut")
            x = layer(x, train=train, valid=valid)
        return x + y


class ExitFlow(nn.Module):
    """The last separable convolutions, `sepconv1` and `sepconv2`, each with ReLU after it."""

    dilation: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, 2048]."""
        for name, features in (("sepconv1", 1536), ("sepconv2", 2048)):
            conv = SeparableConv(features, self.dilation, self.dtype, name=name)
            x = nn.relu(conv(x, train=train, valid=valid))
        return x


def strided_pool(x: jax.Array, stride: int, dilation: int) -> jax.Array:
    """3x3 max-pool of [batch, height, width, channels] with "SAME" padding, as it is with a stride.

    XLA and Keras centre a strided window on odd values where the size is even and on even values
    where it is odd, while the shortcut always takes even values. The weights are trained for that,
    so the windows keep this place where the stride has become dilation.
    """

    def around(size: int) -> tuple[int, int]:
        before = -(-size // dilation) % 2 * dilation
        return before, 2 * dilation - before

    return max_pool(x, 3, stride, dilation, (around(x.shape[1]), around(x.shape[2])))


class Xception(Backbone):
    """Stages block1 to block14.

    Keras does not pad block1's convolutions: maps of 299 have 147, 74, 37, 19 and 10 values.
    `padding` "same" rounds every size up instead, so that maps lie over the image, as decoders want
    it; so does `stem` "small", whose deepest stride is 8. Maps of block2 to block13 are those
    before a ReLU.
    """

    padding: str = "valid"

    choices = (("padding", ("valid", "same")),)

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        blocks = {name: (stride, features[-1]) for name, (features, stride) in BLOCKS.items()}
        plan = {"block1": (2, 64), **blocks, "block14": (1, 2048)}
        return plan | {"block1": (1, 64), "block2": (1, 128)} if self.stem == "small" else plan

    def stage(self, name: str, sampling: Sampling) -> Callable[..., jax.Array]:
        """Make a stage."""
        if name == "block1":
            padded = self.padding == "same" or self.stem == "small"
            return Stem(sampling.stride, 1 if padded else "VALID", self.dtype, name=name)
        if name == "block14":
            return ExitFlow(sampling.before, self.dtype, name=name)
        features, _ = BLOCKS[name]
        return Block(features, sampling, name != "block2", self.dtype, name=name)


def xception(classes: int = 1000, **fields: Any) -> Network:
    """Xception, made for 299 pixels."""
    return Network(Xception(**fields), MeanHead(classes))


def keras_keys(_: Network) -> KeyMap:
    """Keys of Keras's weights.

    Keras numbers the shortcuts' layers as it makes them: conv2d, conv2d_1, ... in the first model
    of a process, and from there on in later ones.
    """
    keys = KERAS.dense("head/dense", "predictions")
    for conv in ("conv1", "conv2"):
        keys |= KERAS.conv_norm(f"backbone/block1/{conv}", f"block1_{conv}", f"block1_{conv}_bn")
    for block, count in (*((name, len(row)) for name, (row, _) in BLOCKS.items()), ("block14", 2)):
        for index in range(1, count + 1):
            ours, theirs = f"backbone/{block}/sepconv{index}", f"{block}_sepconv{index}"
            keys |= keras_depthwise(f"{ours}/depthwise", theirs)
            keys[f"{ours}/pointwise/conv/kernel"] = (f"{theirs}/pointwise_kernel", Layout.HWIO)
            keys |= KERAS.norm(f"{ours}/pointwise/norm", f"{theirs}_bn")
    for index, block in enumerate(("block2", "block3", "block4", "block13")):
        ours, end = f"backbone/{block}/shortcut", f"_{index}" if index else ""
        keys |= KERAS.conv_norm(ours, f"conv2d{end}", f"batch_normalization{end}")
    return keys


SOURCES = {"keras": Source(keras_keys, SYMMETRIC)}
