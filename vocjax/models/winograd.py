"""3x3 convolutions with four multiplications where nine would be needed, for wide layers.

Winograd's F(2x2, 3x3) (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"): a
tile of 4x4 inputs gives 2x2 outputs by 16 products of their sums and differences. Over all tiles
and channels these are 16 matrix products, between transforms that pass over memory.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.models.pads import SAME, padded

# Section 4.1: of inputs, of the kernel, and of outputs.
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
KERNEL = np.asarray(((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)), np.float32)
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

Signs = Sequence[int]


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve [batch, height, width, channels] with [3, 3, channels, features], padded "same"."""
    batch, height, width, _ = x.shape
    x = _even(x)
    sums = jnp.einsum("ai,bj,ijcf->abcf", KERNEL, KERNEL, kernel).astype(x.dtype)
    products = _product(_inputs(x), sums.reshape(16, *kernel.shape[2:]), (2, 1))
    tiles = products.reshape(4, 4, batch, x.shape[1] // 2, x.shape[2] // 2, -1)
    rows = [_combine(signs, tiles) for signs in OUTPUT]
    corners = [jnp.stack([_combine(signs, row) for signs in OUTPUT], axis=3) for row in rows]
    y = jnp.stack(corners, axis=2).reshape(*x.shape[:3], -1)
    return y[:, :height, :width].astype(x.dtype)


def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the gradient of `conv`'s input from that of its output."""
    return conv(gradient, kernel[::-1, ::-1].swapaxes(2, 3))


def kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Return the gradient of `conv`'s kernel, float32, from its input and its output's gradient."""
    x, gradient = _even(x), _even(gradient)
    halves = [[gradient[:, a::2, b::2] for a in (0, 1)] for b in (0, 1)]  # by column, row
    columns = [[_combine(signs, of) for of in halves] for signs in zip(*OUTPUT, strict=True)]
    spread = [_combine(signs, of) for of in columns for signs in zip(*OUTPUT, strict=True)]
    tiles = jnp.stack(spread).reshape(16, -1, gradient.shape[-1])
    sums = _product(_inputs(x), tiles, (1, 1)).reshape(4, 4, x.shape[-1], gradient.shape[-1])
    return jnp.einsum("ai,bj,abcf->ijcf", KERNEL, KERNEL, sums)


def _even(x: jax.Array) -> jax.Array:
    """Add a row and a column of zeros where their number is odd."""
    return padded(x, ((0, x.shape[1] % 2), (0, x.shape[2] % 2)))


def _inputs(x: jax.Array) -> jax.Array:
    """Return the 16 sums of each tile: [16, tiles, channels]."""
    _, height, width, channels = x.shape
    x = padded(x, SAME)
    taps = [x[:, i : i + height : 2] for i in range(4)]
    found = []
    for signs in INPUT:
        row = _combine(signs, taps)
        across = [row[:, :, j : j + width : 2] for j in range(4)]
        found += [_combine(signs, across) for signs in INPUT]
    return jnp.stack(found).reshape(16, -1, channels)


def _combine(signs: Signs, parts: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Add and subtract parts; a sign is 1, 0 or -1."""
    signed = [part if sign > 0 else -part for sign, part in zip(signs, parts, strict=True) if sign]
    return sum(signed[1:], signed[0])


def _product(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Multiply 16 pairs of matrices, summed over an axis of each, to float32."""
    dimensions = (axes[:1], axes[1:]), ((0,), (0,))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
