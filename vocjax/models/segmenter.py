"""What segmentation networks share, and the study's: an encoder and its mirror.

The others are decoders over any encoder that tells its stages: `FCN`, `UNet` and `DeepLab`.
"""

from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.errors import UserError
from vocjax.models.autoencoder import Decoder, Encoder
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.ops import bilinear_upsample


class StagedEncoder(Protocol):
    """A network that gives the map of each of its stages, shallow to deep, by name.

    `strides` are pixels of the image from one value of a map to the next, `channels` its features;
    both have the names of `stages`, in that order.
    """

    @property
    def strides(self) -> dict[str, int]:
        """Stride of each stage's map; never smaller than the one before."""

    @property
    def channels(self) -> dict[str, int]:
        """Features of each stage's map."""

    @property
    def centred(self) -> bool:
        """Whether what a map lacks of the image, or has beyond it, lies on both sides alike.

        Else it is at the end, where pooling drops the last row and column of an odd size.
        """

    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Images [batch, height, width, channels] to maps [batch, h, w, features]."""


class Segmenter(nn.Module):
    """The study's segmentation network; parameters stand under `encoder` and `decoder`.

    With unpooling the decoder gets the encoder's switches beside the code. The size must be one
    that the encoder's halvings divide: the decoder only doubles.
    """

    encoder: Encoder | BackboneEncoder
    decoder: Decoder

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width, decoder.channels] float32, code [batch, h, w, f]).

        Images are [batch, height, width, channels]; `UserError` for a size that can't work.
        """
        check_size(self, *images.shape[1:3])
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        return self.decoder(code, switches, train=train, valid=valid), code


def check_size(model: nn.Module, height: int, width: int) -> None:
    """Raise `UserError` with the nearest sizes that can, unless `model` can segment such images.

    `model` is a `Segmenter`, whose halvings must divide the size, or another network with an
    `encoder`, which needs one value in its deepest map.
    """
    stride = max(model.encoder.strides.values())
    step = stride if isinstance(model, Segmenter) else 1
    smaller = [max(n // step * step, stride) for n in (height, width)]
    larger = [max(-(-n // step) * step, stride) for n in (height, width)]
    if [height, width] == smaller:
        return
    rule = f"multiples of {step}" if step > 1 else f"at least {stride}"
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (smaller, larger)))
    raise UserError(
        f"images of {height}x{width} pixels can't be segmented by this network, whose encoder has "
        f"stride {stride}: height and width must be {rule}; set data.size to the nearest that "
        f"can, {nearest}."
    )


def pyramid(strides: Mapping[str, int], maps: Mapping[str, jax.Array]) -> dict[int, jax.Array]:
    """Return {stride: map}, shallow to deep, of a `StagedEncoder`: the deepest of each stride."""
    return {stride: maps[name] for name, stride in strides.items()}


def resized(x: jax.Array, height: int, width: int, *, centred: bool = True) -> jax.Array:
    """Crop [batch, h, w, channels] or repeat its edges, to [batch, height, width, channels].

    Half of it on each side, as windows without padding leave out, or all at the end; a single row
    or column always there.
    """
    for axis, size in ((1, height), (2, width)):
        missing = size - x.shape[axis]
        before = abs(missing) // 2 if centred else 0
        if missing > 0:
            around = [(before, missing - before) if i == axis else (0, 0) for i in range(4)]
            x = jnp.pad(x, around, mode="edge")
        elif missing < 0:
            x = jax.lax.slice_in_dim(x, before, before + size, axis=axis)
    return x


def enlarged(
    x: jax.Array, factor: int, height: int, width: int, *, centred: bool = True
) -> jax.Array:
    """Enlarge [batch, h, w, channels] by linear interpolation, then `resized`.

    Pixels' centres stay where they are (half-pixel centres), edges are repeated.
    """
    if factor == 2:
        x = bilinear_upsample(x)
    elif factor > 2:
        batch, h, w, channels = x.shape
        x = jax.image.resize(x, (batch, factor * h, factor * w, channels), "linear")
    return resized(x, height, width, centred=centred)
