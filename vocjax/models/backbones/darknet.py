"""Darknet-19 (Redmon & Farhadi 2017, "YOLO9000", table 6) and Tiny Darknet (Redmon 2016)."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.backbones.blocks import Backbone, Conv, ConvNorm, Norm, Sampling
from vocjax.models.backbones.heads import ConvHead, Network
from vocjax.models.backbones.keys import KeyMap, Layout, Source
from vocjax.models.backbones.preprocessing import IDENTITY
from vocjax.models.ops import max_pool

Convolutions = Sequence[tuple[int, int]]  # (features, side of the kernel) of each, between pools
DARKNET_19: Sequence[Convolutions] = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
TINY_DARKNET: Sequence[Convolutions] = (
    ((16, 3),),
    ((32, 3),),
    ((16, 1), (128, 3), (16, 1), (128, 3)),
    ((32, 1), (256, 3), (32, 1), (256, 3)),
    ((64, 1), (512, 3), (64, 1), (512, 3), (128, 1)),
)

NORMS = ("darknet", "usual")
MOMENTUM = 0.99  # of Darknet's own code
OUTSIDE = 1e-6  # Darknet adds it to the root; other libraries add more, under the root
LEAKY = functools.partial(nn.leaky_relu, negative_slope=0.1)


class DarknetNorm(nn.Module):
    """Batch norm of Darknet's own code: it divides by sqrt(var) + 1e-6, not by sqrt(var + 1e-5).

    It scales a channel that hardly varies up to a million times, and weights that were trained with
    it need that. Parameters `scale` and `bias`, statistics `mean` and `var`, as in Flax's.
    """

    dtype: DTypeLike = jnp.float32
    momentum: float = MOMENTUM

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to the same; `valid` as in `ConvNorm`."""
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones_init(), channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), channels, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        mean, var = running_mean.value, running_var.value
        x = x.astype(jnp.float32)
        if train:
            mask = None if valid is None else (valid > 0)[:, None, None, None]
            mean = x.mean(axis=(0, 1, 2), where=mask)
            var = x.var(axis=(0, 1, 2), where=mask)
            if not self.is_initializing():
                keep, take = self.momentum, 1 - self.momentum
                running_mean.value = keep * running_mean.value + take * mean
                running_var.value = keep * running_var.value + take * var
        # The root's gradient is infinite at 0, which is the variance of a blank image.
        deviation = jnp.sqrt(jnp.maximum(var, jnp.finfo(jnp.float32).tiny))
        return ((x - mean) * (scale / (deviation + OUTSIDE)) + bias).astype(self.dtype)


class DarknetConvNorm(nn.Module):
    """Convolution, Darknet's batch norm, leaky ReLU; parameters under `conv` and `norm`."""

    features: int
    side: int
    dilation: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, features]."""
        sampling = (self.side, 1, self.dilation)
        x = Conv(self.features, *sampling, bias=False, dtype=self.dtype, name="conv")(x)
        return LEAKY(DarknetNorm(self.dtype, name="norm")(x, train=train, valid=valid))


class Stage(nn.Module):
    """A 2x2 max-pool where the stage has a stride, then convolutions `conv1`, `conv2`, ..."""

    convolutions: Convolutions
    norm: str
    sampling: Sampling
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, before, after = self.sampling
        if self.sampling.nominal > 1:
            x = max_pool(x, 2, stride, before)
        block: Any = DarknetConvNorm
        if self.norm == "usual":
            block = functools.partial(ConvNorm, norm=Norm(MOMENTUM, 1e-5), activation=LEAKY)
        for i, (features, side) in enumerate(self.convolutions):
            conv = block(features, side, dilation=after, dtype=self.dtype, name=f"conv{i + 1}")
            x = conv(x, train=train, valid=valid)
        return x


class Darknet(Backbone):
    """Stages conv1, conv2, ..., each before its max-pool; odd sizes are rounded up.

    `table` is that of Darknet-19 or, of deepest stride 16, Tiny Darknet. Leaky ReLU has slope 0.1.
    `norm` is "darknet" or, as in other networks, "usual", which divides by sqrt(var + 1e-5).
    """

    table: Sequence[Convolutions] = DARKNET_19
    norm: str = "darknet"

    centred = False  # 2x2 windows don't overlap
    choices = (("norm", NORMS),)

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        unpooled = 2 if self.stem == "small" else 1
        return {
            f"conv{i + 1}": (1 if i < unpooled else 2, convolutions[-1][0])
            for i, convolutions in enumerate(self.table)
        }

    def stage(self, name: str, sampling: Sampling) -> Stage:
        """Make a stage."""
        convolutions = self.table[int(name[-1]) - 1]
        return Stage(convolutions, self.norm, sampling, self.dtype, name=name)


def darknet19(classes: int = 1000, **fields: Any) -> Network:
    """Darknet-19 for images of any size; made for 224 and 448 pixels."""
    return Network(Darknet(table=DARKNET_19, **fields), ConvHead(classes))


def tiny_darknet(classes: int = 1000, **fields: Any) -> Network:
    """Tiny Darknet for images of any size; made for 224 pixels."""
    return Network(Darknet(table=TINY_DARKNET, **fields), ConvHead(classes))


def darknet_keys(network: Network) -> KeyMap:
    """Keys of the arrays of a `.weights` file, in the file's order.

    The file has no names, only one float32 after another. A name here is the convolution's number
    in the `.cfg` file, from 0, and the field of Darknet's own `layer`.
    """
    paths = [
        f"backbone/conv{stage}/conv{conv}"
        for stage, convolutions in enumerate(network.backbone.table, 1)
        for conv in range(1, len(convolutions) + 1)
    ]
    ends = {"bias": "biases", "scale": "scales", "mean": "rolling_mean", "var": "rolling_variance"}
    keys = KeyMap()
    for i, ours in enumerate(paths):
        keys |= {f"{ours}/norm/{k}": (f"{i}/{v}", Layout.VECTOR) for k, v in ends.items()}
        keys[f"{ours}/conv/kernel"] = (f"{i}/weights", Layout.OIHW)
    keys["head/conv/bias"] = (f"{len(paths)}/biases", Layout.VECTOR)
    keys["head/conv/kernel"] = (f"{len(paths)}/weights", Layout.OIHW)
    return keys


SOURCES = {"darknet": Source(darknet_keys, IDENTITY, {"norm": "darknet"})}
