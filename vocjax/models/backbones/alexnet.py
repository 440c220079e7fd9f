"""AlexNet as torchvision has it, in one column (Krizhevsky 2014, "One weird trick")."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import Backbone, Conv, Sampling
from vocjax.models.backbones.heads import FlattenHead, Network
from vocjax.models.backbones.keys import TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.models.ops import max_pool

# side of the kernel (0: no convolution), channels, stride (of a 3x3 max-pool; in conv1 its own)
TABLE = {
    "conv1": (11, 64, 4),
    "conv2": (5, 192, 2),
    "conv3": (3, 384, 2),
    "conv4": (3, 256, 1),
    "conv5": (3, 256, 1),
    "pool5": (0, 256, 2),
}


class Stage(nn.Module):
    """A 3x3 max-pool where `pool`, then a convolution `conv` with ReLU, unless `kernel` is 0."""

    kernel: int
    features: int
    pool: bool
    sampling: Sampling
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, before, after = self.sampling
        if self.pool:
            x = max_pool(x, 3, stride, before, "SAME" if stride == 1 else "VALID")
            stride = 1
        if not self.kernel:
            return x
        sampling = (self.kernel, stride, after, "SAME" if stride == 1 else 2)
        return nn.relu(Conv(self.features, *sampling, dtype=self.dtype, name="conv")(x))


class AlexNet(Backbone):
    """Stages conv1 to conv5, each before its max-pool, and pool5, which the head takes.

    conv1 is padded by 2, which is 1.5 short of its kernel, and the pools are not padded, so that
    maps have up to one value less than the image divided by the stride: 55, 27, 13, 13, 13 and 6
    for 224. With `stem` "small" the deepest stride is 4.
    """

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        first = {"conv1": 1, "conv2": 1} if self.stem == "small" else {}
        return {name: (first.get(name, s), features) for name, (_, features, s) in TABLE.items()}

    def stage(self, name: str, sampling: Sampling) -> Stage:
        """Make a stage."""
        kernel, features, _ = TABLE[name]
        pool = name != "conv1" and sampling.nominal > 1
        return Stage(kernel, features, pool, sampling, self.dtype, name=name)


def alexnet(classes: int = 1000, **fields: Any) -> Network:
    """AlexNet for images of any size from 63 (`stem` "small": 7) pixels; made for 224."""
    return Network(AlexNet(**fields), FlattenHead(classes, 6))


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict."""
    keys = KeyMap()
    for stage, index in enumerate((0, 3, 6, 8, 10), 1):
        keys |= TORCH.conv(f"backbone/conv{stage}/conv", f"features.{index}", bias=True)
    for layer, index in (("fc1", 1), ("fc2", 4), ("fc3", 6)):
        keys |= TORCH.dense(f"head/{layer}", f"classifier.{index}")
    return keys


SOURCES = {"torchvision": Source(torchvision_keys, TORCHVISION)}
