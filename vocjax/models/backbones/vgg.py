"""VGG16 and VGG19 without batch norm (Simonyan & Zisserman 2015, table 1, D and E)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import Backbone, Conv, Sampling
from vocjax.models.backbones.heads import FlattenHead, Network
from vocjax.models.backbones.keys import KERAS, TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import CAFFE, TORCHVISION
from vocjax.models.ops import max_pool

# (convolutions, channels) between max-pools
D = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
E = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


class Stage(nn.Module):
    """A 2x2 max-pool where the stage has a stride, then 3x3 convolutions with ReLU."""

    convolutions: int
    features: int
    sampling: Sampling
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, before, after = self.sampling
        if self.sampling.nominal > 1:
            x = max_pool(x, 2, stride, before, "SAME" if stride == 1 else "VALID")
        for i in range(self.convolutions):
            conv = Conv(self.features, 3, dilation=after, dtype=self.dtype, name=f"conv{i + 1}")
            x = nn.relu(conv(x))
        return x


class VGG(Backbone):
    """Stages conv1 to conv5, each before its max-pool, and pool5, which the head takes.

    torchvision's and Keras's networks agree. `table` is the paper's D or E. With `stem` "small" the
    deepest stride is 16.
    """

    table: Sequence[tuple[int, int]] = D

    centred = False  # 2x2 windows don't overlap

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        strides = (1, 1 if self.stem == "small" else 2, 2, 2, 2)
        widths = [features for _, features in self.table]
        convs = {f"conv{i + 1}": (strides[i], width) for i, width in enumerate(widths)}
        return convs | {"pool5": (2, widths[-1])}

    def stage(self, name: str, sampling: Sampling) -> Stage:
        """Make a stage."""
        convolutions, features = self.table[int(name[-1]) - 1]
        if name == "pool5":
            convolutions = 0
        return Stage(convolutions, features, sampling, self.dtype, name=name)


def vgg16(classes: int = 1000, **fields: Any) -> Network:
    """VGG16 for images of any size from 32 (`stem` "small": 16) pixels; made for 224."""
    return Network(VGG(table=D, **fields), FlattenHead(classes, 7))


def vgg19(classes: int = 1000, **fields: Any) -> Network:
    """VGG19 for images of any size from 32 (`stem` "small": 16) pixels; made for 224."""
    return Network(VGG(table=E, **fields), FlattenHead(classes, 7))


def torchvision_keys(network: Network) -> KeyMap:
    """Keys of torchvision's state dict, whose numbers count ReLUs and max-pools, too."""
    keys, index = KeyMap(), 0
    for stage, (convolutions, _) in enumerate(network.backbone.table, 1):
        for conv in range(1, convolutions + 1):
            keys |= TORCH.conv(f"backbone/conv{stage}/conv{conv}", f"features.{index}", bias=True)
            index += 2
        index += 1
    for layer, index in (("fc1", 0), ("fc2", 3), ("fc3", 6)):
        keys |= TORCH.dense(f"head/{layer}", f"classifier.{index}")
    return keys


def timm_keys(network: Network) -> KeyMap:
    """Keys of timm's vgg16 and vgg19 (timm/models/vgg.py), whose dense layers are convolutions.

    They are torchvision's arrays; on images of 224 pixels the head computes the same.
    """
    keys = {ours: key for ours, key in torchvision_keys(network).items() if "backbone" in ours}
    for layer in ("fc1", "fc2"):
        keys |= TORCH.conv(f"head/{layer}", f"pre_logits.{layer}", bias=True)
    return keys | TORCH.dense("head/fc3", "head.fc")


def keras_keys(network: Network) -> KeyMap:
    """Keys of Keras's weights."""
    keys = KeyMap()
    for stage, (convolutions, _) in enumerate(network.backbone.table, 1):
        for conv in range(1, convolutions + 1):
            ours = f"backbone/conv{stage}/conv{conv}"
            keys |= KERAS.conv(ours, f"block{stage}_conv{conv}", bias=True)
    for layer, theirs in (("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "predictions")):
        keys |= KERAS.dense(f"head/{layer}", theirs)
    return keys


SOURCES = {
    "torchvision": Source(torchvision_keys, TORCHVISION),
    "timm": Source(timm_keys, TORCHVISION),
    "keras": Source(keras_keys, CAFFE),
}
