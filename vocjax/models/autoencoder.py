"""The study's convolutional encoder and decoder, and the autoencoders made of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.convolution import max_pool
from vocjax.models.layers import Conv, ConvBlock, kernel_initializer


class Encoder(nn.Module):
    """3x3 convolutions with relu; 2x2 max-pooling after each but the last.

    Filters 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    batch_norm: bool = False
    dropout: float = 0.0
    kernel_init: str = "glorot_uniform"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, filters[-1]].

        The code is smaller than the image by 2 ** (len(filters) - 1).
        """
        x = images
        for index, features in enumerate(self.filters):
            if index:
                x = max_pool(x)
            x = ConvBlock(
                features,
                batch_norm=self.batch_norm,
                dropout=self.dropout,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
            )(x, train=train, valid=valid)
        return x


class Decoder(nn.Module):
    """The encoder's mirror: nearest 2x up-sampling before each convolution but the first."""

    filters: Sequence[int]
    channels: int
    batch_norm: bool = False
    dropout: float = 0.0
    kernel_init: str = "glorot_uniform"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, code: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """[batch, height', width', features] to logits [batch, height, width, channels], float32.

        The image is larger than the code by 2 ** len(filters).
        """
        x = code
        for index, features in enumerate(self.filters):
            x = ConvBlock(
                features,
                upsample=index > 0,
                batch_norm=self.batch_norm,
                dropout=self.dropout,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
            )(x, train=train, valid=valid)
        logits = Conv(self.channels, True, self.kernel_init, self.dtype)(x)
        return logits.astype(jnp.float32)


class ConvAutoencoder(nn.Module):
    """Encoder and decoder with a sigmoid at the end; `encode` and `decode` are separate methods."""

    encoder: Encoder
    decoder: Decoder

    def encode(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features]."""
        return self.encoder(images, train=train, valid=valid)

    def decode(
        self, code: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """A code [batch, height', width', features] to images [batch, height, width, channels]."""
        return nn.sigmoid(self.decoder(code, train=train, valid=valid))

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels] in [0, 1]."""
        code = self.encode(images, train=train, valid=valid)
        return self.decode(code, train=train, valid=valid), code


class LinearAutoencoder(nn.Module):
    """One hidden layer without non-linearity: what linear PCA is when trained by gradient."""

    components: int
    image_shape: tuple[int, int, int]
    kernel_init: str = "glorot_uniform"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """One dense layer each way."""
        height, width, channels = self.image_shape
        init = kernel_initializer(self.kernel_init)
        self.encoder = nn.Dense(self.components, kernel_init=init, dtype=self.dtype)
        self.decoder = nn.Dense(height * width * channels, kernel_init=init, dtype=self.dtype)

    def encode(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to a code [batch, components]."""
        return self.encoder(images.reshape(images.shape[0], -1))

    def decode(self, code: jax.Array) -> jax.Array:
        """A code [batch, components] to images [batch, height, width, channels], float32."""
        pixels = self.decoder(code).astype(jnp.float32)
        return pixels.reshape(code.shape[0], *self.image_shape)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels]."""
        code = self.encode(images)
        return self.decode(code), code
