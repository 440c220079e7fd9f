"""The study's convolutional encoder and decoder, and the autoencoders made of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.layers import Conv, ConvBlock, Style
from vocjax.models.ops import max_pool, max_positions, max_unpool

Switches = tuple[jax.Array, ...]  # of each pooling, the first one first; empty without unpooling
STEMS = ("same", "stride")


class Encoder(nn.Module):
    """A convolution block for each width; halving before each but the first.

    With `stem` "stride" the first convolution halves, too. A stage is what comes between two
    halvings. Pooling drops the last row and column of an odd size, strides round it up.

    Widths 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    style: Style = Style()
    stem: str = "same"

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, filters[-1]].

        The code is smaller than the image by 2 ** (len(filters) - 1), twice that for a stride.
        """
        return self.with_switches(images, train=train, valid=valid)[0]

    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Return every stage's map before it is halved, shallow to deep; the last is the code.

        They are named stage1, stage2, ..., and [batch, height / strides, width / strides, channels]
        in size.
        """
        maps, _ = self._run(images, train, valid)
        return dict(zip(self.strides, maps, strict=True))

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        first = 2 if self.stem == "stride" else 1
        return {f"stage{i + 1}": first * 2**i for i in range(len(self.filters))}

    @property
    def centred(self) -> bool:
        """Whether maps of an odd size lie over the image's middle: those of strides do."""
        return self.style.downsample == "stride"

    @property
    def channels(self) -> dict[str, int]:
        """Features of every stage's map."""
        return dict(zip(self.strides, self.filters, strict=True))

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Switches]:
        """Return (code, switches) of images; the switches are of `max_positions`, for unpooling.

        They tell where in the image the maxima were: two bits for every pooled value, which a
        decoder then has beside the code's numbers.
        """
        maps, switches = self._run(images, train, valid)
        return maps[-1], switches

    @nn.compact
    def _run(
        self, images: jax.Array, train: bool, valid: jax.Array | None
    ) -> tuple[list[jax.Array], Switches]:
        """Return (every stage's map, switches)."""
        style, x = self.style, images
        maps: list[jax.Array] = []
        switches: list[jax.Array] = []
        for index, features in enumerate(self.filters):
            sampling = "stride" if index and style.downsample == "stride" else "same"
            sampling = sampling if index else self.stem
            if index and style.downsample == "pool":
                if style.upsample == "unpool":
                    switches.append(max_positions(x))
                x = max_pool(x)
            x = ConvBlock(features, sampling, style)(x, train=train, valid=valid)
            maps.append(x)
        return maps, tuple(switches)


class Decoder(nn.Module):
    """The encoder's mirror: blocks and a convolution, doubling before all but the first.

    The first block, on the code, keeps its size.

    With unpooling every value goes where the switches say that the encoder's maximum was. Without
    switches, when there is only a code, it goes to the top left of its 2x2 window.
    """

    filters: Sequence[int]
    channels: int
    style: Style = Style()

    @nn.compact
    def __call__(
        self,
        code: jax.Array,
        switches: Switches = (),
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> jax.Array:
        """[batch, height', width', features] to logits [batch, height, width, channels], float32.

        The image is larger than the code by 2 ** len(filters).
        """
        style, remaining = self.style, list(switches)

        def unpooled(x: jax.Array) -> jax.Array:
            if style.upsample != "unpool":  # the convolution doubles the size
                return x
            top_left = jnp.zeros(x.shape, jnp.uint8)
            return max_unpool(x, remaining.pop() if remaining else top_left)

        x, sampling = code, "same" if style.upsample == "unpool" else style.upsample
        for index, features in enumerate(self.filters):
            block = ConvBlock(features, sampling if index else "same", style)
            x = block(unpooled(x) if index else x, train=train, valid=valid)
        logits = Conv(self.channels, sampling, style.kernel_init, style.dtype)(unpooled(x))
        return logits.astype(jnp.float32)


class ConvAutoencoder(nn.Module):
    """Encoder and decoder with a sigmoid at the end; `encode` and `decode` are separate methods.

    With unpooling a call hands the encoder's switches to the decoder: information beside the
    code's numbers, which `decode` by itself does not have, so that its images are others.
    """

    encoder: Encoder | BackboneEncoder
    decoder: Decoder

    def encode(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features]."""
        return self.encoder(images, train=train, valid=valid)

    def decode(
        self, code: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """A code [batch, height', width', features] to images [batch, height, width, channels].

        With unpooling every value goes to the top left of its 2x2 window.
        """
        return nn.sigmoid(self.decoder(code, train=train, valid=valid))

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels] in [0, 1]."""
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        return nn.sigmoid(self.decoder(code, switches, train=train, valid=valid)), code
