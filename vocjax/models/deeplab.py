"""DeepLab v3: the deepest map at several scales."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.models.fields import check_widths
from vocjax.models.layers import INITIALIZERS, Style, finish_stage
from vocjax.models.ops import Conv, conv
from vocjax.models.segmenter import Segmenter, interpolating_encoder


class AtrousPyramid(nn.Module):
    """The decoder of DeepLab v3 (Chen et al. 2017): atrous spatial pyramid pooling, and the scores.

    The branches are a 1x1 convolution, a 3x3 one for each of `rates`, and the image's mean with a
    1x1 convolution, each followed by activation and norm. A further 1x1 convolution joins them;
    dropout follows. The paper has `rates` 6, 12 and 18 over an output stride of 16, and twice those
    over 8. Without `rates` a place sees only itself and the image's mean.
    """

    outputs: int
    features: int = 256
    rates: Sequence[int] = (6, 12, 18)
    style: Style = Style()

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return the deepest stride."""
        return strides[:1]

    @nn.compact
    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """Take {stride: map}; return the deepest stride and its scores [batch, h, w, outputs]."""
        style, stride = self.style, max(maps)
        plain, x = style._replace(dropout=0.0, residual=0), maps[stride]
        init = INITIALIZERS[style.kernel_init]

        def pointwise(x: jax.Array, features: int, name: str) -> jax.Array:
            # A dense layer is the same as a 1x1 convolution, and a matrix product.
            return nn.Dense(features, kernel_init=init, dtype=style.dtype, name=name)(x)

        finish = functools.partial(finish_stage, style=plain, train=train, valid=valid)
        atrous = functools.partial(Conv, self.features, dtype=style.dtype, kernel_init=init)
        branches = [finish(pointwise(x, self.features, "point"))]
        for i, rate in enumerate(self.rates):
            convolve = functools.partial(atrous_conv, rate=rate)
            branches.append(finish(atrous(convolve=convolve, name=f"AtrousConv_{i}")(x)))
        mean = x.mean(axis=(1, 2), keepdims=True)
        mean = finish(pointwise(mean, self.features, "image"))
        branches.append(jnp.broadcast_to(mean, branches[0].shape))
        x = finish(pointwise(jnp.concatenate(branches, axis=-1), self.features, "projection"))
        x = nn.Dropout(style.dropout, deterministic=not train)(x)
        return stride, pointwise(x, self.outputs, "score").astype(jnp.float32)


def atrous_conv(x: jax.Array, kernel: jax.Array, rate: int) -> jax.Array:
    """Convolve [batch, height, width, channels] `same`, 3x3, `rate` pixels between two taps.

    If the map is not larger than the rate, the outer taps see only zeros: they are left out, and
    the convolution is 1x1 along that axis.
    """
    fits = [rate < size for size in x.shape[1:3]]
    rows, columns = (slice(None) if fit else slice(1, 2) for fit in fits)
    above, beside = ((rate, rate) if fit else (0, 0) for fit in fits)
    return conv(x, kernel[rows, columns], (above, beside), rate)


def network(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the DeepLab v3 of a config."""
    encoder, style = interpolating_encoder(config)
    (features,) = check_widths("model.features", (config.model.features,))
    rates = config.model.rates and check_widths("model.rates", config.model.rates)
    return Segmenter(encoder, AtrousPyramid(outputs, features, rates, style))
