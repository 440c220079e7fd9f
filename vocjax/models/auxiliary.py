"""An auxiliary head: scores of an inner map, whose loss reaches the encoder more directly."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.models.layers import INITIALIZERS, Style, finish_stage, resizing_conv


class AuxiliaryHead(nn.Module):
    """A 3x3 convolution to a quarter of the features, its style, and a 1x1 one to the scores.

    As in PSPNet (Zhao et al. 2017, "Pyramid scene parsing network"), which gives its loss the
    weight .4. It reads the encoder's deepest map of a `stride`.
    """

    outputs: int
    stride: int
    style: Style = Style()

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """[batch, h, w, features] to scores [batch, h, w, outputs] float32."""
        style = self.style._replace(residual=0)
        x = resizing_conv(max(1, x.shape[-1] // 4), "same", style)(x)
        x = finish_stage(x, style, train=train, valid=valid)
        init = INITIALIZERS[style.kernel_init]
        score = nn.Dense(self.outputs, kernel_init=init, dtype=style.dtype, name="score")
        return score(x).astype(jnp.float32)
