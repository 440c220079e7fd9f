"""Convolutional autoencoders: an encoder and its mirror."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.encoders import Encoder, Switches, make_encoder
from vocjax.models.fields import check_poolable, check_widths
from vocjax.models.layers import Conv, ConvBlock, Style, style_of
from vocjax.models.ops import max_unpool


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


def network(config: ConfigDict, outputs: int) -> ConvAutoencoder:
    """Return the autoencoder of a config, for images of `outputs` channels."""
    return ConvAutoencoder(*encoder_and_decoder(config, outputs))


def encoder_and_decoder(
    config: ConfigDict, outputs: int
) -> tuple[Encoder | BackboneEncoder, Decoder]:
    """Return the two halves that a config describes, the decoder with so many outputs a pixel.

    Raises `UserError` for unknown values, for a size that can't be halved and doubled again, for
    widths that don't double as often as the encoder halves, or can't be unpooled, and for a
    backbone whose map is smaller than its stride says, as it doesn't pad its convolutions.
    """
    model, encoder = config.model, make_encoder(config)
    style = style_of(config)
    halvings = math.log2(max(encoder.strides.values()))
    check_poolable(config.data.size, int(halvings))
    check_widths("model.decoder", model.decoder)
    if len(model.decoder) != halvings:
        raise UserError(
            f"model.decoder has {len(model.decoder)} widths; the encoder halves the image "
            f"{halvings:g} times, so it takes {halvings:g}."
        )
    if isinstance(encoder, BackboneEncoder):
        _check_padded(encoder, config)
    if style.upsample == "unpool":
        mirror = tuple(model.get("encoder", ())[-2::-1])
        if tuple(model.decoder) != mirror:
            raise UserError(
                f"model.decoder is {tuple(model.decoder)!r}; with model.upsample 'unpool' it has "
                f"the widths that the encoder pools, last first: set it to {mirror!r}."
            )
    return encoder, Decoder(tuple(model.decoder), outputs, style)


def _check_padded(encoder: BackboneEncoder, config: ConfigDict) -> None:
    size, stride = config.data.size, max(encoder.strides.values())
    image = jax.ShapeDtypeStruct((1, size, size, config.data.channels), "float32")
    code, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), image)
    if code.shape[1] * stride != size:
        name = config.model.backbone.name
        raise UserError(
            f"{name} makes a map of {code.shape[1]} x {code.shape[2]} of {size} pixels, not of "
            f"{size // stride}, and a decoder that doubles it does not end at {size}. Where the "
            "network has them, set model.backbone.fields to (('padding', 'same'),) or "
            "model.backbone.stem to 'small'; or take another backbone, or a U-Net, whose decoder "
            "fits any map."
        )
