"""FCN: class scores of several depths, enlarged and summed."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import check_range
from vocjax.models.layers import INITIALIZERS, Style
from vocjax.models.segmenter import Segmenter, enlarged, interpolating_encoder


class FCNDecoder(nn.Module):
    """The decoder of a fully convolutional network (Long et al. 2015).

    `skips` is the number of shallower strides that are used: over a backbone of stride 32, 0 is
    FCN-32s, 1 FCN-16s and 2 FCN-8s. `centred` is the encoder's. The parameters of the scores of
    stride s are under `score{s}`; they use the style's kernel_init and dtype.

    Scores are enlarged by fixed linear interpolation. The paper's transposed convolutions begin as
    interpolation, its last one stays so, and the others learn little; interpolation is exact at the
    edges, where a transposed convolution would mix in zeros, and any size will do.
    """

    outputs: int
    skips: int = 2
    centred: bool = True
    style: Style = Style()

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return the deepest stride and those of the skips."""
        return strides[: 1 + self.skips]

    @nn.compact
    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """Take {stride: [batch, h, w, features]}; return the shallowest stride used and its scores.

        They are [batch, height / stride, width / stride, outputs] float32.
        """
        style = self.style

        def score(stride: int, kernel_init: str) -> jax.Array:
            # A dense layer is the same as a 1x1 convolution, and a matrix product.
            init, name = INITIALIZERS[kernel_init], f"score{stride}"
            dense = nn.Dense(self.outputs, kernel_init=init, dtype=style.dtype, name=name)
            return dense(maps[stride]).astype(jnp.float32)

        stride, *shallower = sorted(maps, reverse=True)
        scores = score(stride, style.kernel_init)
        for skip in shallower[: self.skips]:
            size = maps[skip].shape[1:3]
            coarse = enlarged(scores, stride // skip, *size, centred=self.centred)
            scores = coarse + score(skip, "zeros")  # training begins as FCN-32s, as in the paper
            stride = skip
        return stride, scores


def network(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the FCN of a config; `UserError` for more skips than the encoder has strides."""
    encoder, style = interpolating_encoder(config)
    skips, strides = config.model.skips, set(encoder.strides.values())
    check_range("model.skips", skips, 0, len(strides))
    return Segmenter(encoder, FCNDecoder(outputs, skips, encoder.centred, style))
