"""Halving and doubling of maps: convolutions, interpolation, max-pooling and its inverse.

Milliseconds of processor time on two cores, batch 32, forward and backward, with XLA and here: the
last decoder layer (32x32x256 up-sampled, to 3) 625 -> 83, the one before (16x16x128, to 256)
1134 -> 342, the weight gradient of 64x64x3 -> 256 336 -> 55, pooling 64x64x256 724 -> 89. With
stride 2 the same methods gain only where the input is 64x64x256 (a third), and lose elsewhere, so
that XLA computes it.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vocjax.models.ops import SAME, Padding, conv, pads, xla_conv

# Which of the kernel's taps fall on which of two low-resolution pixels, for even and odd output
# rows: [phase, low-resolution tap, kernel tap]. An even row sees the pixel before and its own, an
# odd row its own and the pixel after.
_NEAREST_TAPS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
_TRANSPOSED_TAPS = (((0, 0, 0, 1), (0, 1, 0, 0)), ((0, 0, 1, 0), (1, 0, 0, 0)))


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with stride 2, as Keras does with padding "same".

    Zeros are added below and to the right of an even size, on every side of an odd one.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, channels, features]; cast to x's dtype.

    Returns:
      [batch, height / 2, width / 2, features], odd sizes rounded up.
    """
    padding = (x.shape[1] % 2, 1), (x.shape[2] % 2, 1)
    return xla_conv(x, kernel.astype(x.dtype), padding, stride=2)


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
        y = conv(x, together, SAME).reshape(batch, height + 1, width + 1, 2, 2, features)
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
    """Sum the gradients of each pixel's four uses; JAX's own transpose takes five times as long."""
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


def max_pool(
    x: jax.Array, window: int = 2, stride: int = 2, dilation: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Maximum over square windows: [batch, height, width, channels] to fewer pixels.

    Rows first, then columns, each by shifted slices. On the CPU the gradient takes a quarter (3x3,
    stride 2) to a tenth of the time of XLA's reduce_window's, which with dilation has none. The
    gradient of equal values is shared.

    Args:
      x: [batch, height, width, channels].
      window: side of a window, in values.
      stride: distance between two windows.
      dilation: distance between two values of a window.
      padding: as of a convolution, or "CEIL": at the end, so that a last, incomplete window keeps
        every value (`ceil_mode` of torch). Padded values are never the maximum.
    """
    around = pads(padding, x, window, stride, dilation)
    x = jnp.pad(x, ((0, 0), *around, (0, 0)), constant_values=-jnp.inf)
    reach = dilation * (window - 1)
    for axis in (1, 2):
        end = max(x.shape[axis] - reach, 0)
        windows = [slice(i, i + end, stride) for i in range(0, reach + 1, dilation)]
        taps = [x[:, window] if axis == 1 else x[:, :, window] for window in windows]
        x = functools.reduce(jnp.maximum, taps)
    return x


def max_positions(x: jax.Array) -> jax.Array:
    """Return the place of the maximum in each 2x2 window: the switches of `max_unpool`.

    Args:
      x: [batch, height, width, channels]; ValueError at trace time for a side of 1.

    Returns:
      [batch, height / 2, width / 2, channels] uint8, odd sizes rounded down: 0 top left,
      1 top right, 2 bottom left, 3 bottom right; the first of equals.
    """
    height, width = x.shape[1:3]
    if min(height, width) < 2:
        raise ValueError(f"2x2 windows need 2 rows and columns; there are {height} and {width}")
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    peak = max_pool(x)
    first, second, third = (x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2])
    position = jnp.where(third == peak, 2, 3)
    position = jnp.where(second == peak, 1, position)
    return jnp.where(first == peak, 0, position).astype(jnp.uint8)


def max_unpool(x: jax.Array, switches: jax.Array) -> jax.Array:
    """Put every value at its place in a 2x2 window of zeros (Zeiler et al. 2011).

    Args:
      x: [batch, height, width, channels].
      switches: as from `max_positions`; ValueError at trace time unless they have x's shape.

    Returns:
      [batch, 2 * height, 2 * width, channels], without the row or column that pooling dropped.
    """
    if switches.shape != x.shape:
        raise ValueError(f"max_unpool has values {x.shape} and switches {switches.shape}")
    return _interleave([jnp.where(switches == place, x, 0) for place in range(4)])


def _interleave(corners: Sequence[jax.Array]) -> jax.Array:
    """Join the four phases of an image: top left, top right, bottom left, bottom right."""
    batch, height, width, channels = corners[0].shape
    rows = [jnp.stack(corners[:2], axis=3), jnp.stack(corners[2:], axis=3)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels)
