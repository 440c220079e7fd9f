"""Inception v1, GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions", table 1)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import Backbone, ConvNorm, Norm, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import SYMMETRIC
from vocjax.models.ops import max_pool

NORM = Norm(momentum=0.9, epsilon=1e-3)
STEM = {"conv1": 64, "conv2": 192}


class Widths(NamedTuple):
    """Features of an inception module's convolutions, a row of the paper's table."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    project: int

    @property
    def together(self) -> int:
        """Features of the module."""
        return self.conv1x1 + self.conv3x3 + self.conv5x5 + self.project


MODULES = {
    "inception3a": Widths(64, 96, 128, 16, 32, 32),
    "inception3b": Widths(128, 128, 192, 32, 96, 64),
    "inception4a": Widths(192, 96, 208, 16, 48, 64),
    "inception4b": Widths(160, 112, 224, 24, 64, 64),
    "inception4c": Widths(128, 128, 256, 24, 64, 64),
    "inception4d": Widths(112, 144, 288, 32, 64, 64),
    "inception4e": Widths(256, 160, 320, 32, 128, 128),
    "inception5a": Widths(256, 160, 320, 32, 128, 128),
    "inception5b": Widths(384, 192, 384, 48, 128, 128),
}
POOLS = {"conv2": 3, "inception3a": 3, "inception4a": 3, "inception5a": 2}  # sides, before stages


class Inception(nn.Module):
    """1x1, 3x3 and "5x5" convolutions and a max-pool, side by side; 1x1 convolutions go before.

    As in torchvision every convolution has batch norm, and what the paper has as 5x5 is 3x3.
    """

    widths: Widths
    dilation: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, features]."""

        def conv(x: jax.Array, name: str, kernel: int) -> jax.Array:
            shape = (getattr(self.widths, name), kernel, 1, self.dilation)
            layer = ConvNorm(*shape, norm=NORM, dtype=self.dtype, name=name)
            return layer(x, train=train, valid=valid)

        branches = (
            conv(x, "conv1x1", 1),
            conv(conv(x, "reduce3x3", 1), "conv3x3", 3),
            conv(conv(x, "reduce5x5", 1), "conv5x5", 3),
            conv(max_pool(x, 3, 1, self.dilation), "project", 1),
        )
        return jnp.concatenate(branches, axis=-1)


class Stem(nn.Module):
    """The second convolution with the one that reduces for it, `reduce` and `conv`."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, 192]."""
        for name, features, kernel in (("reduce", 64, 1), ("conv", STEM["conv2"], 3)):
            layer = ConvNorm(features, kernel, norm=NORM, dtype=self.dtype, name=name)
            x = layer(x, train=train, valid=valid)
        return x


class InceptionV1(Backbone):
    """Stages conv1, conv2 and the nine inception modules; a max-pool belongs to the stage after it.

    Maps of 224 have 112, 56, 28, 14 and 7 values. With `stem` "small" the deepest stride is 8.
    """

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        widths = STEM | {name: widths.together for name, widths in MODULES.items()}
        plan = {name: (2 if name in POOLS else 1, width) for name, width in widths.items()}
        first = 1 if self.stem == "small" else 2
        return plan | {name: (first, width) for name, width in STEM.items()}

    def stage(self, name: str, sampling: Sampling) -> Callable[..., jax.Array]:
        """Make a stage."""
        stride, before, after = sampling
        if name == "conv1":
            return ConvNorm(64, 7, stride, padding=3, norm=NORM, dtype=self.dtype, name=name)
        module: nn.Module
        if name in MODULES:
            module = Inception(MODULES[name], after, self.dtype, name=name)
        else:
            module = Stem(self.dtype, name=name)
        if sampling.nominal == 1:
            return module
        padding = "SAME" if stride == 1 else "CEIL"
        return lambda x, **how: module(max_pool(x, POOLS[name], stride, before, padding), **how)


def inception_v1(classes: int = 1000, **fields: Any) -> Network:
    """Inception v1 as in torchvision, without the auxiliary heads that train its inner stages."""
    return Network(InceptionV1(**fields), MeanHead(classes, dropout=0.2))


BRANCHES = {  # of torchvision's Inception
    "conv1x1": "branch1",
    "reduce3x3": "branch2.0",
    "conv3x3": "branch2.1",
    "reduce5x5": "branch3.0",
    "conv5x5": "branch3.1",
    "project": "branch4.1",
}


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict, without its auxiliary heads, aux1 and aux2."""
    convs = {"conv1": "conv1", "conv2/reduce": "conv2", "conv2/conv": "conv3"}
    for module in MODULES:
        convs |= {f"{module}/{ours}": f"{module}.{theirs}" for ours, theirs in BRANCHES.items()}
    keys = TORCH.dense("head/dense", "fc")
    for ours, theirs in convs.items():
        keys |= TORCH.conv_norm(f"backbone/{ours}", f"{theirs}.conv", f"{theirs}.bn")
    return keys


# The published weights are Google's: torchvision turns its usual values into [-1, 1] for them.
SOURCES = {"torchvision": Source(torchvision_keys, SYMMETRIC)}
