"""MobileNetV2 (Sandler et al. 2018, "Inverted residuals and linear bottlenecks", table 2)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import TORCH_NORM, Backbone, ConvNorm, Norm, Padding, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import GLUON, KERAS, TORCH, KeyMap, Source, keras_depthwise
from vocjax.models.backbones.preprocessing import SYMMETRIC, TORCHVISION

Row = tuple[int, int, int, int]  # expansion t, channels c, repetitions n, stride s of the first
TABLE: tuple[Row, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LATE = (*TABLE[:3], (6, 64, 4, 1), (6, 96, 3, 2), *TABLE[5:])  # strides a row later than the paper


class Variant(NamedTuple):
    """How the published networks differ."""

    norm: Norm
    padding: Padding  # of the convolutions with stride 2
    activation: Callable[[jax.Array], jax.Array]
    table: Sequence[Row] = TABLE
    expand_first: bool = False  # whether block1 has a 1x1 convolution, though it expands by 1


VARIANTS = {
    "torchvision": Variant(TORCH_NORM, 1, nn.relu6),
    "keras": Variant(Norm(0.999, 1e-3), "SAME", nn.relu6),
    "gluon": Variant(TORCH_NORM, 1, nn.relu, LATE, expand_first=True),
}


def blocks_of(table: Sequence[Row]) -> dict[str, tuple[int, int, int]]:
    """(expansion, channels, stride) of block1, block2, ..."""
    blocks = [(t, c, s if i == 0 else 1) for t, c, n, s in table for i in range(n)]
    return {f"block{i + 1}": block for i, block in enumerate(blocks)}


class Block(nn.Module):
    """1x1 `expand` where wanted, 3x3 `depthwise`, 1x1 `project` without activation.

    Added to the input where both have the same shape.
    """

    expansion: int  # of the channels, 0 for no such convolution
    features: int
    sampling: Sampling
    variant: Variant
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, dilation, _ = self.sampling
        norm, padding, activation, *_ = self.variant
        conv = functools.partial(ConvNorm, norm=norm, activation=activation, dtype=self.dtype)
        layers = [
            conv(None, 3, stride, dilation, padding, name="depthwise"),
            conv(self.features, 1, activation=None, name="project"),
        ]
        if self.expansion:
            layers.insert(0, conv(self.expansion * x.shape[-1], 1, name="expand"))
        y = x
        for layer in layers:
            y = layer(y, train=train, valid=valid)
        return x + y if self.sampling.nominal == 1 and x.shape[-1] == y.shape[-1] else y


class MobileNetV2(Backbone):
    """Stages conv1, block1 to block17 and conv2, the last convolution of 1x1.

    `variant` is "torchvision", "keras" or "gluon". With `stem` "small" the deepest stride is 16.
    """

    variant: str = "torchvision"

    choices = (("variant", VARIANTS),)

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        blocks = blocks_of(VARIANTS[self.variant].table)
        plan = {"conv1": (1 if self.stem == "small" else 2, 32)}
        plan |= {name: (stride, channels) for name, (_, channels, stride) in blocks.items()}
        return plan | {"conv2": (1, 1280)}

    def stage(self, name: str, sampling: Sampling) -> nn.Module:
        """Make a stage."""
        variant, features = VARIANTS[self.variant], self.channels[name]
        norm, padding, activation, table, expand_first = variant
        conv = functools.partial(ConvNorm, norm=norm, activation=activation, dtype=self.dtype)
        if name == "conv1":
            return conv(features, 3, sampling.stride, padding=padding, name=name)
        if name == "conv2":
            return conv(features, 1, name=name)
        expansion, *_ = blocks_of(table)[name]
        if expansion == 1 and not expand_first:
            expansion = 0
        return Block(expansion, features, sampling, variant, self.dtype, name=name)


def mobilenet_v2(classes: int = 1000, **fields: Any) -> Network:
    """MobileNetV2, width 1."""
    return Network(MobileNetV2(**fields), MeanHead(classes, dropout=0.2))


PARTS = ("expand", "depthwise", "project")


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict; the first block does not expand."""
    keys = TORCH.conv_norm("backbone/conv1", "features.0.0", "features.0.1")
    for index, block in enumerate(blocks_of(TABLE), 1):
        theirs = f"features.{index}.conv"
        *activated, project = PARTS[1:] if index == 1 else PARTS
        for i, part in enumerate(activated):
            ours = f"backbone/{block}/{part}"
            keys |= TORCH.conv_norm(ours, f"{theirs}.{i}.0", f"{theirs}.{i}.1")
        i = len(activated)
        keys |= TORCH.conv_norm(f"backbone/{block}/{project}", f"{theirs}.{i}", f"{theirs}.{i + 1}")
    keys |= TORCH.conv_norm("backbone/conv2", "features.18.0", "features.18.1")
    return keys | TORCH.dense("head/dense", "classifier.1")


