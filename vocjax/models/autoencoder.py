"""The study's autoencoder: an encoder with stages, and a decoder that mirrors it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.errors import UserError
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.layers import ConvBlock, Style, resizing_conv
from vocjax.models.ops import Known, max_pool, max_positions, max_unpool

Switches = tuple[jax.Array, ...]  # of each pooling, the first one first; empty without unpooling


class Encoder(nn.Module):
    """The study's encoder: a convolution block for each width, halving before each but the first.

    A stage is what lies between two halvings. With `stem` "stride" the first convolution halves
    too. Pooling drops the last row and column of an odd size, strides round it up.

    Widths 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    style: Style = Style()
    stem: str = "same"

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        first = 2 if self.stem == "stride" else 1
        return {f"stage{i + 1}": first * 2**i for i in range(len(self.filters))}

    @property
    def modules(self) -> dict[str, str]:
        """The path of each stage's parameters."""
        return {name: f"ConvBlock_{i}" for i, name in enumerate(self.strides)}

    @property
    def centred(self) -> bool:
        """Whether a map of an odd size is centred on the image: only strides do this."""
        return self.style.downsample == "stride"

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, filters[-1]].

        h and w are height and width divided by the last stride.
        """
        return self.with_switches(images, train=train, valid=valid)[0]

    def stages(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Return the map of stage1, stage2, ... before it is halved; the last one is the code.

        They are [batch, height / stride, width / stride, features]. A stage whose map is `known`
        does not run.
        """
        maps, _ = self._run(images, train, valid, known)
        return dict(zip(self.strides, maps, strict=True))

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Switches]:
        """Return (code, switches) of images; the switches are those of `max_positions`.

        They are the places of the maxima in the image: two bits for every pooled value, which a
        decoder that unpools gets in addition to the code.
        """
        maps, switches = self._run(images, train, valid)
        return maps[-1], switches

    @nn.compact
    def _run(
        self, images: jax.Array, train: bool, valid: jax.Array | None, known: Known = None
    ) -> tuple[list[jax.Array], Switches]:
        style, x, sampling = self.style, images, self.stem
        maps: list[jax.Array] = []
        switches: list[jax.Array] = []
        for index, features in enumerate(self.filters):
            if index:
                sampling = "same" if style.downsample == "pool" else "stride"
            if index and style.downsample == "pool":
                if min(x.shape[1:3]) < 2:
                    height, width = images.shape[1:3]
                    raise UserError(
                        f"images of {height}x{width} pixels can't be pooled {index} times; make "
                        "them larger, or give the encoder fewer widths."
                    )
                if style.upsample == "unpool":
                    switches.append(max_positions(x))
                x = max_pool(x, padding="VALID")
            block, name = ConvBlock(features, sampling, style), f"stage{index + 1}"
            x = known[name] if known and name in known else block(x, train=train, valid=valid)
            maps.append(x)
        return maps, tuple(switches)


class Decoder(nn.Module):
    """The encoder's mirror: a block for each width and a convolution, doubling before all but one.

    The first block keeps the size of the code. With unpooling every value returns to the place that
    the switches give; without switches, to the top left of its 2x2 window.
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
        return resizing_conv(self.channels, sampling, style)(unpooled(x)).astype(jnp.float32)


class ConvAutoencoder(nn.Module):
    """Encoder and decoder with a sigmoid at the end; `encode` and `decode` are separate methods.

    With unpooling a call gives the encoder's switches to the decoder. `decode` alone has none, so
    that its images differ.
    """

    encoder: Encoder | BackboneEncoder
    decoder: Decoder

    def encode(self, images: jax.Array) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features]."""
        return self.encoder(images)

    def decode(self, code: jax.Array) -> jax.Array:
        """Codes [batch, h, w, features] to images [batch, height, width, channels] in [0, 1]."""
        return nn.sigmoid(self.decoder(code))

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels] in [0, 1]."""
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        return nn.sigmoid(self.decoder(code, switches, train=train, valid=valid)), code
