"""The study's autoencoder: an encoder with stages, and a decoder that mirrors it."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.errors import UserError
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.layers import INITIALIZERS, ConvBlock, Style, resizing_conv
from vocjax.models.ops import (
    Conv,
    Known,
    max_pool,
    max_positions,
    max_unpool,
    to_patches,
    to_pixels,
)

STEMS = {"same": 1, "stride": 2, "patch": 4}  # pixels from one value of the first stage to the next
Switches = tuple[jax.Array, ...]  # of each pooling, the first one first; empty without unpooling


class Encoder(nn.Module):
    """The study's encoder: a convolution block for each width, halving before each but the first.

    A stage is what lies between two halvings. With `stem` "stride" the first convolution halves
    too; with "patch" it is on patches of 4x4 pixels. Pooling drops the last row and column of an
    odd size, strides and patches round it up. An `output_stride` above 0 is the largest: dilation
    replaces the halvings beyond it (Chen et al. 2017, "Rethinking atrous convolution"), with the
    same parameters. If `code` is not 0, the code has so many features, a linear map of the last
    stage's.

    Widths 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    style: Style = Style()
    stem: str = "same"
    code: int = 0
    output_stride: int = 0

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        first, most = STEMS[self.stem], self.output_stride or math.inf
        return {f"stage{i + 1}": int(min(first * 2**i, most)) for i in range(len(self.filters))}

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
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features].

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
        """Return the map of stage1, stage2, ... before it is halved; the last one gives the code.

        They are [batch, height / stride, width / stride, features]. A stage whose map is `known`
        does not run.
        """
        maps, _, _ = self._run(images, train, valid, coded=False, known=known)
        return dict(zip(self.strides, maps, strict=True))

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Switches]:
        """Return (code, switches) of images; the switches are those of `max_positions`.

        They are the places of the maxima in the image: two bits for every pooled value, which a
        decoder that unpools gets in addition to the code.
        """
        _, code, switches = self._run(images, train, valid, coded=True)
        return code, switches

    @nn.compact
    def _run(
        self,
        images: jax.Array,
        train: bool,
        valid: jax.Array | None,
        coded: bool,
        known: Known = None,
    ) -> tuple[list[jax.Array], jax.Array, Switches]:
        style, x, sampling = self.style, images, self.stem
        if sampling == "patch":
            x, sampling = padded_patches(images), "same"
        maps: list[jax.Array] = []
        switches: list[jax.Array] = []
        strides, dilation = list(self.strides.values()), 1
        for index, features in enumerate(self.filters):
            halves = index > 0 and strides[index] > strides[index - 1]
            if index:
                sampling = "stride" if halves and style.downsample == "stride" else "same"
                dilation *= 1 if halves else 2
            if halves and style.downsample == "pool":
                if min(x.shape[1:3]) < 2:
                    height, width = images.shape[1:3]
                    raise UserError(
                        f"images of {height}x{width} pixels can't be pooled {index} times; make "
                        "them larger, or give the encoder fewer widths."
                    )
                if style.upsample == "unpool":
                    switches.append(max_positions(x))
                x = max_pool(x, padding="VALID")
            block, name = ConvBlock(features, sampling, style, dilation), f"stage{index + 1}"
            x = known[name] if known and name in known else block(x, train=train, valid=valid)
            maps.append(x)
        if coded and self.code:
            init = INITIALIZERS[style.kernel_init]
            x = Conv(self.code, 1, dtype=style.dtype, kernel_init=init, name="code")(x)
        return maps, x, tuple(switches)


def padded_patches(images: jax.Array) -> jax.Array:
    """Images [batch, height, width, channels] in [0, 1] to patches in [-1, 1], 0 where padded."""
    patch = STEMS["patch"]
    missing = [-size % patch for size in images.shape[1:3]]
    around = [(m // 2, m - m // 2) for m in missing]
    return to_patches(jnp.pad(2 * images - 1, ((0, 0), *around, (0, 0))), patch)


class Decoder(nn.Module):
    """The encoder's mirror: a block for each width and a convolution, doubling before all but one.

    The first block keeps the size of the code. With unpooling every value returns to the place that
    the switches give; without switches, to the top left of its 2x2 window. With a `patch` above 1
    the last convolution does not double: it makes patches of so many pixels square.
    """

    filters: Sequence[int]
    channels: int
    style: Style = Style()
    patch: int = 1

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

        The image is larger than the code by 2 ** len(filters), or by 2 ** (len(filters) - 1) *
        patch.
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
        if self.patch > 1:
            x = resizing_conv(self.channels * self.patch**2, "same", style)(x)
            return to_pixels(x, self.patch).astype(jnp.float32)
        return resizing_conv(self.channels, sampling, style)(unpooled(x)).astype(jnp.float32)


def pixels(logits: jax.Array, style: Style) -> jax.Array:
    """Map a decoder's output to intensities: by a sigmoid, or linearly from [-1, 1] to [0, 1].

    A linear trunk has the latter. A sigmoid that saturates in the first steps would stay so.
    """
    return 0.5 + 0.5 * logits if style.trunk == "linear" else nn.sigmoid(logits)


class ConvAutoencoder(nn.Module):
    """Encoder, decoder and `pixels`; `encode` and `decode` are separate methods.

    With unpooling a call gives the encoder's switches to the decoder. `decode` alone has none, so
    that its images differ.
    """

    encoder: Encoder | BackboneEncoder
    decoder: Decoder

    def encode(self, images: jax.Array) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features]."""
        return self.encoder(images)

    def decode(self, code: jax.Array) -> jax.Array:
        """Codes [batch, h, w, features] to images [batch, height, width, channels].

        They are in [0, 1], or nearly so where the trunk is linear.
        """
        return pixels(self.decoder(code), self.decoder.style)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels] in [0, 1].

        Except in training, the reconstruction is in [0, 1], too.
        """
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        logits = self.decoder(code, switches, train=train, valid=valid)
        image = pixels(logits, self.decoder.style)
        return image if train else image.clip(0, 1), code
