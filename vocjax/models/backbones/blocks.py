"""What backbones share: the contract, convolutions with batch norm, pooling, and heads."""

import functools
import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.errors import UserError
from vocjax.models.backbones.depthwise import Pads, depthwise_conv

OUTPUT_STRIDES = (8, 16, 32)
STEMS = ("imagenet", "small")

Padding = int | str | Pads  # zeros on every side, "SAME", "VALID", or before and after, by axis
Activation = Callable[[jax.Array], jax.Array]

KERNEL_INIT = nn.initializers.he_normal()  # He et al. 2015, "Delving deep into rectifiers"


class Norm(NamedTuple):
    """Constants of a batch norm: the decay of its running statistics, and what the root holds."""

    momentum: float
    epsilon: float


TORCH_NORM = Norm(momentum=0.9, epsilon=1e-5)
KERAS_NORM = Norm(momentum=0.99, epsilon=1e-3)


class Sampling(NamedTuple):
    """How a stage samples: its one layer that may stride has `stride` and dilation `before`.

    The layers of the stage after that one have dilation `after`.
    """

    stride: int
    before: int
    after: int

    @property
    def nominal(self) -> int:
        """The stride without regard to the output stride."""
        return self.stride * self.after // self.before


def atrous(strides: Sequence[int], output_stride: int) -> list[Sampling]:
    """Turn the strides beyond `output_stride` into dilation (Chen et al. 2017, section 3.1).

    With the same parameters every value of the strided network is still there, but where padding
    reaches, and the values between them. A layer that has lost its stride is to be padded "SAME":
    its windows are then centred, whatever the strided layer's were.
    """
    total, dilation, samplings = 1, 1, []
    for stride in strides:
        kept = math.gcd(stride, max(output_stride // total, 1))
        samplings.append(Sampling(kept, dilation, dilation * (stride // kept)))
        total, dilation = total * kept, samplings[-1].after
    return samplings


class Backbone(nn.Module):
    """A network without its head. Parameters of a stage lie under the stage's name.

    A subclass has a `plan` and makes a `stage`; variants differ as its own docstring says.

    - `output_stride`, 8, 16 or 32: the largest stride; what is beyond becomes dilation, with the
      same parameters. A network that does not get that far is as it is.
    - `stem`: "imagenet", or "small" for images of 64 pixels and less, where the first convolution
      has stride 1 and the first max-pool is left out; the parameters' shapes are the same.
    - `last`: the stage that ends it, as where weights are pretrained no further; empty for all.
    - `dtype` of the computation; parameters are float32.

    Raises `UserError` for any other `output_stride` or `stem`, and a `last` that is no stage.
    """

    output_stride: int = 32
    stem: str = "imagenet"
    last: str = ""
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Refuse what no backbone knows."""
        check_choice("output_stride", self.output_stride, OUTPUT_STRIDES)
        check_choice("stem", self.stem, STEMS)
        super().__post_init__()
        check_choice("last", self.last, ("", *self.plan))

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage, shallow to deep, without regard to output_stride."""
        raise NotImplementedError

    @property
    def centred(self) -> bool:
        """Whether what the maps lack of an image lies on both sides alike, or at its end.

        It does where windows overlap; 2x2 pooling drops the last row and column of an odd size.
        """
        return True

    @property
    def sampling(self) -> dict[str, Sampling]:
        """How each stage samples at this output stride."""
        plan = self._kept()
        strides = [stride for stride, _ in plan.values()]
        return dict(zip(plan, atrous(strides, self.output_stride), strict=True))

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value to the next, in every stage's map."""
        steps = [sampling.stride for sampling in self.sampling.values()]
        return {name: math.prod(steps[: i + 1]) for i, name in enumerate(self.sampling)}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of every stage's map."""
        return {name: channels for name, (_, channels) in self._kept().items()}

    def _kept(self) -> dict[str, tuple[int, int]]:
        """The plan as far as `last`."""
        names = list(self.plan)
        end = names.index(self.last) if self.last else len(names) - 1
        return {name: self.plan[name] for name in names[: end + 1]}

    def stage(self, name: str, sampling: Sampling) -> Callable[..., jax.Array]:
        """Make the stage `name`, called with its input, `train` and `valid`; for `stages` only."""
        raise NotImplementedError

    @nn.compact
    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Map of every stage, shallow to deep: [batch, height / stride, width / stride, channels].

        Heights and widths are rounded as the reference network rounds them. `jax.jit` gives the
        dict back with its keys sorted; `strides` and `channels` keep the order.

        Args:
          images: [batch, height, width, channels], normalised as the weights want it.
          train: normalise by the batch and move the running statistics, in "batch_stats".
          valid: [batch], 0 for padded examples, which take no part in the statistics.

        Raises `UserError` at trace time for images so small that a stage has no value.
        """
        x, maps = images, {}
        for name, sampling in self.sampling.items():
            x = maps[name] = self.stage(name, sampling)(x, train=train, valid=valid)
            if 0 in x.shape[1:3]:
                height, width = images.shape[1:3]
                raise UserError(
                    f"images of {height}x{width} pixels leave {type(self).__name__} nothing to see "
                    f"in its stage {name}; make them larger, or set stem to 'small'."
                )
        return maps

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Return the deepest stage's map of images [batch, height, width, channels]."""
        *_, deepest = self.stages(images, train=train, valid=valid).values()
        return deepest


class Conv(nn.Module):
    """A convolution: `kernel` [height, width, channels, features] and, where wanted, `bias`.

    `kernel` is the side of a square or (height, width); a number as `padding` is for dilation 1 and
    grows with it.
    """

    features: int
    kernel: int | tuple[int, int]
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features]."""
        shape = (*sides(self.kernel), x.shape[-1], self.features)
        kernel = self.param("kernel", KERNEL_INIT, shape, jnp.float32).astype(self.dtype)
        y = self._convolve(x.astype(self.dtype), kernel)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if kernel.shape[:2] == (1, 1) and self.padding in ("SAME", "VALID", 0):
            # XLA:CPU's weight gradient of a matrix product is two to five times as fast.
            return x[:, :: self.stride, :: self.stride] @ kernel[0, 0]
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride, self.stride),
            padding=pads(self.padding, x, self.kernel, self.stride, self.dilation),
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class DepthwiseConv(nn.Module):
    """A convolution of every channel by itself: `kernel` [height, width, 1, channels], no bias."""

    kernel: int | tuple[int, int] = 3
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', channels]."""
        shape = (*sides(self.kernel), 1, x.shape[-1])
        kernel = self.param("kernel", KERNEL_INIT, shape, jnp.float32)
        padding = pads(self.padding, x, self.kernel, self.stride, self.dilation)
        return depthwise_conv(x.astype(self.dtype), kernel, self.stride, self.dilation, padding)


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation (None for none); parameters under `conv` and `norm`.

    `features` None makes the convolution depthwise, which then has no bias.
    """

    features: int | None
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    bias: bool = False
    norm: Norm = TORCH_NORM
    activation: Activation | None = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features].

        `valid` [batch] is 0 for padded examples, which take no part in the statistics.
        """
        sampling = (self.kernel, self.stride, self.dilation, self.padding)
        if self.features is None:
            x = DepthwiseConv(*sampling, self.dtype, name="conv")(x)
        else:
            x = Conv(self.features, *sampling, self.bias, self.dtype, name="conv")(x)
        norm = nn.BatchNorm(**self.norm._asdict(), dtype=self.dtype, name="norm")
        mask = None if valid is None else (valid > 0)[:, None, None, None]
        x = norm(x, use_running_average=not train, mask=mask)
        return x if self.activation is None else self.activation(x)


def max_pool(
    x: jax.Array, window: int, stride: int, dilation: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Maximum over square windows: [batch, height, width, channels] to fewer pixels.

    Rows first, then columns, each by shifted slices. On the CPU the gradient takes a quarter (3x3,
    stride 2) to a tenth of the time of XLA's reduce_window's, which with dilation has none. The
    gradient of equal values is shared.

    Args:
      x: [batch, height, width, channels].
      window: side of a window, in values.
      stride: from one window to the next.
      dilation: from one value of a window to the next.
      padding: as of a convolution, or "CEIL": after the end, so that the last window may be cut
        off and no value is left out (`ceil_mode` of torch). What is padded is never the maximum.
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


def pads(
    padding: Padding, x: jax.Array, window: int | tuple[int, int], stride: int, dilation: int
) -> Pads:
    """Return the values before and after each spatial axis of `x` that a `padding` stands for."""
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


def check_choice(field: str, value: object, choices: Collection[object]) -> None:
    """Raise `UserError` unless a backbone's field has one of its choices."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise UserError(f"a backbone has no {field} {value!r}; set it to one of {known}.")
