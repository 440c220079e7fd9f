"""Convolutions: XLA's values, many of them faster on the CPU; and the one module `Conv`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

# Between these XLA:CPU's weight gradient is the faster one, by up to three times at 32 -> 32.
THIN, WIDE = 4, 256 * 128  # channels or features; channels times features

Pads = tuple[tuple[int, int], tuple[int, int]]  # zeros before and after, by axis
Padding = int | str | Pads  # an integer: zeros on every side; or "SAME", "VALID" or "CEIL"
SAME: Pads = ((1, 1), (1, 1))  # of a 3x3 kernel

KERNEL_INIT = nn.initializers.he_normal()  # He et al. 2015, "Delving deep into rectifiers"


class Conv(nn.Module):
    """A convolution: `kernel` [height, width, channels, features] and, if `bias`, `bias`.

    `kernel` is the side of a square or (height, width). An integer as `padding` is for dilation 1
    and grows with the dilation. `convolve(x, kernel)`, if given, computes the convolution; it then
    decides on stride, dilation and padding. Parameters are float32; `dtype` is the computation's.
    """

    features: int
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    bias: bool = True
    dtype: DTypeLike = jnp.float32
    kernel_init: nn.initializers.Initializer = KERNEL_INIT
    convolve: Callable[[jax.Array, jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        shape = (*sides(self.kernel), x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = (self.convolve or self._windows)(x.astype(self.dtype), kernel)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)

    def _windows(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        kernel = kernel.astype(x.dtype)
        if kernel.shape[:2] == (1, 1) and self.padding in ("SAME", "VALID", 0):
            # XLA:CPU's weight gradient of a matrix product is two to five times as fast.
            return x[:, :: self.stride, :: self.stride] @ kernel[0, 0]
        padding = pads(self.padding, x, self.kernel, self.stride, self.dilation)
        return xla_conv(x, kernel, padding, self.dilation, self.stride)


def conv(x: jax.Array, kernel: jax.Array, padding: Pads = SAME, dilation: int = 1) -> jax.Array:
    """Convolve with stride 1; differentiable in reverse mode.

    XLA:CPU computes the weight gradients of very thin and of very wide layers at a third of the
    speed of its matrix products. For such layers the gradient is one matrix product with patches of
    the thinner one of input and output gradient.

    Args:
      x: [batch, height, width, channels].
      kernel: [kernel height, kernel width, channels, features]; cast to x's dtype.
      padding: zeros before and after, by axis; one on every side makes a 3x3 kernel `same`.
      dilation: distance between two taps of the kernel.

    Returns:
      [batch, height', width', features].
    """
    return _conv(x, kernel.astype(x.dtype), padding, dilation)


def xla_conv(
    x: jax.Array,
    kernel: jax.Array,
    padding: Pads,
    dilation: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> jax.Array:
    """Convolve as XLA does: [batch, h, w, channels], [kh, kw, channels / groups, features]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _conv_backward(
    padding: Pads,
    dilation: int,
    residuals: tuple[jax.Array, jax.Array],
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def by_xla(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda k: xla_conv(x, k, padding, dilation), kernel)[1](gradient)[0]

    def by_matrix_product(x: jax.Array, gradient: jax.Array) -> jax.Array:
        of_kernel = _kernel_gradient(x, gradient, padding, dilation, kernel.shape)
        return of_kernel.astype(kernel.dtype)

    of_input = jax.vjp(lambda x: xla_conv(x, kernel, padding, dilation), x)[1](gradient)[0]
    channels, features = kernel.shape[2:]
    if min(channels, features) > THIN and channels * features < WIDE:
        return of_input, by_xla(x, gradient)
    return of_input, jax.lax.platform_dependent(x, gradient, cpu=by_matrix_product, default=by_xla)


_conv = jax.custom_vjp(
    lambda x, kernel, padding, dilation: xla_conv(x, kernel, padding, dilation),
    nondiff_argnums=(2, 3),
)
_conv.defvjp(
    lambda x, kernel, padding, dilation: (xla_conv(x, kernel, padding, dilation), (x, kernel)),
    _conv_backward,
)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, padding: Pads, dilation: int, shape: tuple[int, ...]
) -> jax.Array:
    rows, columns, channels, features = shape
    taps = [(dilation * i, dilation * j) for i in range(rows) for j in range(columns)]

    def patches(padded: jax.Array, like: jax.Array, taps: list[tuple[int, int]]) -> jax.Array:
        height, width = like.shape[1:3]
        cuts = [padded[:, i : i + height, j : j + width] for i, j in taps]
        return jnp.concatenate(cuts, axis=-1).reshape(-1, len(taps) * padded.shape[-1])

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a.T, b, preferred_element_type=jnp.float32)

    (top, bottom), (left, right) = padding
    if channels <= features:
        padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        return product(patches(padded, gradient, taps), gradient.reshape(-1, features)).reshape(
            shape
        )
    around = (
        (0, 0),
        (taps[-1][0] - top, taps[-1][0] - bottom),
        (taps[-1][1] - left, taps[-1][1] - right),
        (0, 0),
    )
    # Tap (i, j) reads the output's gradient from the other side, hence the taps in reverse.
    by_tap = product(x.reshape(-1, channels), patches(jnp.pad(gradient, around), x, taps[::-1]))
    return by_tap.reshape(channels, rows, columns, features).transpose(1, 2, 0, 3)


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, padding: Pads
) -> jax.Array:
    """Convolve every channel by itself.

    XLA:CPU computes grouped convolutions slowly: milliseconds of processor time at 56x56x128, batch
    8, forward, input gradient, weight gradient: 79, 80, 282, and as a sum of shifted products 6, 3,
    70. With stride 2: 23, 322, 66 and 4, 3, 11.

    Args:
      x: [batch, height, width, channels].
      kernel: [rows, columns, 1, channels]; cast to x's dtype.
      stride: distance between two windows.
      dilation: distance between two taps of the kernel.
      padding: zeros before and after, by axis.

    Returns:
      [batch, height', width', channels].
    """

    def grouped(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return xla_conv(x, kernel, padding, dilation, stride, groups=x.shape[-1])

    def shifted(x: jax.Array, kernel: jax.Array) -> jax.Array:
        rows, columns = kernel.shape[:2]
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        height = x.shape[1] - dilation * (rows - 1)
        width = x.shape[2] - dilation * (columns - 1)
        y = jnp.zeros((), x.dtype)
        for row, column in np.ndindex(rows, columns):
            top, left = row * dilation, column * dilation
            window = x[:, top : top + height : stride, left : left + width : stride]
            y = y + window * kernel[row, column]
        return y

    kernel = kernel.astype(x.dtype)
    return jax.lax.platform_dependent(x, kernel, cpu=shifted, default=grouped)


def pads(
    padding: Padding, x: jax.Array, window: int | tuple[int, int], stride: int, dilation: int
) -> Pads:
    """Return how many values a `padding` adds before and after each spatial axis of `x`."""
    if not isinstance(padding, int | str):
        return padding
    rows, columns = (
        _pads_of_axis(padding, size, dilation * (side - 1) + 1, stride, dilation)
        for size, side in zip(x.shape[1:3], sides(window), strict=True)
    )
    return rows, columns


def _pads_of_axis(
    padding: int | str, size: int, reach: int, stride: int, dilation: int
) -> tuple[int, int]:
    if isinstance(padding, int):
        return padding * dilation, padding * dilation
    if padding == "CEIL":
        return 0, -(size - reach) % stride
    (pair,) = jax.lax.padtype_to_pads((size,), (reach,), (stride,), padding)
    return pair


def sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a kernel."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel
