"""A classifier: an encoder and one fully connected layer on its flattened code."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.models.layers import kernel_initializer


class Classifier(nn.Module):
    """The study's classifier; parameters stand under `encoder` and `head`."""

    encoder: nn.Module
    classes: int
    kernel_init: str = "glorot_uniform"

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, classes], code) of images [batch, height, width, channels]."""
        code = self.encoder(images, train=train, valid=valid)
        features = code.reshape(code.shape[0], -1).astype(jnp.float32)
        init = kernel_initializer(self.kernel_init)
        return nn.Dense(self.classes, kernel_init=init, name="head")(features), code
