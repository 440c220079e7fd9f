"""FCN: class scores of several depths, enlarged and summed."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.encoders import StagedEncoder, make_encoder
from vocjax.models.layers import INITIALIZERS, Style, style_of
from vocjax.models.segmenter import check_interpolated, check_size, enlarged, pyramid


class FCN(nn.Module):
    """Fully convolutional network (Long et al. 2015); parameters under `encoder` and `decoder`.

    `skips` shallower strides take part: over a backbone of stride 32, 0 is FCN-32s, 1 FCN-16s and
    2 FCN-8s. The style's kernel_init and dtype are of the scores.

    Raises `UserError` for skips that the encoder does not have.
    """

    encoder: StagedEncoder
    outputs: int
    skips: int = 2
    style: Style = Style()

    def __post_init__(self) -> None:
        """Refuse skips that the encoder does not have."""
        most = len(set(self.encoder.strides.values())) - 1
        if not 0 <= self.skips <= most:
            raise UserError(
                f"model.skips is {self.skips}; this encoder has {most} strides beside its deepest: "
                f"set it to one of 0 to {most}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width, outputs] float32, code [batch, h, w, features]).

        Images are [batch, height, width, channels] of any size from the deepest stride on;
        `UserError` for a smaller one.
        """
        check_size(self, *images.shape[1:3])
        maps = pyramid(self.encoder.strides, self.encoder.stages(images, train=train, valid=valid))
        *_, code = maps.values()
        centred = self.encoder.centred
        decoder = FCNDecoder(self.outputs, self.skips, centred, self.style, name="decoder")
        stride, scores = decoder(maps)
        return enlarged(scores, stride, *images.shape[1:3], centred=centred), code


class FCNDecoder(nn.Module):
    """Parameters of the scores of stride s stand under `score{s}`.

    Scores are enlarged by fixed linear interpolation. The paper's transposed convolutions begin as
    that, its last one stays so, and what the others learn is little; at the edges, where they
    would mix in zeros, interpolation is exact, and any size will do.
    """

    outputs: int
    skips: int
    centred: bool
    style: Style

    @nn.compact
    def __call__(self, maps: dict[int, jax.Array]) -> tuple[int, jax.Array]:
        """Take {stride: [batch, h, w, features]}; return the shallowest stride used and its scores.

        They are [batch, height / stride, width / stride, outputs] float32.
        """
        style = self.style

        def score(stride: int, kernel_init: str) -> jax.Array:
            # A 1x1 convolution, as what it is: a matrix product.
            init = INITIALIZERS[kernel_init]
            dense = nn.Dense(
                self.outputs, kernel_init=init, dtype=style.dtype, name=f"score{stride}"
            )
            return dense(maps[stride]).astype(jnp.float32)

        stride, *shallower = sorted(maps, reverse=True)
        scores = score(stride, style.kernel_init)
        for skip in shallower[: self.skips]:
            size = maps[skip].shape[1:3]
            coarse = enlarged(scores, stride // skip, *size, centred=self.centred)
            scores = coarse + score(skip, "zeros")  # training begins as FCN-32s, as in the paper
            stride = skip
        return stride, scores


def network(config: ConfigDict, outputs: int) -> FCN:
    """Return the FCN of a config."""
    style = style_of(config)
    check_interpolated(config.model.name, style)
    return FCN(make_encoder(config), outputs, config.model.skips, style)
