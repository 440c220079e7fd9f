"""Convolution blocks with Keras 2's constants."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.errors import UserError
from vocjax.models.convolution import conv, upsample_conv

INITIALIZERS = {
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras 2's default
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "he_normal": nn.initializers.he_normal(),
}


def kernel_initializer(name: str) -> nn.initializers.Initializer:
    """Return the kernel initialiser of that name; `UserError` names the choices."""
    if name not in INITIALIZERS:
        raise UserError(
            f"there is no kernel initialiser {name!r}; model.kernel_init is one of "
            f"{', '.join(INITIALIZERS)}."
        )
    return INITIALIZERS[name]


class Conv(nn.Module):
    """A 3x3 `same` convolution with bias, after nearest 2x up-sampling where asked.

    Parameters `kernel` [3, 3, channels, features] and `bias` [features] are float32; the
    computation runs in `dtype`.
    """

    features: int
    upsample: bool = False
    kernel_init: str = "glorot_uniform"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        kernel = self.param(
            "kernel",
            kernel_initializer(self.kernel_init),
            (3, 3, x.shape[-1], self.features),
            jnp.float32,
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x = x.astype(self.dtype)
        y = upsample_conv(x, kernel) if self.upsample else conv(x, kernel.astype(self.dtype))
        return y + bias.astype(self.dtype)


class ConvBlock(nn.Module):
    """Convolution and relu, then batch norm and dropout where asked (the study's run 5).

    Batch norm has Keras 2's constants (momentum .99, epsilon 1e-3); padded examples take no part
    in its statistics.
    """

    features: int
    upsample: bool = False
    batch_norm: bool = False
    dropout: float = 0.0
    kernel_init: str = "glorot_uniform"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None = None) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features].

        `valid` [batch] is 0 for the padded examples of a partial batch.
        """
        x = nn.relu(Conv(self.features, self.upsample, self.kernel_init, self.dtype)(x))
        if self.batch_norm:
            mask = None if valid is None else (valid > 0)[:, None, None, None]
            x = nn.BatchNorm(
                use_running_average=not train, momentum=0.99, epsilon=1e-3, dtype=self.dtype
            )(x, mask=mask)
        if self.dropout:
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x


def check_widths(field: str, widths: Sequence[int]) -> None:
    """Raise `UserError` unless `widths` is one or more positive integers."""
    fits = isinstance(widths, tuple) and widths and all(type(w) is int and w > 0 for w in widths)
    if not fits:
        raise UserError(f"{field} is {widths!r}; it is a tuple of positive integers, (256, 128).")


def check_poolable(size: int, pools: int) -> None:
    """Raise `UserError` with the nearest valid sizes unless `pools` halvings divide `size`."""
    step = 2**pools
    if size % step or size < step:
        below = size // step * step
        nearest = f"{below} or {below + step}" if below > 0 else f"{step}"
        raise UserError(
            f"data.size={size} can't be halved {pools} times; the nearest sizes that can are "
            f"{nearest} (multiples of {step})."
        )
