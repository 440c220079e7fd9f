"""What backbones share: the contract, and convolutions with batch norm."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from vocjax.errors import UserError, check_choice
from vocjax.models.depthwise import depthwise_conv
from vocjax.models.norm import BatchNorm
from vocjax.models.ops import KERNEL_INIT, Conv, Known
from vocjax.models.pads import Padding, pads, sides


class Norm(NamedTuple):
    """Constants of a batch norm: the decay of its running statistics, and what the root holds."""

    momentum: float
    epsilon: float


TORCH_NORM = Norm(momentum=0.9, epsilon=1e-5)
KERAS_NORM = Norm(momentum=0.99, epsilon=1e-3)


class Sampling(NamedTuple):
    """How a stage samples: the one layer that may stride has `stride` and dilation `before`.

    The layers that follow in the stage have dilation `after`.
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

    With the same parameters the maps keep all values of the strided network, except where padding
    reaches, and gain the values between them. Pad a layer that has lost its stride with "SAME": its
    windows are then centred, even if those of the strided layer were not.
    """
    total, dilation, samplings = 1, 1, []
    for stride in strides:
        kept = math.gcd(stride, max(output_stride // total, 1))
        samplings.append(Sampling(kept, dilation, dilation * (stride // kept)))
        total, dilation = total * kept, samplings[-1].after
    return samplings


class Backbone(nn.Module):
    """A network without its head. The parameters of a stage are under the stage's name.

    A subclass has a `plan`, makes a `stage` and, if it has fields of its own, says their `choices`.

    - `output_stride`, 8, 16 or 32: the largest stride; strides beyond it become dilation, with the
      same parameters. A network with smaller strides does not change.
    - `stem`: "imagenet", or "small" for images of 64 pixels and less: the first convolution has
      stride 1 and there is no first max-pool; the parameters' shapes are the same.
    - `last`: the name of the last stage, for weights that are pretrained only so far; "" for all.
    - `dtype` of the computation; parameters are float32.

    Raises `UserError` for a value that is not one of a field's.
    """

    output_stride: int = 32
    stem: str = "imagenet"
    last: str = ""
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields."""
        check_choice("output_stride", self.output_stride, (8, 16, 32))
        for field, choices in (("stem", ("imagenet", "small")), *self.choices):
            check_choice(field, getattr(self, field), choices)
        super().__post_init__()
        if self.last:
            check_choice("last", self.last, self.plan)

    @property
    def choices(self) -> Sequence[tuple[str, Collection[str]]]:
        """(field, its values) of the fields that a subclass adds."""
        return ()

    @property
    def plan(self) -> dict[str, tuple[int, int]]:
        """(stride, channels) of every stage, shallow to deep, without regard to output_stride."""
        raise NotImplementedError

    @property
    def centred(self) -> bool:
        """Whether a map of an odd size is centred on the image, as after overlapping windows."""
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
        plan = self.plan
        names = list(plan)
        end = names.index(self.last) + 1 if self.last else len(names)
        return {name: plan[name] for name in names[:end]}

    def stage(self, name: str, sampling: Sampling) -> Callable[..., jax.Array]:
        """Make the stage `name`, called with its input, `train` and `valid`; for `stages` only."""
        raise NotImplementedError

    @nn.compact
    def stages(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Images [batch, height, width, channels], pre-processed, to every stage's map.

        They are shallow to deep, [batch, height / stride, width / stride, channels], rounded as in
        the reference network. (`jax.jit` sorts a dict's keys; `strides` keeps the order.) `valid`
        [batch] is 0 for padded examples, which the batch statistics of `train` leave out. A stage
        whose map is `known` does not run.

        Raises `UserError` at trace time for images so small that a stage has no value.
        """
        x, maps = images, {}
        for name, sampling in self.sampling.items():
            if known and name in known:
                x = maps[name] = known[name]
            else:
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

    With `features` None the convolution is depthwise and has no bias.
    """

    features: int | None
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    dilation: int = 1
    padding: Padding = "SAME"
    bias: bool = False
    norm: Norm = TORCH_NORM
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """[batch, height, width, channels] to [batch, height', width', features].

        `valid` [batch] is 0 for padded examples, which the statistics leave out.
        """
        sampling = (self.kernel, self.stride, self.dilation, self.padding)
        if self.features is None:
            x = DepthwiseConv(*sampling, self.dtype, name="conv")(x)
        else:
            x = Conv(self.features, *sampling, self.bias, self.dtype, name="conv")(x)
        norm = BatchNorm(**self.norm._asdict(), dtype=self.dtype, name="norm")
        x = norm(x, use_running_average=not train, valid=valid)
        return x if self.activation is None else self.activation(x)
