"""A segmenter: an encoder and its mirror, one logit a pixel."""

import jax
from flax import linen as nn

from vocjax.models.autoencoder import Decoder, Encoder


class Segmenter(nn.Module):
    """The study's segmentation network; parameters stand under `encoder` and `decoder`.

    With unpooling the decoder gets the encoder's switches beside the code.
    """

    encoder: Encoder
    decoder: Decoder

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width], code) of images [batch, height, width, 1 or 3]."""
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        return self.decoder(code, switches, train=train, valid=valid)[..., 0], code
