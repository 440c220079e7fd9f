"""SqueezeNet 1.1 (Iandola et al. 2016, and the authors' later version with earlier pools)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import Backbone, Conv, Sampling
from vocjax.models.backbones.heads import ConvHead, Network
from vocjax.models.backbones.keys import GLUON, TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.models.ops import max_pool

# squeezed channels, expanded channels of 1x1 and of 3x3 each, stride of the 3x3 max-pool
FIRES = {
    "fire2": (16, 64, 2),
    "fire3": (16, 64, 1),
    "fire4": (32, 128, 2),
    "fire5": (32, 128, 1),
    "fire6": (48, 192, 2),
    "fire7": (48, 192, 1),
    "fire8": (64, 256, 1),
    "fire9": (64, 256, 1),
}


class Stem(nn.Module):
    """A 3x3 convolution `conv` to 64 channels with ReLU, not padded where it strides."""

    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', 64]."""
        padding = "SAME" if self.stride == 1 else "VALID"
        return nn.relu(Conv(64, 3, self.stride, 1, padding, dtype=self.dtype, name="conv")(x))


class Fire(nn.Module):
    """A max-pool where the stage has a stride, 1x1 `squeeze`, then `expand1x1` and `expand3x3`."""

    squeezed: int
    expanded: int
    sampling: Sampling
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', 2 * expanded]."""

        def conv(x: jax.Array, name: str, features: int, kernel: int) -> jax.Array:
            layer = Conv(features, kernel, dilation=after, dtype=self.dtype, name=name)
            return nn.relu(layer(x))

        stride, before, after = self.sampling
        if self.sampling.nominal > 1:
            x = max_pool(x, 3, stride, before, "SAME" if stride == 1 else "CEIL")
        x = conv(x, "squeeze", self.squeezed, 1)
        wide = [conv(x, f"expand{k}x{k}", self.expanded, k) for k in (1, 3)]
        return jnp.concatenate(wide, axis=-1)


class SqueezeNet(Backbone):
    """Stages conv1 and fire2 to fire9; a max-pool belongs to the stage after it.

    torchvision's and Gluon's networks agree. conv1 is not padded: maps of 224 have 111, 55, 27 and
    13 values. The deepest stride is 16, with `stem` "small" 4.
    """

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        small = self.stem == "small"
        plan = {"conv1": (1 if small else 2, 64)}
        plan |= {name: (stride, 2 * expanded) for name, (_, expanded, stride) in FIRES.items()}
        return plan | {"fire2": (1, 128)} if small else plan

    def stage(self, name: str, sampling: Sampling) -> nn.Module:
        """Make a stage."""
        if name == "conv1":
            return Stem(sampling.stride, self.dtype, name=name)
        squeezed, expanded, _ = FIRES[name]
        return Fire(squeezed, expanded, sampling, self.dtype, name=name)


def squeezenet(classes: int = 1000, **fields: Any) -> Network:
    """SqueezeNet 1.1, whose head has a ReLU after its convolution, conv10 in the paper."""
    return Network(SqueezeNet(**fields), ConvHead(classes, dropout=0.5, relu=True))


PARTS = ("squeeze", "expand1x1", "expand3x3")


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict, whose numbers count max-pools, too."""
    keys = TORCH.conv("backbone/conv1/conv", "features.0", bias=True)
    for fire, index in zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for part in PARTS:
            keys |= TORCH.conv(f"backbone/{fire}/{part}", f"features.{index}.{part}", bias=True)
    return keys | TORCH.conv("head/conv", "classifier.1", bias=True)


def gluon_keys(_: Network) -> KeyMap:
    """Keys of Gluon's parameters: convolutions by number."""
    fires = [f"backbone/{fire}/{part}" for fire in FIRES for part in PARTS]
    keys = KeyMap()
    for index, ours in enumerate(["backbone/conv1/conv", *fires, "head/conv"]):
        keys |= GLUON.conv(ours, f"squeezenet0_conv{index}", bias=True)
    return keys


SOURCES = {
    "torchvision": Source(torchvision_keys, TORCHVISION),
    "gluon": Source(gluon_keys, TORCHVISION),
}
