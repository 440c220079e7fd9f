"""The gradient of a convolution's kernel as one matrix product with patches of its thinner side."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vocjax.models.pads import Pads, padded


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, padding: Pads, dilation: int, shape: tuple[int, ...]
) -> jax.Array:
    """Return the gradient [rows, columns, channels, features], float32, of a kernel of `shape`.

    `x` [batch, height, width, channels] is the input, `gradient` [batch, height', width', features]
    the output's; the stride is 1.
    """
    rows, columns, channels, features = shape
    down, across = (range(0, dilation * side, dilation) for side in (rows, columns))
    if channels <= features:
        patches = _patches(padded(x, padding), gradient.shape, down, across)
        by_tap = _product(patches, gradient.reshape(-1, features))
        return by_tap.reshape(columns, rows, channels, features).swapaxes(0, 1)
    (top, bottom), (left, right) = padding
    below, beside = down[-1], across[-1]
    around = (below - top, below - bottom), (beside - left, beside - right)
    # Tap (i, j) reads the output's gradient from the other side, so the taps are in reverse.
    patches = _patches(padded(gradient, around), x.shape, down[::-1], across[::-1])
    by_tap = _product(x.reshape(-1, channels), patches)
    return by_tap.reshape(channels, columns, rows, features).transpose(2, 1, 0, 3)


def _patches(
    wider: jax.Array, like: tuple[int, ...], down: Sequence[int], across: Sequence[int]
) -> jax.Array:
    """Return what each tap of a place reads: [places, columns * rows * channels].

    In two steps XLA has two loops to compile, in one as many as there are taps.
    """
    _, height, width, _ = like
    rows = jnp.concatenate([wider[:, i : i + height] for i in down], axis=-1)
    taps = jnp.concatenate([rows[:, :, j : j + width] for j in across], axis=-1)
    return taps.reshape(-1, taps.shape[-1])


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a.T, b, preferred_element_type=jnp.float32)
