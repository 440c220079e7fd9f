"""Convolutional autoencoders: an encoder, and a decoder that mirrors it."""

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
from vocjax.models.layers import ConvBlock, Style, resizing_conv, style_of
from vocjax.models.resampling import max_unpool


class Decoder(nn.Module):
    """The encoder's mirror: a block for each width and a convolution, doubling before all but one.

    The first block keeps the size of the code.

    With unpooling every value returns to the place that the switches give. Without switches, if
    there is only a code, it goes to the top left of its 2x2 window.
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

    With unpooling a call gives the encoder's switches to the decoder. `decode` alone has no
    switches, so that its images differ.
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


def network(config: ConfigDict, outputs: int) -> ConvAutoencoder:
    """Return the autoencoder of a config; its images have `outputs` channels."""
    return ConvAutoencoder(*encoder_and_decoder(config, outputs))


def encoder_and_decoder(
    config: ConfigDict, outputs: int
) -> tuple[Encoder | BackboneEncoder, Decoder]:
    """Return the encoder of a config and its mirror, which has `outputs` channels.

    Raises `UserError` for unknown values, for a size that can't be halved and doubled again, for
    widths that don't double as often as the encoder halves, or can't be unpooled, and for a
    backbone whose map is smaller than its stride implies, as it does not pad its convolutions.
    """
    model, encoder, style = config.model, make_encoder(config), style_of(config)
    stride = max(encoder.strides.values())
    halvings = int(math.log2(stride))
    check_poolable(config.data.size, stride)
    widths = check_widths("model.decoder", model.decoder)
    if len(widths) != halvings:
        raise UserError(
            f"model.decoder has {len(widths)} widths; the encoder halves the image {halvings} "
            f"times, so it takes {halvings}."
        )
    if isinstance(encoder, BackboneEncoder):
        _check_padded(encoder, config)
    mirror = tuple(model.get("encoder", ())[-2::-1])
    if style.upsample == "unpool" and widths != mirror:
        raise UserError(
            f"model.decoder is {widths!r}; with model.upsample 'unpool' it has the widths that the "
            f"encoder pools, last first: set it to {mirror!r}."
        )
    return encoder, Decoder(widths, outputs, style)


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
