"""Convolution, resampling by two and max-pooling: XLA's values, most of them faster on the CPU.

Milliseconds of processor time on two cores, batch 32, forward and backward: the last decoder layer
(32x32x256 up-sampled, to 3) 625 -> 83, the one before (16x16x128, to 256) 1134 -> 342, the weight
gradient of 64x64x3 -> 256 336 -> 55, pooling 64x64x256 724 -> 89. With stride 2 the same tricks
gain only where the input is 64x64x256 (a third), and lose elsewhere, so that stays with XLA.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Between these XLA:CPU's weight gradient is the faster one, by up to three times at 32 -> 32.
THIN, WIDE = 4, 256 * 128  # channels or features; channels times features

Padding = tuple[tuple[int, int], tuple[int, int]]

# Which of the kernel's taps fall on which of two low-resolution pixels, for even and odd output
# rows: [phase, low-resolution tap, kernel tap]. An even row sees the pixel before and its own, an
# odd row its own and the pixel after.
_NEAREST_TAPS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
_TRANSPOSED_TAPS = (((0, 0, 0, 1), (0, 1, 0, 0)), ((0, 0, 1, 0), (1, 0, 0, 0)))
_SAME: Padding = ((1, 1), (1, 1))


def conv(x: jax.Array, kernel: jax.Array, padding: Padding = _SAME, dilation: int = 1) -> jax.Array:
    """Convolve with stride 1; differentiable in reverse mode.

    XLA:CPU computes the weight gradients of very thin and of very wide layers at a third of the
    speed of its matrix products, so there such a gradient is one matrix product with patches of the
    thinner of input and output gradient.

    Args:
      x: [batch, height, width, channels].
      kernel: [kernel height, kernel width, channels, features]; cast to x's dtype.
      padding: zeros before and after, by axis; one on every side makes a 3x3 kernel `same`.
      dilation: from one tap of the kernel to the next.

    Returns:
      [batch, height', width', features].
    """
    return _conv(x, kernel.astype(x.dtype), padding, dilation)


def _xla_conv(
    x: jax.Array, kernel: jax.Array, padding: Padding, dilation: int = 1, stride: int = 1
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, kernel: jax.Array, padding: Padding, dilation: int) -> jax.Array:
    return _xla_conv(x, kernel, padding, dilation)


def _conv_forward(
    x: jax.Array, kernel: jax.Array, padding: Padding, dilation: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _xla_conv(x, kernel, padding, dilation), (x, kernel)


def _conv_backward(
    padding: Padding,
    dilation: int,
    residuals: tuple[jax.Array, jax.Array],
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def by_xla(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda k: _xla_conv(x, k, padding, dilation), kernel)[1](gradient)[0]

    def by_matrix_product(x: jax.Array, gradient: jax.Array) -> jax.Array:
        of_kernel = _kernel_gradient(x, gradient, padding, dilation, kernel.shape)
        return of_kernel.astype(kernel.dtype)

    of_input = jax.vjp(lambda x: _xla_conv(x, kernel, padding, dilation), x)[1](gradient)[0]
    channels, features = kernel.shape[2:]
    if min(channels, features) > THIN and channels * features < WIDE:
        return of_input, by_xla(x, gradient)
    return of_input, jax.lax.platform_dependent(x, gradient, cpu=by_matrix_product, default=by_xla)


_conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, padding: Padding, dilation: int, shape: tuple[int, ...]
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


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with stride 2, as Keras does with padding "same".

    Zeros stand below and to the right of an even size, on every side of an odd one.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, channels, features]; cast to x's dtype.

    Returns:
      [batch, height / 2, width / 2, features], odd sizes rounded up.
    """
    padding = (x.shape[1] % 2, 1), (x.shape[2] % 2, 1)
    return _xla_conv(x, kernel.astype(x.dtype), padding, stride=2)


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
    return _conv_by_phases(x, kernel, _NEAREST_TAPS)


