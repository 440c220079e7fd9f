"""Building blocks of encoders and decoders: convolution stages in a style, Keras' constants."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice, check_range
from vocjax.models import ops
from vocjax.models.convolution import conv
from vocjax.models.dropout import Dropout
from vocjax.models.fields import compute_dtype
from vocjax.models.norm import BatchNorm

INITIALIZERS = {
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras' default
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "he_normal": nn.initializers.he_normal(),
    "zeros": nn.initializers.zeros_init(),  # of the last convolution in a residual sum
}
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.2),  # Keras 3's slope
    "elu": nn.elu,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "silu": nn.silu,
    "tanh": nn.tanh,
}
NORMS = ("none", "batch", "group")
DOWNSAMPLINGS = ("pool", "stride")
TRUNKS = ("activated", "linear")
UPSAMPLINGS = ("nearest", "bilinear", "transposed", "unpool")

# How a convolution changes the size of its input, and the side of its kernel.
CONVOLUTIONS: dict[str, tuple[Callable[[jax.Array, jax.Array], jax.Array], int]] = {
    "same": (conv, 3),
    "stride": (ops.strided_conv, 3),
    "nearest": (ops.upsample_conv, 3),
    "bilinear": (lambda x, kernel: conv(ops.bilinear_upsample(x), kernel), 3),
    "transposed": (ops.transposed_conv, 4),
}


class Style(NamedTuple):
    """All choices of an encoder or a decoder but its widths; the defaults are the study's.

    - `activation`: relu, leaky_relu (slope .2), elu, gelu (exact), silu or tanh;
    - `norm`, after the activation: none, batch, or group (Wu & He 2018), of gcd(8, features)
      groups, which also removes the mean and the scale of every image from the code;
    - `dropout`: the share of features that are dropped after each norm, in [0, 1);
    - `residual`: the number of residual blocks after the convolution of each stage;
    - `trunk`: activated (the study's), or linear: activation, norm and dropout are within the
      residual blocks alone; each begins as the identity, and so the network as a linear one;
    - `downsample`: pool (2x2 maximum before a convolution) or stride (of 2, in it);
    - `upsample`, in or before a convolution: nearest, bilinear, transposed (4x4, stride 2), or
      unpool (each value returns to the place of the encoder's maximum; only with pool);
    - `kernel_init`: glorot_uniform, lecun_normal or he_normal;
    - `norm_momentum`: the share of batch norm's statistics that each step keeps, in [0, 1);
    - `dtype` of the computation; parameters are float32.
    """

    activation: str = "relu"
    norm: str = "none"
    dropout: float = 0.0
    residual: int = 0
    downsample: str = "pool"
    upsample: str = "nearest"
    kernel_init: str = "glorot_uniform"
    trunk: str = "activated"
    norm_momentum: float = 0.99  # Keras's
    dtype: DTypeLike = jnp.float32


STYLE_FIELDS = tuple(field for field in Style._fields if field != "dtype")  # of a config's `model`


def style_of(config: ConfigDict) -> Style:
    """Return the style that a config describes; fields that its `model` lacks are the study's.

    Raises `UserError` for a value that is not one of a field's choices, and for unpool with stride.
    """
    model = config.model
    given = {field: model[field] for field in STYLE_FIELDS if field in model}
    style = Style(**given, dtype=compute_dtype(config))
    for field, choices in (
        ("activation", ACTIVATIONS),
        ("norm", NORMS),
        ("trunk", TRUNKS),
        ("downsample", DOWNSAMPLINGS),
        ("upsample", UPSAMPLINGS),
        ("kernel_init", [name for name in INITIALIZERS if name != "zeros"]),  # would never learn
    ):
        check_choice(f"model.{field}", getattr(style, field), choices)
    check_range("model.norm_momentum", style.norm_momentum, 0, 1)
    check_range("model.dropout", style.dropout, 0, 1)
    if type(style.residual) is not int or style.residual < 0:
        raise UserError(
            f"model.residual is {style.residual!r}; it is the number of residual blocks of each "
            "stage, 0 or more."
        )
    if style.upsample == "unpool" and style.downsample != "pool":
        raise UserError(
            f"model.upsample is 'unpool' and model.downsample {style.downsample!r}; unpooling puts "
            "values back where max-pooling found them: set model.downsample to 'pool', or "
            "model.upsample to nearest, bilinear or transposed."
        )
    return style


def resizing_conv(
    features: int,
    sampling: str,
    style: Style,
    bias: bool = True,
    name: str | None = None,
    dilation: int = 1,
) -> ops.Conv:
    """Return a convolution that keeps or changes its input's size by a name in `CONVOLUTIONS`.

    Only one that keeps it, "same", is dilated.
    """
    convolve, side = CONVOLUTIONS[sampling]
    if dilation > 1 and sampling == "same":
        pads = ((dilation, dilation), (dilation, dilation))
        convolve = functools.partial(conv, padding=pads, dilation=dilation)
    init, dtype = INITIALIZERS[style.kernel_init], style.dtype
    return ops.Conv(
        features, side, bias=bias, dtype=dtype, kernel_init=init, convolve=convolve, name=name
    )


class ConvBlock(nn.Module):
    """A stage: convolution, activation, norm and dropout (the study's run 5), residual blocks.

    Batch norm has Keras 2's epsilon, 1e-3, and its momentum if the style does not say another; its
    statistics are those of the valid examples. Group norm has the same epsilon, Keras 3's.

    Between two taps of the block's convolutions that keep the size there are `dilation` pixels.
    """

    features: int
    sampling: str = "same"
    style: Style = Style()
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None = None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features].

        `valid` [batch] is 0 for the padded examples of a partial batch.
        """
        x = resizing_conv(self.features, self.sampling, self.style, dilation=self.dilation)(x)
        return finish_stage(x, self.style, train=train, valid=valid, dilation=self.dilation)


def finish_stage(
    x: jax.Array,
    style: Style,
    *,
    train: bool,
    valid: jax.Array | None = None,
    dilation: int = 1,
) -> jax.Array:
    """Apply activation, norm, dropout and residual blocks, as submodules of the calling module.

    [batch, height, width, features] to the same shape; `valid` and `dilation` as in `ConvBlock`.
    """
    if style.trunk == "activated":
        x = _normalise(ACTIVATIONS[style.activation](x), style, train, valid)
        if style.dropout:
            x = Dropout(style.dropout)(x, deterministic=not train)
    for _ in range(style.residual):
        x = ResidualBlock(style, dilation)(x, train=train, valid=valid)
    return x


class ResidualBlock(nn.Module):
    """Twice norm, activation and 3x3 convolution, added to the input.

    Pre-activation as in He et al. 2016, "Identity mappings in deep residual networks"; dropout
    between the two convolutions as in Zagoruyko & Komodakis 2016, "Wide residual networks".
    """

    style: Style
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None = None) -> jax.Array:
        """[batch, height, width, features] to the same shape; `valid` as in `ConvBlock`."""
        style, y = self.style, x
        for index in (0, 1):
            y = ACTIVATIONS[style.activation](_normalise(y, style, train, valid))
            if index and style.dropout:
                y = Dropout(style.dropout)(y, deterministic=not train)
            if index and style.trunk == "linear":  # Zhang et al. 2019, "Fixup initialization"
                style = style._replace(kernel_init="zeros")
            y = resizing_conv(x.shape[-1], "same", style, dilation=self.dilation)(y)
        return x + y


def _normalise(x: jax.Array, style: Style, train: bool, valid: jax.Array | None) -> jax.Array:
    """Apply the style's norm, as a submodule of the calling module."""
    if style.norm == "batch":
        norm = BatchNorm(style.norm_momentum, epsilon=1e-3, dtype=style.dtype)
        return norm(x, use_running_average=not train, valid=valid)
    if style.norm == "group":
        return nn.GroupNorm(math.gcd(8, x.shape[-1]), epsilon=1e-3, dtype=style.dtype)(x)
    return x
