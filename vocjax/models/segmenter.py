"""What segmentation networks share, and the study's: an encoder and its mirror.

The others are decoders over any encoder that tells its stages: `FCN`, `UNet` and `DeepLab`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.autoencoder import Decoder, encoder_and_decoder
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.encoders import Encoder
from vocjax.models.layers import Style
from vocjax.models.ops import bilinear_upsample


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


def mirror(config: ConfigDict, outputs: int) -> Segmenter:
    """Return the study's segmentation network as a config describes it."""
    return Segmenter(*encoder_and_decoder(config, outputs))


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


def check_interpolated(name: str, style: Style) -> None:
    """Raise `UserError` unless `style` enlarges as the network `name` does: linearly."""
    if style.upsample != "bilinear":
        raise UserError(
            f"model.upsample is {style.upsample!r}; {name} enlarges scores by linear "
            "interpolation: set it to 'bilinear', or model.name to 'mirror' or 'unet'."
        )
