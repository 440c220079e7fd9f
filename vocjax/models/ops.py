"""Halving and doubling of maps, max-pooling and its inverse; the module `Conv`.

The values are XLA's, in less time on the CPU. Milliseconds of processor time on two cores, batch
32, forward and backward, with XLA and here: the last decoder layer (32x32x256 up-sampled, to 3)
625 -> 83, the one before (16x16x128, to 256) 1134 -> 342, pooling 64x64x256 724 -> 89. With stride
2 the same methods gain only where the input is 64x64x256 (a third), and lose elsewhere, so that
XLA computes it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.models.convolution import conv, xla_conv
from vocjax.models.pads import SAME, Padding, pads, sides

Known = Mapping[str, jax.Array] | None  # maps of an encoder's stages that are there already

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
            # XLA:CPU's weight gradient of a matrix product is two to five times as fast; of one
            # with more than two axes JAX makes a product of transposed copies, six times as slow.
            x = x[:, :: self.stride, :: self.stride]
            return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:3], self.features)
        padding = pads(self.padding, x, self.kernel, self.stride, self.dilation)
        if self.stride == 1:
            return conv(x, kernel, padding, self.dilation)
        return xla_conv(x, kernel, padding, self.dilation, self.stride)


# Which of the kernel's taps fall on which of two low-resolution pixels, for even and odd output
# rows: [phase, low-resolution tap, kernel tap]. An even row sees the pixel before and its own, an
# odd row its own and the pixel after.
_NEAREST_TAPS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
_TRANSPOSED_TAPS = (((0, 0, 0, 1), (0, 1, 0, 0)), ((0, 0, 1, 0), (1, 0, 0, 0)))
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column) is even (0) or odd (1)


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with stride 2, as Keras does with padding "same".

    [batch, height, width, channels] with [3, 3, channels, features], cast to x's dtype, to
    [batch, height / 2, width / 2, features], odd sizes rounded up. Zeros are added below and to the
    right of an even size, on every side of an odd one.
    """
    padding = (x.shape[1] % 2, 1), (x.shape[2] % 2, 1)
    return xla_conv(x, kernel.astype(x.dtype), padding, stride=2)


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve a nearest 2x up-sampled image with a 3x3 `same` kernel, at the low resolution.

    [batch, height, width, channels] with [3, 3, channels, features] to [batch, 2 * height,
    2 * width, features]. Every output pixel sees at most 2x2 different input pixels, so the kernel
    folds, in its own dtype, into one 2x2 kernel for each of the four output phases: 16
    multiplications where 36 would be needed.
    """
    return _conv_by_phases(x, kernel, _NEAREST_TAPS)


def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 4x4 convolution with stride 2, as Keras does with padding "same".

    [batch, height, width, channels] with [4, 4, channels, features], where Keras has [4, 4,
    features, channels], to [batch, 2 * height, 2 * width, features]. Tap [t, u] of pixel [m, n]
    adds to output pixel [2 * m + t - 1, 2 * n + u - 1]. Every output pixel gets as many terms, 2x2;
    a 3x3 kernel draws a checkerboard (Odena et al. 2016, "Deconvolution and checkerboard
    artifacts").
    """
    return _conv_by_phases(x, kernel, _TRANSPOSED_TAPS)


def _conv_by_phases(
    x: jax.Array, kernel: jax.Array, taps: tuple[tuple[tuple[int, ...], ...], ...]
) -> jax.Array:
    """Convolve with one 2x2 kernel for each of the four output phases."""
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    # One matrix for both axes: a product for each has copies of the kernel besides.
    fold = np.einsum("atu,bsv->abtsuv", taps, taps).reshape(16, -1)
    folded = jnp.asarray(fold, kernel.dtype) @ kernel.reshape(fold.shape[1], -1)
    folded = folded.reshape(2, 2, 2, 2, channels, features).astype(x.dtype)
    if 4 * features <= channels:
        # One convolution reads the wide input once; with as many features it is slower than four.
        together = folded.transpose(2, 3, 4, 0, 1, 5).reshape(2, 2, channels, 4 * features)
        y = conv(x, together, SAME).reshape(batch, height + 1, width + 1, 2, 2, features)
        return _interleave([y[:, a : a + height, b : b + width, a, b] for a, b in PHASES])
    return _interleave([conv(x, folded[a, b], ((1 - a, a), (1 - b, b))) for a, b in PHASES])


@jax.custom_vjp
def bilinear_upsample(x: jax.Array) -> jax.Array:
    """Double height and width of [batch, height, width, channels] by linear interpolation.

    The pixels' centres stay where they are (half-pixel centres, edges repeated), as in Keras'
    UpSampling2D(interpolation="bilinear"): weights 1/4 and 3/4. Differentiable in reverse mode.
    """
    for axis in (1, 2):
        wider, n = repeat_edges(x, axis), x.shape[axis]
        before, after = (jax.lax.slice_in_dim(wider, i, i + n, axis=axis) for i in (0, 2))
        pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def _bilinear_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    """Sum the gradients of each pixel's four uses; JAX's own transpose takes five times as long."""
    for axis in (2, 1):
        wider, n = repeat_edges(gradient, axis), gradient.shape[axis]
        a, b, c, d = (jax.lax.slice_in_dim(wider, i, i + n - 1, 2, axis) for i in range(4))
        gradient = 0.25 * (a + d) + 0.75 * (b + c)
    return (gradient,)


