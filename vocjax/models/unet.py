"""U-Net: doubled step by step, each time joined with the encoder's map of the same size."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.encoders import make_encoder
from vocjax.models.fields import check_widths
from vocjax.models.layers import INITIALIZERS, Style, finish_stage, resizing_conv, style_of
from vocjax.models.ops import max_positions, max_unpool
from vocjax.models.segmenter import Segmenter, resized


class UNetDecoder(nn.Module):
    """The decoder of U-Net (Ronneberger et al. 2015), with `same` padding.

    A `SkipBlock` for each of `widths`, deep to shallow, then the scores. With a width for each
    stride but the deepest they have the shallowest one, with fewer widths a deeper one.
    """

    outputs: int
    widths: Sequence[int]
    style: Style = Style()

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return the deepest stride and one for each width."""
        return strides[: 1 + len(self.widths)]

    @nn.compact
    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """Take {stride: map}, each stride twice the one before; return the last one's scores.

        They are (stride, [batch, height / stride, width / stride, outputs] float32).
        """
        style = self.style
        stride, *shallower = self.reads(sorted(maps, reverse=True))
        x = maps[stride]
        for features, stride in zip(self.widths, shallower, strict=True):
            x = SkipBlock(features, style)(x, maps[stride], train=train, valid=valid)
        init = INITIALIZERS[style.kernel_init]
        score = nn.Dense(self.outputs, kernel_init=init, dtype=style.dtype, name="score")
        return stride, score(x).astype(jnp.float32)


class SkipBlock(nn.Module):
    """Doubling, concatenation with the skip, and a stage's convolution with all that follows it.

    The convolution of a concatenation is the sum of its parts' convolutions, `deep` and `skip`;
    that of the doubled map is computed before doubling, at a fraction of the work. With "unpool" a
    further convolution, `unpooled`, gives the map as many channels as the skip, whose maxima give
    the values' places.
    """

    features: int
    style: Style

    @nn.compact
    def __call__(
        self, x: jax.Array, skip: jax.Array, *, train: bool, valid: jax.Array | None = None
    ) -> jax.Array:
        """[batch, h, w, c] and skip [batch, height, width, c'] to [batch, height, width, features].

        `valid` as in `ConvBlock`.
        """
        style = self.style

        def convolve(x: jax.Array, features: int, name: str, sampling: str = "same") -> jax.Array:
            bias = name != "skip"  # the bias of `deep` is the sum's
            return resizing_conv(features, sampling, style, bias, name)(x)

        if style.upsample == "unpool":
            switches = max_positions(skip)
            x = resized(convolve(x, skip.shape[-1], "unpooled"), *switches.shape[1:3])
            x = convolve(max_unpool(x, switches), self.features, "deep")
        else:
            x = convolve(x, self.features, "deep", style.upsample)
        x = resized(x, *skip.shape[1:3]) + convolve(skip, self.features, "skip")
        return finish_stage(x, style, train=train, valid=valid)


def network(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the U-Net of a config; `UserError` for widths or strides that don't fit."""
    encoder, widths = make_encoder(config), check_widths("model.decoder", config.model.decoder)
    check_doubling(sorted(set(encoder.strides.values())), widths)
    return Segmenter(encoder, UNetDecoder(outputs, widths, style_of(config)))


def check_doubling(strides: Sequence[int], widths: Sequence[int]) -> None:
    """Raise `UserError` unless `strides` double, and each width has one, but the deepest."""
    if any(deep != 2 * shallow for shallow, deep in itertools.pairwise(strides)):
        raise UserError(
            f"the encoder's strides are {tuple(strides)}; U-Net doubles from one to the next: "
            "use an encoder that only halves, or the decoder of FCN or DeepLab."
        )
    if len(widths) >= len(strides):
        raise UserError(
            f"model.decoder has {len(widths)} widths, {tuple(widths)}; an encoder of strides "
            f"{tuple(strides)} takes at most {len(strides) - 1}, deep to shallow."
        )
