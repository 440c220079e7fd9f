"""What segmentation networks share, and the study's network: an encoder and its mirror.

The other networks are a `Segmenter` each, with a decoder of their own: `unet`, `fcn`, `deeplab`.
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice
from vocjax.models.autoencoder import Decoder, Encoder
from vocjax.models.auxiliary import AuxiliaryHead
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.encoders import make_encoder
from vocjax.models.fields import check_poolable
from vocjax.models.layers import Style, style_of
from vocjax.models.ops import Known, bilinear_upsample, repeat_edges


class Mirror(nn.Module):
    """The study's segmentation network; its parameters are under `encoder` and `decoder`.

    With unpooling the decoder gets the encoder's switches, too. It only doubles, so the encoder's
    stride must divide the size of the images.
    """

    encoder: Encoder | BackboneEncoder
    decoder: Decoder

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logits [batch, height, width, decoder.channels] float32, code [batch, h, w, f]).

        Images are [batch, height, width, channels]; `UserError` for a size that does not fit.
        """
        for size in images.shape[1:3]:
            check_poolable(size, max(self.encoder.strides.values()))
        code, switches = self.encoder.with_switches(images, train=train, valid=valid)
        return self.decoder(code, switches, train=train, valid=valid), code


class StagedEncoder(Protocol):
    """An encoder that gives the map of each of its stages by name, shallow to deep."""

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next; they never decrease."""

    @property
    def modules(self) -> dict[str, str]:
        """The path of each stage's parameters, seen from the encoder."""

    @property
    def centred(self) -> bool:
        """Whether a map of an odd size is centred on the image; if not, both begin together."""

    def stages(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Images [batch, height, width, channels] to maps [batch, h, w, features].

        A stage whose map is `known` does not run.
        """


class MapDecoder(Protocol):
    """A decoder of maps, a Linen module, for `Segmenter`."""

    def reads(self, strides: Sequence[int]) -> Sequence[int]:
        """Return those of an encoder's strides, deep to shallow, whose maps it reads."""

    def __call__(
        self, maps: dict[int, jax.Array], *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[int, jax.Array]:
        """{stride: map [batch, h, w, features]}, shallow to deep, to (stride, scores).

        The scores [batch, h, w, outputs] float32 have one of the strides.
        """


class Segmenter(nn.Module):
    """A decoder of maps over any encoder; their parameters are under `encoder` and `decoder`.

    The decoder gets the deepest map of each stride. Its scores are enlarged to the images' size by
    linear interpolation. An `auxiliary` head reads one of these maps, too.
    """

    encoder: StagedEncoder
    decoder: MapDecoder
    auxiliary: AuxiliaryHead | None = None

    def __call__(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> tuple[jax.Array, ...]:
        """Return (logits [batch, height, width, outputs] float32, code [batch, h, w, features]).

        With an auxiliary head its logits, alike, are the third. Images are [batch, height, width,
        channels] of any size from the deepest stride on;
        `UserError` for a smaller one. `valid` [batch] is 0 for padded examples. A stage of the
        encoder whose map is `known` does not run, and none that only leads to it.
        """
        height, width = images.shape[1:3]
        check_size(self.encoder, height, width)
        maps = self.encoder.stages(images, known, train=train, valid=valid)
        by_stride = {stride: maps[name] for name, stride in self.encoder.strides.items()}
        stride, scores = self.decoder(by_stride, train=train, valid=valid)
        centred, code = self.encoder.centred, by_stride[max(by_stride)]
        logits = enlarged(scores, stride, height, width, centred=centred)
        if self.auxiliary is None:
            return logits, code
        stride = self.auxiliary.stride
        scores = self.auxiliary(by_stride[stride], train=train, valid=valid)
        return logits, code, enlarged(scores, stride, height, width, centred=centred)

    def maps(self, images: jax.Array, names: Sequence[str]) -> dict[str, jax.Array]:
        """Return the maps of some stages of the encoder in evaluation mode, to be `known` later."""
        maps = self.encoder.stages(images)
        return {name: maps[name] for name in names}

    def settled(self, frozen: frozenset[str]) -> tuple[str, ...]:
        """Return the stages whose maps are all that is read of the encoder's frozen beginning.

        `frozen` are the paths of modules whose parameters stand still, as "encoder/backbone/conv1".
        The stages are the last one before anything learns, and before it the deepest one of each
        stride that the decoder or the auxiliary head reads.
        """
        strides, modules = self.encoder.strides, self.encoder.modules
        if "encoder" not in frozen:
            still = itertools.takewhile(lambda s: f"encoder/{modules[s]}" in frozen, strides)
            strides = {name: strides[name] for name in still}
        deepest = {stride: name for name, stride in strides.items()}
        read = {*self.decoder.reads(sorted(set(self.encoder.strides.values()), reverse=True))}
        read |= {self.auxiliary.stride} if self.auxiliary else set()
        last = list(strides)[-1:]
        return tuple(name for s, name in deepest.items() if s in read or name in last)


def with_auxiliary(network: nn.Module, config: ConfigDict, outputs: int) -> nn.Module:
    """Return a network with the auxiliary head that `model.auxiliary` asks for, 0 for none.

    Raises `UserError` for a stride that the encoder has not, and for the study's network.
    """
    stride = config.model.get("auxiliary", 0)
    if not stride:
        return network
    if not isinstance(network, Segmenter):
        raise UserError(
            f"model.auxiliary is {stride}, and {config.model.name} has no auxiliary head; set it "
            "to 0, or model.name to unet, fcn, deeplab or deeplab_plus."
        )
    check_choice("model.auxiliary", stride, (0, *sorted(set(network.encoder.strides.values()))))
    return network.clone(auxiliary=AuxiliaryHead(outputs, stride, style_of(config)))


def interpolating_encoder(config: ConfigDict) -> tuple[StagedEncoder, Style]:
    """Return encoder and style of a config whose network enlarges scores by interpolation.

    Raises `UserError` for another `model.upsample` than bilinear, and as `make_encoder` does.
    """
    style = style_of(config)
    if style.upsample != "bilinear":
        raise UserError(
            f"model.upsample is {style.upsample!r}; {config.model.name} enlarges scores by linear "
            "interpolation: set it to 'bilinear', or model.name to 'mirror' or 'unet'."
        )
    return make_encoder(config), style


def check_size(encoder: StagedEncoder, height: int, width: int) -> None:
    """Raise `UserError` for images so small that the encoder's deepest map has no value."""
    stride = max(encoder.strides.values())
    if min(height, width) < stride:
        raise UserError(
            f"images of {height}x{width} pixels can't be segmented by this network, whose encoder "
            f"has stride {stride}: height and width must be at least {stride}; set data.size to "
            f"{stride} or more."
        )


def resized(x: jax.Array, height: int, width: int, *, centred: bool = True) -> jax.Array:
    """Crop [batch, h, w, channels] or repeat its edges, to [batch, height, width, channels].

    If `centred`, half of the change is on each side, as after windows without padding, and a single
    row or column at the end; otherwise all of it is at the end.
    """
    for axis, size in ((1, height), (2, width)):
        missing = size - x.shape[axis]
        before = abs(missing) // 2 if centred else 0
        if missing > 0:
            x = repeat_edges(x, axis, before, missing - before)
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
