"""U-Net: doubled step by step, each time with the encoder's map of the same size beside it."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.encoders import StagedEncoder, make_encoder
from vocjax.models.fields import check_widths
from vocjax.models.layers import INITIALIZERS, Conv, Style, finish_stage, style_of
from vocjax.models.ops import max_positions, max_unpool
from vocjax.models.segmenter import check_size, enlarged, pyramid, resized


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with `same` padding over any encoder that halves.

    Parameters stand under `encoder` and `decoder`. `widths` are the features of the stages on the
    way up, deep to shallow, one for each stride but the deepest. Where the shallowest stride is
    more than 1, the scores are enlarged to the input's size by linear interpolation.

    Raises `UserError` for widths or strides that don't fit.
    """

    encoder: StagedEncoder
    outputs: int
    widths: Sequence[int]
    style: Style = Style()

    def __post_init__(self) -> None:
        """Refuse widths that the encoder has no strides for, and strides that don't double."""
        strides = sorted(set(self.encoder.strides.values()))
        steps = len(strides) - 1
        if any(deep != 2 * shallow for shallow, deep in itertools.pairwise(strides)):
            raise UserError(
                f"the encoder's strides are {tuple(strides)}; U-Net doubles from one to the next: "
                "use an encoder that only halves, or the decoder of FCN or DeepLab."
            )
        if len(self.widths) != steps:
            raise UserError(
                f"model.decoder has {len(self.widths)} widths, {tuple(self.widths)}; an encoder of "
                f"strides {tuple(strides)} takes {steps}, deep to shallow."
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width, outputs] float32, code [batch, h, w, features]).

        Images are [batch, height, width, channels] of any size from the deepest stride on;
        `UserError` for a smaller one. `valid` [batch] is 0 for padded examples.
        """
        check_size(self, *images.shape[1:3])
        maps = pyramid(self.encoder.strides, self.encoder.stages(images, train=train, valid=valid))
        *_, code = maps.values()
        decoder = UNetDecoder(self.outputs, self.widths, self.style, name="decoder")
        scores = decoder(list(maps.values()), train=train, valid=valid)
        centred = self.encoder.centred
        return enlarged(scores, min(maps), *images.shape[1:3], centred=centred), code


class UNetDecoder(nn.Module):
    """A `SkipBlock` for each width, then the scores."""

    outputs: int
    widths: Sequence[int]
    style: Style

    @nn.compact
    def __call__(
        self, maps: Sequence[jax.Array], *, train: bool, valid: jax.Array | None = None
    ) -> jax.Array:
        """Maps, shallow to deep, each twice the next, to scores [batch, h, w, outputs] float32."""
        style = self.style
        *skips, x = maps
        for features, skip in zip(self.widths, reversed(skips), strict=True):
            x = SkipBlock(features, style)(x, skip, train=train, valid=valid)
        init = INITIALIZERS[style.kernel_init]
        score = nn.Dense(self.outputs, kernel_init=init, dtype=style.dtype, name="score")
        return score(x).astype(jnp.float32)


class SkipBlock(nn.Module):
    """Doubling, concatenation with the skip, and a stage's convolution with all that follows it.

    The convolution of a concatenation is the sum of its parts' convolutions, `deep` and `skip`:
    that of the doubled map is then done before doubling, at a fraction of the work. With
    "transposed" it is itself the transposed convolution. With "unpool" a further convolution,
    `unpooled`, gives the map the skip's channels, whose maxima say where the values go.
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
            bias = name != "skip"  # `deep` has the sum's
            return Conv(features, sampling, style.kernel_init, style.dtype, bias, name=name)(x)

        if style.upsample == "unpool":
            switches = max_positions(skip)
            x = resized(convolve(x, skip.shape[-1], "unpooled"), *switches.shape[1:3])
            x = convolve(max_unpool(x, switches), self.features, "deep")
        else:
            x = convolve(x, self.features, "deep", style.upsample)
        x = resized(x, *skip.shape[1:3]) + convolve(skip, self.features, "skip")
        return finish_stage(x, style, train=train, valid=valid)


def network(config: ConfigDict, outputs: int) -> UNet:
    """Return the U-Net of a config."""
    check_widths("model.decoder", config.model.decoder)
    return UNet(make_encoder(config), outputs, tuple(config.model.decoder), style_of(config))