def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 4x4 convolution with stride 2, as Keras does with padding "same".

    Four is divisible by the stride, so that every output pixel gets as many terms, 2x2; a 3x3
    kernel draws a checkerboard (Odena et al. 2016, "Deconvolution and checkerboard artifacts").

    Args:
      x: [batch, height, width, channels].
      kernel: [4, 4, channels, features], where Keras has [4, 4, features, channels]; cast to x's
        dtype. Tap [t, u] of pixel [m, n] adds to output pixel [2 * m + t - 1, 2 * n + u - 1].

    Returns:
      [batch, 2 * height, 2 * width, features].
    """
    return _conv_by_phases(x, kernel, _TRANSPOSED_TAPS)


def _conv_by_phases(
    x: jax.Array, kernel: jax.Array, taps: tuple[tuple[tuple[int, ...], ...], ...]
) -> jax.Array:
    """Convolve with one 2x2 kernel for each of the four output phases."""
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    fold = jnp.asarray(taps, kernel.dtype)
    folded = jnp.einsum("atu,bsv,uvcf->abtscf", fold, fold, kernel).astype(x.dtype)
    if 4 * features <= channels:
        # One convolution reads the wide input once; with as many features it is slower than four.
        together = folded.transpose(2, 3, 4, 0, 1, 5).reshape(2, 2, channels, 4 * features)
        y = conv(x, together, _SAME).reshape(batch, height + 1, width + 1, 2, 2, features)
        return _interleave(
            [y[:, a : a + height, b : b + width, a, b] for a in (0, 1) for b in (0, 1)]
        )
    return _interleave(
        [
            conv(x, folded[a, b], ((1 - a, a), (1 - b, b)))
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))
        ]
    )


@jax.custom_vjp
def bilinear_upsample(x: jax.Array) -> jax.Array:
    """Double height and width of [batch, height, width, channels] by linear interpolation.

    The pixels' centres stay where they are (half-pixel centres, edges repeated), as in Keras'
    UpSampling2D(interpolation="bilinear"): weights 1/4 and 3/4. Differentiable in reverse mode.
    """
    for axis in (1, 2):
        wider, n = _with_edges(x, axis), x.shape[axis]
        before, after = (jax.lax.slice_in_dim(wider, i, i + n, axis=axis) for i in (0, 2))
        pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def _bilinear_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    """Add what each pixel gave to four; JAX's own transpose takes five times as long."""
    for axis in (2, 1):
        wider, n = _with_edges(gradient, axis), gradient.shape[axis]
        a, b, c, d = (
            jax.lax.slice_in_dim(wider, i, i + n - 1, stride=2, axis=axis) for i in range(4)
        )
        gradient = 0.25 * (a + d) + 0.75 * (b + c)
    return (gradient,)


bilinear_upsample.defvjp(lambda x: (bilinear_upsample(x), None), _bilinear_backward)


def _with_edges(x: jax.Array, axis: int) -> jax.Array:
    """Repeat the first and the last value of an axis."""
    return jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)], mode="edge")


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2: [batch, height, width, channels] to half the size.

    The last row and column of an odd size are dropped, as by Keras' padding "valid". The gradient
    of equal values is shared; XLA's reduce_window would give it to the first.
    Raises ValueError at trace time for a height or width of 1.
    """
    x = _even(x)
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def max_positions(x: jax.Array) -> jax.Array:
    """Where the maximum of each 2x2 window is: the switches of `max_unpool`.

    Args:
      x: [batch, height, width, channels]; sizes as in `max_pool`.

    Returns:
      [batch, height / 2, width / 2, channels] uint8, odd sizes rounded down: 0 top left,
      1 top right, 2 bottom left, 3 bottom right; the first of equals.
    """
    x = _even(x)
    peak = max_pool(x)
    first, second, third = (x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2])
    position = jnp.where(third == peak, 2, 3)
    position = jnp.where(second == peak, 1, position)
    return jnp.where(first == peak, 0, position).astype(jnp.uint8)


def max_unpool(x: jax.Array, switches: jax.Array) -> jax.Array:
    """Put every value at its place in a 2x2 window of zeros (Zeiler et al. 2011).

    Args:
      x: [batch, height, width, channels].
      switches: as `max_positions` gives them; ValueError at trace time where not of x's shape.

    Returns:
      [batch, 2 * height, 2 * width, channels], without the row or column that pooling dropped.
    """
    if switches.shape != x.shape:
        raise ValueError(f"max_unpool has values {x.shape} and switches {switches.shape}")
    return _interleave([jnp.where(switches == place, x, 0) for place in range(4)])


def _interleave(corners: Sequence[jax.Array]) -> jax.Array:
    """Weave the four phases of an image, top left, top right, bottom left, bottom right."""
    batch, height, width, channels = corners[0].shape
    rows = [jnp.stack(corners[:2], axis=3), jnp.stack(corners[2:], axis=3)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels)


def _even(x: jax.Array) -> jax.Array:
    """Drop the last row and column of an odd size."""
    height, width = x.shape[1:3]
    if min(height, width) < 2:
        raise ValueError(f"2x2 windows need 2 rows and columns; there are {height} and {width}")
    return x[:, : height // 2 * 2, : width // 2 * 2]
