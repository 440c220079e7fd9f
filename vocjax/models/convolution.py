"""Convolution, 2x up-sampling convolution and max-pooling: XLA's values, faster on the CPU.

Milliseconds of processor time on two cores, batch 32, forward and backward: the last decoder layer
(32x32x256 up-sampled, to 3) 625 -> 83, the one before (16x16x128, to 256) 1134 -> 342, the weight
gradient of 64x64x3 -> 256 336 -> 55, pooling 64x64x256 724 -> 89.
"""

import functools

import jax
import jax.numpy as jnp

Padding = tuple[tuple[int, int], tuple[int, int]]

# Which of the three kernel taps falls on which of two low-resolution pixels, for even and odd
# output rows: [phase, low-resolution tap, kernel tap].
_PHASE_TAPS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
_SAME: Padding = ((1, 1), (1, 1))


def _xla_conv(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, padding: Padding = _SAME) -> jax.Array:
    """Convolve with stride 1; differentiable in reverse mode.

    XLA:CPU computes weight gradients at a third of the speed of its matrix products, so there the
    weight gradient is one matrix product with patches of the thinner of input and output gradient.

    Args:
      x: [batch, height, width, channels].
      kernel: [kernel height, kernel width, channels, features], of x's dtype.
      padding: zeros before and after, by axis; one on every side makes a 3x3 kernel `same`.

    Returns:
      [batch, height', width', features].
    """
    return _xla_conv(x, kernel, padding)


def _conv_forward(
    x: jax.Array, kernel: jax.Array, padding: Padding
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _xla_conv(x, kernel, padding), (x, kernel)


def _conv_backward(
    padding: Padding, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def by_xla(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda k: _xla_conv(x, k, padding), kernel)[1](gradient)[0]

    def by_matrix_product(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return _kernel_gradient(x, gradient, padding, kernel.shape).astype(kernel.dtype)

    of_input = jax.vjp(lambda x: _xla_conv(x, kernel, padding), x)[1](gradient)[0]
    return of_input, jax.lax.platform_dependent(x, gradient, cpu=by_matrix_product, default=by_xla)


conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, padding: Padding, shape: tuple[int, ...]
) -> jax.Array:
    rows, columns, channels, features = shape
    taps = [(i, j) for i in range(rows) for j in range(columns)]

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
        (rows - 1 - top, rows - 1 - bottom),
        (columns - 1 - left, columns - 1 - right),
        (0, 0),
    )
    # Tap (i, j) reads the output's gradient from the other side, hence the taps in reverse.
    by_tap = product(x.reshape(-1, channels), patches(jnp.pad(gradient, around), x, taps[::-1]))
    return by_tap.reshape(channels, rows, columns, features).transpose(1, 2, 0, 3)


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve a nearest 2x up-sampled image with a 3x3 `same` kernel, at the low resolution.

    Every output pixel sees at most 2x2 different input pixels, so the 3x3 kernel folds into one
    2x2 kernel for each of the four output phases: 16 multiplications where 36 would be needed.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, channels, features]; folded in its own dtype, then cast to x's.

    Returns:
      [batch, 2 * height, 2 * width, features].
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    taps = jnp.asarray(_PHASE_TAPS, kernel.dtype)
    folded = jnp.einsum("atu,bsv,uvcf->abtscf", taps, taps, kernel).astype(x.dtype)
    if 4 * features <= channels:
        # One convolution reads the wide input once; with as many features it is slower than four.
        together = folded.transpose(2, 3, 4, 0, 1, 5).reshape(2, 2, channels, 4 * features)
        y = conv(x, together, _SAME).reshape(batch, height + 1, width + 1, 2, 2, features)
        phases = [[y[:, a : a + height, b : b + width, a, b] for b in (0, 1)] for a in (0, 1)]
    else:
        phases = [[conv(x, folded[a, b], ((1 - a, a), (1 - b, b))) for b in (0, 1)] for a in (0, 1)]
    rows = [jnp.stack(row, axis=3) for row in phases]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, features)


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2: [batch, height, width, channels] to half the size.

    The gradient of equal values is shared; XLA's reduce_window would give it to the first.
    Raises ValueError at trace time for an odd height or width.
    """
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(f"max_pool halves height and width; {x.shape[1:3]} has an odd one")
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
