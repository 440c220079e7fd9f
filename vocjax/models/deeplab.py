"""DeepLab v3 and v3+: the deepest map at several scales, and the details of a shallow one."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.backbones.blocks import DepthwiseConv
from vocjax.models.convolution import conv
from vocjax.models.dropout import Dropout
from vocjax.models.fields import check_width, check_widths
from vocjax.models.layers import INITIALIZERS, Style, finish_stage
from vocjax.models.ops import Conv
from vocjax.models.segmenter import Segmenter, enlarged, interpolating_encoder


class AtrousPyramid(nn.Module):
    """The decoder of DeepLab v3 (Chen et al. 2017): atrous spatial pyramid pooling, and the scores.

    The branches are a 1x1 convolution, a 3x3 one for each of `rates`, and the image's mean with a
    1x1 convolution, each followed by activation and norm. A further 1x1 convolution joins them;
    dropout follows. The paper has `rates` 6, 12 and 18 over an output stride of 16, and twice those
    over 8. Without `rates` a place sees only itself and the image's mean.
    """

    outputs: int
    features: int = 256
    rates: Sequence[int] = (6, 12, 18)
    style: Style = Style()

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return the deepest stride."""
        return strides[:1]

    @nn.compact
    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """Take {stride: map}; return the deepest stride and its scores [batch, h, w, outputs]."""
        style, stride = self.style, max(maps)
        atrous = functools.partial(_atrous, self.features, style)
        x = pyramid(maps[stride], self.features, self.rates, style, atrous, train, valid)
        x = Dropout(style.dropout)(x, deterministic=not train)
        return stride, pointwise(x, self.outputs, "score", style).astype(jnp.float32)


class SkipPyramid(nn.Module):
    """The decoder of DeepLab v3+ (Chen et al. 2018): the pyramid, then the details of a skip.

    "Encoder-decoder with atrous separable convolution for semantic image segmentation". The pyramid
    is that of `AtrousPyramid`, of separable convolutions. Its map is enlarged to the stride nearest
    to 4, joined with the encoder's map there, of which a 1x1 convolution leaves `low_level`
    features, and passes two separable 3x3 convolutions. `centred` is the encoder's.
    """

    outputs: int
    features: int = 256
    rates: Sequence[int] = (6, 12, 18)
    low_level: int = 48
    centred: bool = True
    style: Style = Style()

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return the deepest stride and that of the skip."""
        return strides[0], min(strides[1:], key=lambda stride: abs(stride - 4))

    @nn.compact
    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """Take {stride: map}; return the skip's stride and its scores [batch, h, w, outputs]."""
        style, (stride, skip) = self.style, self.reads(sorted(maps, reverse=True))
        plain = style._replace(dropout=0.0, residual=0)
        finish = functools.partial(finish_stage, style=plain, train=train, valid=valid)
        separable = functools.partial(_separable, self.features, style)
        x = pyramid(maps[stride], self.features, self.rates, style, separable, train, valid)
        x = enlarged(x, stride // skip, *maps[skip].shape[1:3], centred=self.centred)
        low = finish(pointwise(maps[skip], self.low_level, "low_level", style))
        x = jnp.concatenate([x, low.astype(x.dtype)], axis=-1)
        for i in range(2):
            x = finish(separable(x, 1, f"refine_{i}"))
        x = Dropout(style.dropout)(x, deterministic=not train)
        return skip, pointwise(x, self.outputs, "score", style).astype(jnp.float32)


def pyramid(
    x: jax.Array,
    features: int,
    rates: Sequence[int],
    style: Style,
    convolve: Callable[[jax.Array, int, str], jax.Array],
    train: bool,
    valid: jax.Array | None,
) -> jax.Array:
    """Pool [batch, h, w, channels] at several scales, to [batch, h, w, features].

    Its parts are submodules of the calling module. `convolve(x, rate, name)` is the 3x3 convolution
    of a branch.
    """
    plain = style._replace(dropout=0.0, residual=0)
    finish = functools.partial(finish_stage, style=plain, train=train, valid=valid)
    branches = [finish(pointwise(x, features, "point", style))]
    for i, rate in enumerate(rates):
        branches.append(finish(convolve(x, rate, f"AtrousConv_{i}")))
    mean = x.mean(axis=(1, 2), keepdims=True)
    mean = finish(pointwise(mean, features, "image", style))
    branches.append(jnp.broadcast_to(mean, branches[0].shape))
    return finish(pointwise(jnp.concatenate(branches, axis=-1), features, "projection", style))


def pointwise(x: jax.Array, features: int, name: str, style: Style) -> jax.Array:
    """Apply a 1x1 convolution, a submodule of the calling module."""
    # A dense layer is the same, and a matrix product.
    init = INITIALIZERS[style.kernel_init]
    return nn.Dense(features, kernel_init=init, dtype=style.dtype, name=name)(x)


def _atrous(features: int, style: Style, x: jax.Array, rate: int, name: str) -> jax.Array:
    convolve, init = functools.partial(atrous_conv, rate=rate), INITIALIZERS[style.kernel_init]
    atrous = Conv(features, dtype=style.dtype, kernel_init=init, convolve=convolve, name=name)
    return atrous(x)


def _separable(features: int, style: Style, x: jax.Array, rate: int, name: str) -> jax.Array:
    """Convolve each channel by itself, then all at each place."""
    alone = DepthwiseConv(3, 1, rate, dtype=style.dtype, name=f"{name}_depthwise")
    return pointwise(alone(x), features, f"{name}_pointwise", style)


def atrous_conv(x: jax.Array, kernel: jax.Array, rate: int) -> jax.Array:
    """Convolve [batch, height, width, channels] `same`, 3x3, `rate` pixels between two taps.

    If the map is not larger than the rate, the outer taps see only zeros: they are left out, and
    the convolution is 1x1 along that axis.
    """
    fits = [rate < size for size in x.shape[1:3]]
    rows, columns = (slice(None) if fit else slice(1, 2) for fit in fits)
    above, beside = ((rate, rate) if fit else (0, 0) for fit in fits)
    return conv(x, kernel[rows, columns], (above, beside), rate)


def network(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the DeepLab v3 of a config."""
    encoder, style = interpolating_encoder(config)
    return Segmenter(encoder, AtrousPyramid(outputs, *_widths(config), style))


def plus_network(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the DeepLab v3+ of a config; `UserError` for an encoder without a shallower map."""
    encoder, style = interpolating_encoder(config)
    if len(set(encoder.strides.values())) < 2:
        raise UserError(
            "the encoder has maps of one stride alone, and DeepLab v3+ joins a deep one with a "
            "shallow one: use a deeper encoder, or model.name deeplab."
        )
    low_level = check_width("model.low_level", config.model.low_level)
    features, rates = _widths(config)
    decoder = SkipPyramid(outputs, features, rates, low_level, encoder.centred, style)
    return Segmenter(encoder, decoder)


def _widths(config: ConfigDict) -> tuple[int, tuple[int, ...]]:
    features = check_width("model.features", config.model.features)
    return features, config.model.rates and check_widths("model.rates", config.model.rates)
