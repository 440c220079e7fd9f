"""MobileNet v1 as Keras has it (Howard et al. 2017, table 1)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import KERAS_NORM, Backbone, ConvNorm, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import KERAS, KeyMap, Source, keras_depthwise
from vocjax.models.backbones.preprocessing import SYMMETRIC

# (stride, channels) of block1 to block13
CHANNELS = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
BLOCKS = tuple((2 if i in (1, 3, 5, 11) else 1, width) for i, width in enumerate(CHANNELS))


class Block(nn.Module):
    """A 3x3 `depthwise` and a 1x1 `pointwise` convolution, each with batch norm and ReLU6."""

    features: int
    sampling: Sampling
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, dilation, _ = self.sampling
        conv = functools.partial(ConvNorm, norm=KERAS_NORM, activation=nn.relu6, dtype=self.dtype)
        padding = "SAME" if stride == 1 else ((0, 1), (0, 1))  # an odd size loses its half
        depthwise = conv(None, 3, stride, dilation, padding, name="depthwise")
        pointwise = conv(self.features, 1, name="pointwise")
        return pointwise(depthwise(x, train=train, valid=valid), train=train, valid=valid)


class MobileNet(Backbone):
    """Stages conv1 and block1 to block13. With `stem` "small" the deepest stride is 16."""

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        plan = {"conv1": (1 if self.stem == "small" else 2, 32)}
        return plan | {f"block{i + 1}": block for i, block in enumerate(BLOCKS)}

    def stage(self, name: str, sampling: Sampling) -> nn.Module:
        """Make a stage."""
        features, dtype = self.channels[name], self.dtype
        if name != "conv1":
            return Block(features, sampling, dtype, name=name)
        conv = functools.partial(ConvNorm, norm=KERAS_NORM, activation=nn.relu6, dtype=dtype)
        return conv(features, stride=sampling.stride, name=name)


def mobilenet(classes: int = 1000, **fields: Any) -> Network:
    """MobileNet v1, width 1."""
    return Network(MobileNet(**fields), MeanHead(classes, dropout=1e-3))


def keras_keys(_: Network) -> KeyMap:
    """Keys of Keras's weights, where the dense layer is a 1x1 convolution."""
    keys = KERAS.conv_norm("backbone/conv1", "conv1", "conv1_bn")
    for i in range(1, len(BLOCKS) + 1):
        ours = f"backbone/block{i}"
        keys |= keras_depthwise(f"{ours}/depthwise/conv", f"conv_dw_{i}")
        keys |= KERAS.norm(f"{ours}/depthwise/norm", f"conv_dw_{i}_bn")
        keys |= KERAS.conv_norm(f"{ours}/pointwise", f"conv_pw_{i}", f"conv_pw_{i}_bn")
    return keys | KERAS.conv("head/dense", "conv_preds", bias=True)


SOURCES = {"keras": Source(keras_keys, SYMMETRIC)}