bilinear_upsample.defvjp(lambda x: (bilinear_upsample(x), None), _bilinear_backward)


def repeat_edges(x: jax.Array, axis: int, before: int = 1, after: int = 1) -> jax.Array:
    """Repeat the first and the last value of an axis.

    As `jnp.pad` with mode "edge", which also cuts the batch: of an unknown size ONNX can't.
    """
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, x.shape[axis] - 1))
    return jnp.concatenate([*[first] * before, x, *[last] * after], axis)


def max_pool(
    x: jax.Array, window: int = 2, stride: int = 2, dilation: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Maximum over square windows: [batch, height, width, channels] to fewer pixels.

    `dilation` is the distance between two values of a window. Padded values are never the maximum;
    "CEIL" pads at the end, so that a last, incomplete window keeps every value (torch's
    `ceil_mode`). The gradient of equal values is shared.

    Rows first, then columns, each by shifted slices. On the CPU the gradient takes a quarter (3x3,
    stride 2) to a tenth of the time of XLA's reduce_window's, which with dilation has none.
    """
    around = pads(padding, x, window, stride, dilation)
    x = jnp.pad(x, ((0, 0), *around, (0, 0)), constant_values=-jnp.inf)
    reach = dilation * (window - 1)
    for axis in (1, 2):
        end = max(x.shape[axis] - reach, 0)
        windows = [slice(i, i + end, stride) for i in range(0, reach + 1, dilation)]
        taps = [x[:, window] if axis == 1 else x[:, :, window] for window in windows]
        x = functools.reduce(_maximum, taps)
    return x


@jax.custom_jvp
def _maximum(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the larger values; equal ones share the gradient.

    It compares a with b. JAX compares each with the maximum, of which XLA may have other last
    digits: it can compute a and b anew for the gradient, in a loop with other multiply-adds.
    """
    return jnp.maximum(a, b)


@_maximum.defjvp
def _maximum_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    a, b = primals
    share = jnp.where(a > b, 1.0, jnp.where(a < b, 0.0, 0.5)).astype(a.dtype)
    return _maximum(a, b), share * tangents[0] + (1 - share) * tangents[1]


def max_positions(x: jax.Array) -> jax.Array:
    """Return the place of the maximum in each 2x2 window: the switches of `max_unpool`.

    [batch, height, width, channels] to [batch, height / 2, width / 2, channels] uint8, odd sizes
    rounded down: 0 top left, 1 top right, 2 bottom left, 3 bottom right; the first of equals.
    Raises ValueError at trace time for a side of 1.
    """
    height, width = x.shape[1:3]
    if min(height, width) < 2:
        raise ValueError(f"2x2 windows need 2 rows and columns; there are {height} and {width}")
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    taps = [x[:, a::2, b::2] for a, b in PHASES]
    is_peak = [
        functools.reduce(jnp.logical_and, (tap >= later for later in taps[place + 1 :]))
        for place, tap in enumerate(taps[:3])
    ]
    return jnp.select(is_peak, (0, 1, 2), 3).astype(jnp.uint8)


def max_unpool(x: jax.Array, switches: jax.Array) -> jax.Array:
    """Put every value at the place in a 2x2 window of zeros that its switch gives.

    [batch, height, width, channels] to [batch, 2 * height, 2 * width, channels], without the row or
    column that pooling dropped (Zeiler et al. 2011). Raises ValueError at trace time unless
    `switches`, of `max_positions`, have x's shape.
    """
    if switches.shape != x.shape:
        raise ValueError(f"max_unpool has values {x.shape} and switches {switches.shape}")
    return _interleave([jnp.where(switches == place, x, 0) for place in range(4)])


def to_patches(images: jax.Array, patch: int) -> jax.Array:
    """[batch, height, width, channels] to [batch, height / patch, width / patch, patch^2 c]."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    cut = images.reshape(batch, rows, patch, columns, patch, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)


def to_pixels(patches: jax.Array, patch: int) -> jax.Array:
    """Undo `to_patches`."""
    batch, rows, columns, numbers = patches.shape
    cut = patches.reshape(batch, rows, columns, patch, patch, numbers // patch**2)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * patch, columns * patch, -1)


def _interleave(corners: Sequence[jax.Array]) -> jax.Array:
    """Join the four phases of an image: top left, top right, bottom left, bottom right."""
    batch, height, width, channels = corners[0].shape
    rows = [jnp.stack(corners[:2], axis=3), jnp.stack(corners[2:], axis=3)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels)
