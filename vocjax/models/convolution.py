"""Convolutions of stride 1, computed by the fastest of three forms on the CPU.

XLA's own form is chosen for most layers, and for all on other platforms. XLA:CPU computes the
weight gradient of a layer with few channels on one side at a third of the speed of its matrix
products; there one product with patches of that side is faster. Wide 3x3 layers take Winograd's
form. `python -m experiments.forms` measures all, and says where another than the chosen is faster.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax

from vocjax.models import patches, winograd
from vocjax.models.pads import SAME, Pads

Form = Callable[[jax.Array, jax.Array], jax.Array]  # one way to compute a layer or a gradient
XLA, PATCHES, WINOGRAD = "xla", "patches", "winograd"
THIN, UNEVEN = 4, 8  # so few channels or features, or so many times more of one than of the other
BROAD, TWICE = 64, 2  # so many on one side, and so many times more than on the other
WIDE = 64  # channels and features
FEW, MANY = 2, 16  # places of a batch for each of the channels or features


class Forms(NamedTuple):
    """The form of a layer's output and of its input's gradient, and its kernel's."""

    maps: str
    kernel: str


def forms_of(x: tuple[int, ...], kernel: tuple[int, ...], padding: Pads, dilation: int) -> Forms:
    """Choose the forms of a layer on the CPU from the shapes of its input and its kernel."""
    (batch, height, width, channels), (*sides, _, features) = x, kernel
    few, many = sorted((channels, features))
    places = batch * height * width
    if (sides, padding, dilation) == ([3, 3], SAME, 1) and few >= WIDE and places >= FEW * many:
        return Forms(WINOGRAD if places >= MANY * many else XLA, WINOGRAD)
    broad = many >= BROAD and many >= TWICE * few
    # XLA swaps the operands where an output is larger than its input, and takes up to 50 times as
    # long: 512 to 512 channels at 8x8, 2x2 with a zero on each side, 592 milliseconds for 11.
    grows = any(sum(pad) > dilation * (side - 1) for pad, side in zip(padding, sides, strict=True))
    patched = few <= THIN or many >= UNEVEN * few or broad or grows
    return Forms(XLA, PATCHES if patched else XLA)


def conv(x: jax.Array, kernel: jax.Array, padding: Pads = SAME, dilation: int = 1) -> jax.Array:
    """Convolve [batch, height, width, channels] with stride 1; differentiable in reverse mode.

    `kernel` [kernel height, kernel width, channels, features] is cast to x's dtype.
    """
    return _conv(x, kernel.astype(x.dtype), padding, dilation)


def xla_conv(
    x: jax.Array, kernel: jax.Array, padding: Pads, dilation: int = 1, stride: int = 1
) -> jax.Array:
    """Convolve as XLA does: [batch, h, w, channels], [kh, kw, channels / groups, features]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def on_one_cpu(here: Form, elsewhere: Form, *operands: jax.Array) -> jax.Array:
    """Compute by `here` where the only device is a CPU.

    A CPU has several devices in tests alone: they run what accelerators do. A loop over a batch
    that is split over devices would move it.
    """
    if jax.device_count() > 1:
        return elsewhere(*operands)
    return jax.lax.platform_dependent(*operands, cpu=here, default=elsewhere)


def input_gradient(form: str, padding: Pads, dilation: int, shape: tuple[int, ...]) -> Form:
    """Return `gradient(of_output, kernel)` in a form, for an input of `shape`."""
    if form == WINOGRAD:
        return winograd.input_gradient

    def by_xla(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jax.ShapeDtypeStruct(shape, gradient.dtype)
        return jax.linear_transpose(lambda x: xla_conv(x, kernel, padding, dilation), x)(gradient)[
            0
        ]

    return by_xla


def kernel_gradient(form: str, padding: Pads, dilation: int, shape: tuple[int, ...]) -> Form:
    """Return `gradient(x, of_output)` in a form, for a kernel of `shape`."""
    if form == WINOGRAD:
        return winograd.kernel_gradient
    if form == PATCHES:
        return lambda x, gradient: patches.kernel_gradient(x, gradient, padding, dilation, shape)

    def by_xla(x: jax.Array, gradient: jax.Array) -> jax.Array:
        kernel = jax.ShapeDtypeStruct(shape, x.dtype)
        return jax.linear_transpose(lambda k: xla_conv(x, k, padding, dilation), kernel)(gradient)[
            0
        ]

    return by_xla


# Jitted so that layers of the same shape are traced once; XLA puts them into the program around.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _forward(
    x: jax.Array, kernel: jax.Array, padding: Pads, dilation: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    def by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return xla_conv(x, kernel, padding, dilation)

    form = forms_of(x.shape, kernel.shape, padding, dilation).maps
    here = winograd.conv if form == WINOGRAD else by_xla
    return _on_cpu(form, here, by_xla, x, kernel), (x, kernel)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _backward(
    padding: Pads, dilation: int, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    forms = forms_of(x.shape, kernel.shape, padding, dilation)
    input_here, input_by_xla = (
        input_gradient(form, padding, dilation, x.shape) for form in (forms.maps, XLA)
    )
    kernel_here, kernel_by_xla = (
        kernel_gradient(form, padding, dilation, kernel.shape) for form in (forms.kernel, XLA)
    )
    return (
        _on_cpu(forms.maps, input_here, input_by_xla, gradient, kernel),
        _on_cpu(forms.kernel, kernel_here, kernel_by_xla, x, gradient),
    )


def _on_cpu(form: str, here: Form, by_xla: Form, *operands: jax.Array) -> jax.Array:
    if form == XLA:
        return by_xla(*operands)

    def cast(*operands: jax.Array) -> jax.Array:
        return here(*operands).astype(operands[0].dtype)

    return on_one_cpu(cast, by_xla, *operands)


_conv = jax.custom_vjp(lambda *call: _forward(*call)[0], nondiff_argnums=(2, 3))
_conv.defvjp(_forward, _backward)