def timm_keys(_: Network) -> KeyMap:
    """Keys of timm's mobilenetv2_100 (timm/models/efficientnet.py and _efficientnet_blocks.py).

    It computes what torchvision's does; blocks are numbered by rows of the paper's table.
    """
    keys = TORCH.conv_norm("backbone/conv1", "conv_stem", "bn1")
    rows = [(row, i) for row, (_, _, n, _) in enumerate(TABLE) for i in range(n)]
    for block, (row, i) in zip(blocks_of(TABLE), rows, strict=True):
        ours, theirs = f"backbone/{block}", f"blocks.{row}.{i}"
        parts = dict(zip(PARTS, ("conv_pw", "conv_dw", "conv_pwl"), strict=True))
        if row == 0:
            parts = {"depthwise": "conv_dw", "project": "conv_pw"}
        for number, (part, conv) in enumerate(parts.items(), 1):
            keys |= TORCH.conv_norm(f"{ours}/{part}", f"{theirs}.{conv}", f"{theirs}.bn{number}")
    keys |= TORCH.conv_norm("backbone/conv2", "conv_head", "bn2")
    return keys | TORCH.dense("head/dense", "classifier")


def keras_keys(_: Network) -> KeyMap:
    """Keys of Keras's weights; the first block does not expand."""
    keys = KERAS.conv_norm("backbone/conv1", "Conv1", "bn_Conv1")
    for index, block in enumerate(blocks_of(TABLE)):
        prefix = f"block_{index}" if index else "expanded_conv"
        for part in PARTS if index else PARTS[1:]:
            ours, theirs = f"backbone/{block}/{part}", f"{prefix}_{part}"
            conv = keras_depthwise if part == "depthwise" else KERAS.conv
            keys |= conv(f"{ours}/conv", theirs) | KERAS.norm(f"{ours}/norm", f"{theirs}_BN")
    keys |= KERAS.conv_norm("backbone/conv2", "Conv_1", "Conv_1_bn")
    return keys | KERAS.dense("head/dense", "predictions")


def gluon_keys(_: Network) -> KeyMap:
    """Keys of Gluon's parameters, without the head: Gluon's has no bias."""

    def conv_norm(ours: str, theirs: str, index: int) -> KeyMap:
        return GLUON.conv_norm(ours, f"{theirs}conv{index}", f"{theirs}batchnorm{index}")

    features = "mobilenetv20_features_"
    keys = conv_norm("backbone/conv1", features, 0)
    for block_index, block in enumerate(blocks_of(LATE)):
        theirs = f"{features}linearbottleneck{block_index}_"
        for index, part in enumerate(PARTS):
            keys |= conv_norm(f"backbone/{block}/{part}", theirs, index)
    return keys | conv_norm("backbone/conv2", features, 1)


SOURCES = {
    "torchvision": Source(torchvision_keys, TORCHVISION, {"variant": "torchvision"}),
    "timm": Source(timm_keys, TORCHVISION, {"variant": "torchvision"}),
    "keras": Source(keras_keys, SYMMETRIC, {"variant": "keras"}),
    "gluon": Source(gluon_keys, TORCHVISION, {"variant": "gluon"}),
}
