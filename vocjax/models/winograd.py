"""3x3 convolutions with four multiplications where nine would be needed, for wide layers.

Winograd's F(2x2, 3x3) (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"): a
tile of 4x4 inputs gives 2x2 outputs by 16 products of their sums and differences. Over all tiles
and channels these are 16 matrix products, between transforms that pass over memory: in chunks of a
few images these are passes over the cache.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.models.chunks import by_chunks, images_of
from vocjax.models.pads import SAME, padded

# Section 4.1: of inputs, of the kernel, and of outputs.
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
KERNEL = np.asarray(((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)), np.float32)
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))
# Of both axes of a kernel, [16, 9], columns first in what it makes: one product, with no loop of
# its own to compile, where one for each axis has three and copies.
BOTH = np.einsum("ai,bj->baij", KERNEL, KERNEL).reshape(16, 9)

Signs = Sequence[int]


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve [batch, height, width, channels] with [3, 3, channels, features], padded "same"."""
    return _by_sums(x, _sums(BOTH, kernel, x), summed=1)


def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the gradient of `conv`'s input from that of its output.

    It is the convolution with the kernel in reverse, from features to channels.
    """
    return _by_sums(gradient, _sums(BOTH[:, ::-1], kernel, gradient), summed=2)


def kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Return the gradient of `conv`'s kernel, float32, from its input and its output's gradient."""
    images = images_of(*x.shape[1:3])
    _, sums = by_chunks(lambda *chunk: ((), _kernel_sums(*chunk)), images, x, gradient)
    return (BOTH.T @ sums.reshape(16, -1)).reshape(3, 3, *sums.shape[1:])


def _sums(transform: np.ndarray, kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Return the 16 sums of a kernel, in the dtype of the map: [16, channels, features]."""
    sums = jnp.asarray(transform) @ kernel.reshape(9, -1)
    return sums.astype(x.dtype).reshape(16, *kernel.shape[2:])


def _by_sums(x: jax.Array, sums: jax.Array, summed: int) -> jax.Array:
    """Convolve with a kernel of which the axis `summed` of `_sums` is that of x's channels."""
    y, _ = by_chunks(lambda x: (_conv(x, sums, summed), ()), images_of(*x.shape[1:3]), x)
    return y


def _conv(x: jax.Array, sums: jax.Array, summed: int) -> jax.Array:
    batch, height, width, _ = x.shape
    x = _even(x)
    products = _product(_inputs(x), sums, (2, summed))
    tiles = products.reshape(4, 4, batch, x.shape[1] // 2, x.shape[2] // 2, -1)
    columns = [_combine(signs, tiles) for signs in OUTPUT]
    rows = [jnp.stack([_combine(signs, of) for of in columns], axis=3) for signs in OUTPUT]
    y = jnp.stack(rows, axis=2).reshape(*x.shape[:3], -1)
    return y[:, :height, :width].astype(x.dtype)


def _kernel_sums(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Return what `kernel_gradient` transforms back: [16, channels, features]."""
    x, gradient = _even(x), _even(gradient)
    spread = list(zip(*OUTPUT, strict=True))
    halves = [gradient[:, i::2] for i in range(2)]
    rows = jnp.stack([_combine(signs, halves) for signs in spread])
    halves = [rows[:, :, :, j::2] for j in range(2)]
    columns = jnp.stack([_combine(signs, halves) for signs in spread])
    return _product(_inputs(x), columns.reshape(16, -1, gradient.shape[-1]), (1, 1))


def _even(x: jax.Array) -> jax.Array:
    """Add a row and a column of zeros where their number is odd."""
    return padded(x, ((0, x.shape[1] % 2), (0, x.shape[2] % 2)))


def _inputs(x: jax.Array) -> jax.Array:
    """Return the 16 sums of each tile, along its rows and then its columns: [16, tiles, channels].

    In two steps XLA has two loops to compile, in one sixteen.
    """
    _, height, width, channels = x.shape
    x = padded(x, SAME)
    taps = [x[:, i : i + height : 2] for i in range(4)]
    rows = jnp.stack([_combine(signs, taps) for signs in INPUT])
    taps = [rows[:, :, :, j : j + width : 2] for j in range(4)]
    columns = jnp.stack([_combine(signs, taps) for signs in INPUT])
    return columns.reshape(16, -1, channels)


def _combine(signs: Signs, parts: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Add and subtract parts; a sign is 1, 0 or -1."""
    signed = [part if sign > 0 else -part for sign, part in zip(signs, parts, strict=True) if sign]
    return sum(signed[1:], signed[0])


def _product(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Multiply 16 pairs of matrices, summed over an axis of each, to float32."""
    dimensions = (axes[:1], axes[1:]), ((0,), (0,))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
