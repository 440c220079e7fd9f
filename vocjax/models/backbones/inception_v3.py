"""Inception v3 (Szegedy et al. 2016, "Rethinking the Inception architecture", table 1)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.errors import UserError
from vocjax.models.backbones.blocks import KERAS_NORM, Backbone, Conv, Norm, Padding, Sampling
from vocjax.models.backbones.heads import MeanHead, Network
from vocjax.models.backbones.keys import KERAS, TORCH, KeyMap, Source
from vocjax.models.backbones.preprocessing import SYMMETRIC
from vocjax.models.norm import BatchNorm
from vocjax.models.ops import Known, max_pool


class Variant(NamedTuple):
    """How the published networks differ."""

    norm: Norm
    scale: bool  # of batch norm
    counts_padding: bool  # whether the zeros around a map count in a branch's means


VARIANTS = {
    "torchvision": Variant(Norm(momentum=0.9, epsilon=1e-3), scale=True, counts_padding=True),
    "keras": Variant(KERAS_NORM, scale=False, counts_padding=False),
}


class Fork(NamedTuple):
    """A 1x3 and a 3x1 convolution side by side."""

    features: int


Kernel = int | tuple[int, int]
Step = str | tuple[int, Kernel] | Fork  # a 3x3 pool, or (features, kernel) of a convolution
Branches = Mapping[str, Sequence[Step]]


def mixed_a(pool: int) -> Branches:
    """The paper's figure 5, but for one 5x5."""
    return {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": ["mean", (pool, 1)],
    }


def mixed_c(n: int) -> Branches:
    """The paper's figure 6."""
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(n, 1), (n, (1, 7)), (192, (7, 1))],
        "branch7x7dbl": [(n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))],
        "branch_pool": ["mean", (192, 1)],
    }


MIXED_B: Branches = {  # figure 10; the last of each branch strides, as in MIXED_D
    "branch3x3": [(384, 3)],
    "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    "branch_pool": ["max"],
}
MIXED_D: Branches = {
    "branch3x3": [(192, 1), (320, 3)],
    "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)],
    "branch_pool": ["max"],
}
MIXED_E: Branches = {  # figure 7
    "branch1x1": [(320, 1)],
    "branch3x3": [(384, 1), Fork(384)],
    "branch3x3dbl": [(448, 1), (384, 3), Fork(384)],
    "branch_pool": ["mean", (192, 1)],
}


def named(branch: str, steps: Sequence[Step]) -> list[tuple[str, Step]]:
    """Name a branch's layers as torchvision does: `branch5x5_1`, or `branch1x1` for one alone."""
    alone = len(steps) == 1 or isinstance(steps[0], str)
    return [(branch if alone else f"{branch}_{i}", step) for i, step in enumerate(steps, 1)]


# (features, side of the kernel) and (features, branches)
STEM = {
    "conv1a": (32, 3),
    "conv2a": (32, 3),
    "conv2b": (64, 3),
    "conv3b": (80, 1),
    "conv4a": (192, 3),
}
MIXED = {
    "mixed5b": (256, mixed_a(32)),
    "mixed5c": (288, mixed_a(64)),
    "mixed5d": (288, mixed_a(64)),
    "mixed6a": (768, MIXED_B),
    "mixed6b": (768, mixed_c(128)),
    "mixed6c": (768, mixed_c(160)),
    "mixed6d": (768, mixed_c(160)),
    "mixed6e": (768, mixed_c(192)),
    "mixed7a": (1280, MIXED_D),
    "mixed7b": (2048, MIXED_E),
    "mixed7c": (2048, MIXED_E),
}
STRIDED = ("conv1a", "conv3b", "mixed5b", "mixed6a", "mixed7a")
POOLED = ("conv3b", "mixed5b")  # by a 3x3 max-pool before the stage
UNPADDED = ("conv1a", "conv2a", "conv4a")


class ConvNormRelu(nn.Module):
    """`ConvNorm` with ReLU whose batch norm may have no scale."""

    features: int
    kernel: Kernel
    variant: Variant
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        sampling = (self.kernel, self.stride, self.dilation, self.padding)
        x = Conv(self.features, *sampling, bias=False, dtype=self.dtype, name="conv")(x)
        constants = self.variant.norm._asdict() | {"use_scale": self.variant.scale}
        norm = BatchNorm(**constants, dtype=self.dtype, name="norm")
        return nn.relu(norm(x, use_running_average=not train, valid=valid))


class Mixed(nn.Module):
    """Branches side by side; `edge` is the padding of what strides."""

    branches: Branches
    sampling: Sampling
    edge: Padding
    variant: Variant
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        stride, dilation, _ = self.sampling

        def conv(x: jax.Array, name: str, features: int, kernel: Kernel, last: bool) -> jax.Array:
            step, edge = (stride, self.edge) if last and self.sampling.nominal > 1 else (1, "SAME")
            sampling = (step, dilation, edge)
            layer = ConvNormRelu(features, kernel, self.variant, *sampling, self.dtype, name=name)
            return layer(x, train=train, valid=valid)

        def run(x: jax.Array, name: str, step: Step, last: bool) -> jax.Array:
            if step == "mean":
                return mean_pool(x, dilation, self.variant.counts_padding)
            if isinstance(step, str):
                return max_pool(x, 3, stride, dilation, self.edge)
            if isinstance(step, Fork):
                row = conv(x, f"{name}a", step.features, (1, 3), last)
                column = conv(x, f"{name}b", step.features, (3, 1), last)
                return jnp.concatenate([row, column], axis=-1)
            return conv(x, name, *step, last)

        maps = []
        for branch, steps in self.branches.items():
            y = x
            for i, (name, step) in enumerate(named(branch, steps), 1):
                y = run(y, name, step, last=i == len(steps))
            maps.append(y)
        return jnp.concatenate(maps, axis=-1)


class InceptionV3(Backbone):
    """Stages conv1a to conv4a and mixed5b to mixed7c; a max-pool belongs to the stage after it.

    The references pad nothing where they stride, nor in conv2a and conv4a: maps of 299 have 149,
    147, 147, 73, 71, 35, 17 and 8 values. `padding` "same" rounds every size up instead, so that
    maps lie over the image, as decoders want it; so does `stem` "small", whose deepest stride is 8.
    `variant` is "torchvision" or "keras".
    """

    variant: str = "torchvision"
    padding: str = "valid"

    choices = (("variant", VARIANTS), ("padding", ("valid", "same")))

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage."""
        strided = STRIDED if self.stem == "imagenet" else STRIDED[2:]
        features = {name: features for name, (features, _) in (*STEM.items(), *MIXED.items())}
        return {name: (2 if name in strided else 1, width) for name, width in features.items()}

    def stages(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """As in `Backbone`; raises `UserError` for images that leave nothing in the last maps."""
        if self.padding == "valid" and self.stem == "imagenet" and min(images.shape[1:3]) < 75:
            raise UserError(
                f"Inception v3 has images of {images.shape[1]}x{images.shape[2]} pixels and needs "
                'at least 75x75: use larger images, or set padding to "same" or stem to "small".'
            )
        return super().stages(images, known, train=train, valid=valid)

    def stage(self, name: str, sampling: Sampling) -> Callable[..., jax.Array]:
        """Make a stage."""
        variant = VARIANTS[self.variant]
        stride, before, after = sampling
        aligned = self.padding == "same" or self.stem == "small" or stride < sampling.nominal
        edge: Padding = 1 if aligned else "VALID"
        inside = Sampling(1, after, after) if name in POOLED else sampling
        if name in STEM:
            (features, side), padding = STEM[name], edge if name in UNPADDED else "SAME"
            how = (variant, inside.stride, 1, padding, self.dtype)
            module: nn.Module = ConvNormRelu(features, side, *how, name=name)
        else:
            module = Mixed(MIXED[name][1], inside, edge, variant, self.dtype, name=name)
        if name not in POOLED or sampling.nominal == 1:
            return module
        return lambda x, **how: module(max_pool(x, 3, stride, before, edge), **how)


def mean_pool(x: jax.Array, dilation: int, counts_padding: bool) -> jax.Array:
    """Mean over the 3x3 window around every value of [batch, height, width, channels].

    `counts_padding` says whether the zeros around the map count.
    """

    def sums(x: jax.Array) -> jax.Array:
        for axis in (1, 2):
            around = [(dilation, dilation) if i == axis else (0, 0) for i in range(4)]
            padded, size = jnp.pad(x, around), x.shape[axis]
            before, at, after = (
                jax.lax.slice_in_dim(padded, tap * dilation, tap * dilation + size, axis=axis)
                for tap in range(3)
            )
            x = before + at + after
        return x

    return sums(x) / (9 if counts_padding else sums(jnp.ones_like(x[:1, :, :, :1])))


def inception_v3(classes: int = 1000, **fields: Any) -> Network:
    """Inception v3, made for 299 pixels, without the auxiliary head that trains its mixed6e."""
    return Network(InceptionV3(**fields), MeanHead(classes, dropout=0.5))


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict, without its auxiliary head, AuxLogits."""
    keys = TORCH.dense("head/dense", "fc")
    for ours in _convolutions():
        stage, slash, layer = ours.partition("/")
        side = "" if slash else STEM[stage][1]
        theirs = f"Mixed_{stage[-2:]}.{layer}" if slash else f"Conv2d_{stage[-2:]}_{side}x{side}"
        keys |= TORCH.conv_norm(f"backbone/{ours}", f"{theirs}.conv", f"{theirs}.bn")
    return keys


def keras_keys(_: Network) -> KeyMap:
    """Keys of Keras's weights, of `variant` "keras", whose batch norm has no scale.

    Keras numbers these layers as it makes them: conv2d, conv2d_1, ... in the first model of a
    process, and from there on in later ones.
    """
    keys = KERAS.dense("head/dense", "predictions")
    for index, ours in enumerate(_convolutions()):
        end = f"_{index}" if index else ""
        keys |= KERAS.conv_norm(f"backbone/{ours}", f"conv2d{end}", f"batch_normalization{end}")
    return {ours: theirs for ours, theirs in keys.items() if not ours.endswith("norm/scale")}


def _convolutions() -> Iterator[str]:
    """Our paths of the convolutions below `backbone`, in the order in which they are written."""
    yield from STEM
    for stage, (_, branches) in MIXED.items():
        for branch, steps in branches.items():
            for name, step in named(branch, steps):
                if isinstance(step, Fork):
                    yield from (f"{stage}/{name}a", f"{stage}/{name}b")
                elif not isinstance(step, str):
                    yield f"{stage}/{name}"


# The published weights are Google's: torchvision turns its usual values into [-1, 1] for them.
SOURCES = {
    "torchvision": Source(torchvision_keys, SYMMETRIC, {"variant": "torchvision"}),
    "keras": Source(keras_keys, SYMMETRIC, {"variant": "keras"}),
}
