"""A segmenter: an encoder and its mirror, one logit a pixel."""

import jax
from flax import linen as nn


class Segmenter(nn.Module):
    """The study's segmentation network; parameters stand under `encoder` and `decoder`."""

    encoder: nn.Module
    decoder: nn.Module

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width], code) of images [batch, height, width, 1 or 3]."""
        code = self.encoder(images, train=train, valid=valid)
        return self.decoder(code, train=train, valid=valid)[..., 0], code
