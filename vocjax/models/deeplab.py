"""DeepLab v3: the deepest map, seen at several scales at once."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.models.encoders import StagedEncoder, make_encoder
from vocjax.models.fields import check_widths
from vocjax.models.layers import INITIALIZERS, Style, finish_stage, style_of
from vocjax.models.ops import conv
from vocjax.models.segmenter import check_interpolated, check_size, enlarged, pyramid


class DeepLab(nn.Module):
    """DeepLab v3 (Chen et al. 2017) over any encoder; parameters under `encoder` and `decoder`.

    The paper has `rates` 6, 12 and 18 over an output stride of 16, and twice those over 8. Scores
    are enlarged to the input's size by linear interpolation.
    """

    encoder: StagedEncoder
    outputs: int
    features: int = 256
    rates: Sequence[int] = (6, 12, 18)
    style: Style = Style()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width, outputs] float32, code [batch, h, w, features]).

        Images are [batch, height, width, channels] of any size from the deepest stride on;
        `UserError` for a smaller one. `valid` [batch] is 0 for padded examples.
        """
        check_size(self, *images.shape[1:3])
        maps = pyramid(self.encoder.strides, self.encoder.stages(images, train=train, valid=valid))
        (stride, code), *_ = reversed(maps.items())
        decoder = AtrousPyramid(self.outputs, self.features, self.rates, self.style, name="decoder")
        scores = decoder(code, train=train, valid=valid)
        centred = self.encoder.centred
        return enlarged(scores, stride, *images.shape[1:3], centred=centred), code


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling, a 1x1 convolution, dropout, and the scores.

    The branches are a 1x1 convolution, a 3x3 one for each of `rates`, and the image's mean with a
    1x1 convolution, each followed by activation and norm. Where a rate is no smaller than the map
    only the middle tap is inside: the branch is a 1x1 convolution then.
    """

    outputs: int
    features: int
    rates: Sequence[int]
    style: Style

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None = None) -> jax.Array:
        """[batch, height, width, channels] to scores [batch, height, width, outputs] float32."""
        style = self.style
        plain = style._replace(dropout=0.0, residual=0)
        init = INITIALIZERS[style.kernel_init]

        def pointwise(x: jax.Array, features: int, name: str) -> jax.Array:
            # A 1x1 convolution, as what it is: a matrix product.
            return nn.Dense(features, kernel_init=init, dtype=style.dtype, name=name)(x)

        def finish(x: jax.Array) -> jax.Array:
            return finish_stage(x, plain, train=train, valid=valid)

        branches = [finish(pointwise(x, self.features, "point"))]
        branches += [finish(AtrousConv(self.features, rate, style)(x)) for rate in self.rates]
        mean = x.mean(axis=(1, 2), keepdims=True)
        mean = finish(pointwise(mean, self.features, "image"))
        branches.append(jnp.broadcast_to(mean, branches[0].shape))
        x = finish(pointwise(jnp.concatenate(branches, axis=-1), self.features, "projection"))
        x = nn.Dropout(style.dropout, deterministic=not train)(x)
        return pointwise(x, self.outputs, "score").astype(jnp.float32)


class AtrousConv(nn.Module):
    """A 3x3 `same` convolution with `rate` pixels from one tap to the next, and bias."""

    features: int
    rate: int
    style: Style

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to [batch, height, width, features]."""
        style, rate = self.style, self.rate
        init = INITIALIZERS[style.kernel_init]
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        # Of a map no larger than the rate the outer taps see zeros only, at full cost.
        fits = [rate < size for size in x.shape[1:3]]
        rows, columns = (slice(None) if fit else slice(1, 2) for fit in fits)
        above, beside = ((rate, rate) if fit else (0, 0) for fit in fits)
        y = conv(x.astype(style.dtype), kernel[rows, columns], (above, beside), rate)
        return y + bias.astype(style.dtype)


def network(config: ConfigDict, outputs: int) -> DeepLab:
    """Return the DeepLab v3 of a config."""
    model, style = config.model, style_of(config)
    check_interpolated(model.name, style)
    check_widths("model.rates", model.rates)
    check_widths("model.features", (model.features,))
    return DeepLab(make_encoder(config), outputs, model.features, tuple(model.rates), style)
