"""The gradient of a convolution's kernel as one matrix product with patches of its thinner side."""

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
    taps = [(dilation * i, dilation * j) for i in range(rows) for j in range(columns)]

    def patches(wider: jax.Array, like: jax.Array, taps: list[tuple[int, int]]) -> jax.Array:
        height, width = like.shape[1:3]
        cuts = [wider[:, i : i + height, j : j + width] for i, j in taps]
        return jnp.concatenate(cuts, axis=-1).reshape(-1, len(taps) * wider.shape[-1])

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a.T, b, preferred_element_type=jnp.float32)

    (top, bottom), (left, right) = padding
    if channels <= features:
        by_tap = product(
            patches(padded(x, padding), gradient, taps), gradient.reshape(-1, features)
        )
        return by_tap.reshape(shape)
    below, beside = taps[-1]
    around = (below - top, below - bottom), (beside - left, beside - right)
    # Tap (i, j) reads the output's gradient from the other side, so the taps are in reverse.
    by_tap = product(x.reshape(-1, channels), patches(padded(gradient, around), x, taps[::-1]))
    return by_tap.reshape(channels, rows, columns, features).transpose(1, 2, 0, 3)
