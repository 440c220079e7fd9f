"""An autoencoder around a fixed linear code: learnt filters before and after a cosine transform.

The code is that of transform coding: the cosine coefficients of largest training variance. Two
convolutional networks on images are learnt: one changes an image before it is transformed, the
other restores what the transform lost. Both treat every place alike, so that a few hundred images
are enough to train them, and begin as the identity: training starts at the error of the linear
code. In evaluation the code is then moved down the gradient of the image's
reconstruction error (Kim et al. 2018, "Semi-amortized variational autoencoders").
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_range
from vocjax.models import dct
from vocjax.models.dct import DCTState
from vocjax.models.fields import check_components, compute_dtype, image_shape
from vocjax.models.layers import Style, resizing_conv
from vocjax.models.ops import to_patches, to_pixels

# The transform is orthonormal: without the decoder's filter one step of 1 would be exact.
STEP = 0.3
# A config's fields of `model`, and their smallest values.
FIELDS = dict.fromkeys(("components", "width", "patch"), 1)
FIELDS |= dict.fromkeys(("encoder_blocks", "decoder_blocks", "refinements"), 0)


class Filter(nn.Module):
    """Residual 3x3 convolutions on the patches of an image; their output is added to the image.

    Patches of `patch` x `patch` pixels become `width` features, then `blocks` times
    x + conv(gelu(conv(x))), then pixels again. Each sum's last convolution begins at 0 (Zhang et
    al. 2019, "Fixup initialization").
    """

    width: int
    blocks: int
    patch: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] in [0, 1] to the same shape, float32."""

        def convolve(x: jax.Array, features: int, kernel_init: str) -> jax.Array:
            style = Style(kernel_init=kernel_init, dtype=self.dtype)
            return resizing_conv(features, "same", style)(x)

        x = convolve(to_patches(2 * images - 1, self.patch), self.width, "he_normal")
        for _ in range(self.blocks):
            x = x + convolve(nn.gelu(convolve(x, self.width, "he_normal")), self.width, "zeros")
        numbers = self.patch**2 * images.shape[-1]
        return to_pixels(convolve(nn.gelu(x), numbers, "zeros"), self.patch).astype(jnp.float32)


class TransformAutoencoder(nn.Module):
    """Filter, cosine coefficients, filter: images to codes of `components` numbers and back.

    The statistics `mean` and `selected` are the coefficients that the code has; they come from
    `with_code` and are not trained.
    """

    components: int
    image_shape: tuple[int, int, int]
    width: int
    encoder_blocks: int
    decoder_blocks: int
    patch: int
    refinements: int  # gradient steps that `encode` takes after the first guess
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declare the two filters and the code's statistics."""
        self.encoder = Filter(self.width, self.encoder_blocks, self.patch, self.dtype)
        self.decoder = Filter(self.width, self.decoder_blocks, self.patch, self.dtype)
        statistic = functools.partial(self.variable, "batch_stats")
        self.mean = statistic("mean", jnp.zeros, self.image_shape)
        self.selected = statistic("selected", jnp.zeros, (self.components,), jnp.int32)

    def encode(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] in [0, 1] to codes [batch, components]."""
        code = self.guess(images)
        for _ in range(self.refinements):
            decode = TransformAutoencoder.decode
            decoded, pull_back = nn.vjp(decode, self, code, vjp_variables=False)
            code -= STEP * pull_back(decoded - images)[-1]
        return code

    def guess(self, images: jax.Array) -> jax.Array:
        """Encode without refinement, as in training."""
        return dct.encode(self._code(), images + self.encoder(images))

    def decode(self, code: jax.Array) -> jax.Array:
        """Codes [batch, components] to images [batch, height, width, channels], not clipped."""
        smooth = dct.decode(self._code(), code)
        return smooth + self.decoder(smooth)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code); except in training, images are clipped to [0, 1]."""
        code = self.guess(images) if train else self.encode(images)
        image = self.decode(code)
        return image if train else image.clip(0, 1), code

    def _code(self) -> DCTState:
        return DCTState(self.mean.value, self.selected.value)


def network(config: ConfigDict, outputs: int) -> TransformAutoencoder:
    """Return the autoencoder around a cosine code that a config describes."""
    for field, least in FIELDS.items():
        check_range(f"model.{field}", config.model[field], least)
    check_components(config)
    shape, dtype = image_shape(config), compute_dtype(config)
    for field, size in zip(("size", "width"), shape[:2], strict=True):
        if size % config.model.patch:
            raise UserError(
                f"data.{field}={size} is no multiple of model.patch={config.model.patch}."
            )
    values = {field: config.model[field] for field in FIELDS}
    return TransformAutoencoder(image_shape=shape, dtype=dtype, **values)


def with_code(variables: dict[str, Any], state: DCTState) -> dict[str, Any]:
    """Return a `TransformAutoencoder`'s variables with the coefficients that a fit chose."""
    return variables | {"batch_stats": state._asdict()}
