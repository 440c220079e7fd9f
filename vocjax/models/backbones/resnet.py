"""ResNet18 and ResNet50 (He et al. 2016, "Deep residual learning", table 1)."""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import TORCH_NORM, Backbone, ConvNorm, Norm, Padding, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import KERAS, TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import CAFFE, TORCHVISION
from vocjax.models.ops import max_pool

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck's last convolution


class Variant(NamedTuple):
    """How the published networks differ."""

    norm: Norm
    bias: bool  # whether convolutions have one
    strided: str  # the convolution of a bottleneck that strides
    pool: Padding


VARIANTS = {
    "torchvision": Variant(TORCH_NORM, bias=False, strided="conv2", pool=1),  # "v1.5"
    "keras": Variant(Norm(0.99, 1.001e-5), bias=True, strided="conv1", pool=1),
    "caffe": Variant(TORCH_NORM, bias=True, strided="conv1", pool="CEIL"),  # the authors' own
}


class Block(nn.Module):
    """Convolutions `conv1`, `conv2`, ... added to the input or, if shapes differ, its `projection`.

    A `bottleneck` has 1x1, 3x3 and 1x1 with four times the `width`, else there are two of 3x3.
    """

    width: int
    bottleneck: bool
    sampling: Sampling
    variant: Variant
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        variant, features = self.variant, self.width * (EXPANSION if self.bottleneck else 1)
        layers = {"conv1": (self.width, 3), "conv2": (features, 3)}
        strided, last = "conv1", "conv2"
        if self.bottleneck:
            layers = {"conv1": (self.width, 1), "conv2": (self.width, 3), "conv3": (features, 1)}
            strided, last = variant.strided, "conv3"
        conv = functools.partial(ConvNorm, bias=variant.bias, norm=variant.norm, dtype=self.dtype)

        stride, dilation, after = self.sampling
        y = x
        for name, (width, kernel) in layers.items():
            sampling = (kernel, stride if name == strided else 1, dilation, kernel // 2)
            activation = None if name == last else nn.relu
            layer = conv(width, *sampling, activation=activation, name=name)
            y = layer(y, train=train, valid=valid)
            if name == strided:
                dilation = after
        if self.sampling.nominal > 1 or x.shape[-1] != y.shape[-1]:
            projection = conv(features, 1, stride, activation=None, name="projection")
            x = projection(x, train=train, valid=valid)
        return nn.relu(x + y)


class Stage(nn.Module):
    """Blocks `block1`, `block2`, ...; a max-pool with the stage's stride first, where `pool`."""

    blocks: int
    width: int
    bottleneck: bool
    pool: bool
    sampling: Sampling
    variant: Variant
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, before, after = self.sampling
        rest = Sampling(1, after, after)
        if self.pool:
            x = max_pool(x, 3, stride, before, self.variant.pool if stride > 1 else "SAME")
        for i in range(self.blocks):
            sampling = rest if i or self.pool else self.sampling
            fields = (self.width, self.bottleneck, sampling, self.variant, self.dtype)
            x = Block(*fields, name=f"block{i + 1}")(x, train=train, valid=valid)
        return x


class ResNet(Backbone):
    """Stages conv1 to conv5; conv2 begins with the max-pool.

    `depths` are the blocks of conv2 to conv5. `variant` is "torchvision", "keras" or "caffe"; those
    of a network without bottlenecks are torchvision's. With `stem` "small" the deepest stride is 8.
    """

    depths: Sequence[int] = (3, 4, 6, 3)
    bottleneck: bool = True
    variant: str = "torchvision"

    @property
    def choices(self) -> Sequence[tuple[str, Collection[str]]]:
        """(field, its values)."""
        return (("variant", VARIANTS if self.bottleneck else ["torchvision"]),)

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        expansion = EXPANSION if self.bottleneck else 1
        first = 1 if self.stem == "small" else 2
        channels = (WIDTHS[0], *(width * expansion for width in WIDTHS))
        return {f"conv{i}": (first if i < 3 else 2, c) for i, c in enumerate(channels, 1)}

    def stage(self, name: str, sampling: Sampling) -> nn.Module:
        """Make a stage."""
        variant, dtype = VARIANTS[self.variant], self.dtype
        if name == "conv1":
            norm, bias, *_ = variant
            return ConvNorm(64, 7, sampling.stride, 1, 3, bias, norm, dtype=dtype, name=name)
        index, pool = int(name[-1]) - 2, name == "conv2" and self.stem == "imagenet"
        shape = (self.depths[index], WIDTHS[index], self.bottleneck)
        return Stage(*shape, pool, sampling, variant, dtype, name=name)


def resnet18(classes: int = 1000, **fields: Any) -> Network:
    """ResNet18, as in torchvision."""
    return Network(ResNet(depths=(2, 2, 2, 2), bottleneck=False, **fields), MeanHead(classes))


def resnet50(classes: int = 1000, **fields: Any) -> Network:
    """ResNet50; `variant` "torchvision" (v1.5), "keras" or "caffe" (v1)."""
    return Network(ResNet(depths=(3, 4, 6, 3), **fields), MeanHead(classes))


def torchvision_keys(network: Network) -> KeyMap:
    """Keys of torchvision's state dict."""
    keys = TORCH.conv_norm("backbone/conv1", "conv1", "bn1")
    for stage, block, layer, ours in _layers(network):
        theirs = f"layer{stage - 1}.{block - 1}"
        conv, norm = (f"conv{layer}", f"bn{layer}") if layer else ("downsample.0", "downsample.1")
        keys |= TORCH.conv_norm(ours, f"{theirs}.{conv}", f"{theirs}.{norm}")
    return keys | TORCH.dense("head/dense", "fc")


def keras_keys(network: Network) -> KeyMap:
    """Keys of Keras's weights."""
    keys = KERAS.conv_norm("backbone/conv1", "conv1_conv", "conv1_bn", bias=True)
    for stage, block, layer, ours in _layers(network):
        theirs = f"conv{stage}_block{block}_{layer}"
        keys |= KERAS.conv_norm(ours, f"{theirs}_conv", f"{theirs}_bn", bias=True)
    return keys | KERAS.dense("head/dense", "predictions")


def caffe_keys(network: Network) -> KeyMap:
    """Keys of the authors' ResNet50 in Keras's layout, as Keras had it before its own."""
    keys = KERAS.conv_norm("backbone/conv1", "conv1", "bn_conv1", bias=True)
    for stage, block, layer, ours in _layers(network):
        branch = f"branch2{'abc'[layer - 1]}" if layer else "branch1"
        theirs = f"{stage}{'abcdef'[block - 1]}_{branch}"
        keys |= KERAS.conv_norm(ours, f"res{theirs}", f"bn{theirs}", bias=True)
    return keys | KERAS.dense("head/dense", "fc1000")


def _layers(network: Network) -> Iterator[tuple[int, int, int, str]]:
    """(stage, block, convolution, path) of the layers after conv1; number 0 is a projection."""
    bottleneck = network.backbone.bottleneck
    for stage, depth in enumerate(network.backbone.depths, 2):
        for block in range(1, depth + 1):
            projects = block == 1 and (bottleneck or stage > 2)
            for layer in range(0 if projects else 1, 4 if bottleneck else 3):
                name = f"conv{layer}" if layer else "projection"
                yield stage, block, layer, f"backbone/conv{stage}/block{block}/{name}"


SOURCES_18 = {"torchvision": Source(torchvision_keys, TORCHVISION)}
SOURCES_50 = {
    "torchvision": Source(torchvision_keys, TORCHVISION, {"variant": "torchvision"}),
    "keras": Source(keras_keys, CAFFE, {"variant": "keras"}),
    "caffe": Source(caffe_keys, CAFFE, {"variant": "caffe"}),
}
