"""Encoders with stages: the study's, and which one a config describes, that or a backbone."""

from collections.abc import Sequence
from typing import Protocol

import jax
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Backbone
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.backbones.preprocessing import Preprocessing
from vocjax.models.fields import check_fields, check_widths, compute_dtype
from vocjax.models.layers import STYLE_FIELDS, ConvBlock, Style, style_of
from vocjax.models.resampling import max_pool, max_positions

Switches = tuple[jax.Array, ...]  # of each pooling, the first one first; empty without unpooling
STEMS = ("same", "stride")
# A config's fields of an encoder; `backbone` stands in the place of the study's, `OWN_FIELDS`.
ENCODER_FIELDS = ("encoder", "stem", "backbone", *STYLE_FIELDS)
OWN_FIELDS = ("encoder", "stem", "downsample")
BACKBONE_FIELDS = ("stem", "output_stride", "last", "fields", "preprocessing")


class StagedEncoder(Protocol):
    """An encoder that decoders can use: it gives the map of each of its stages, by name.

    `strides` and `channels` have the names of `stages`, shallow to deep.
    """

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next; they never decrease."""

    @property
    def channels(self) -> dict[str, int]:
        """Features of each stage's map."""

    @property
    def centred(self) -> bool:
        """Whether a map of an odd size is centred on the image.

        If not, it begins where the image begins, as after pooling that drops the last row and
        column of an odd size.
        """

    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Images [batch, height, width, channels] to maps [batch, h, w, features]."""


class Encoder(nn.Module):
    """The study's encoder: a convolution block for each width, halving before each but the first.

    A stage is what lies between two halvings. With `stem` "stride" the first convolution halves
    too. Pooling drops the last row and column of an odd size, strides
    round it up.

    Widths 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    style: Style = Style()
    stem: str = "same"

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        first = 2 if self.stem == "stride" else 1
        return {f"stage{i + 1}": first * 2**i for i in range(len(self.filters))}

    @property
    def channels(self) -> dict[str, int]:
        """Features of each stage's map."""
        return dict(zip(self.strides, self.filters, strict=True))

    @property
    def centred(self) -> bool:
        """Whether a map of an odd size is centred on the image: only strides do this."""
        return self.style.downsample == "stride"

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, filters[-1]].

        h and w are height and width divided by the last stride.
        """
        return self.with_switches(images, train=train, valid=valid)[0]

    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Return the map of stage1, stage2, ... before it is halved; the last one is the code.

        They are [batch, height / stride, width / stride, features].
        """
        maps, _ = self._run(images, train, valid)
        return dict(zip(self.strides, maps, strict=True))

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Switches]:
        """Return (code, switches) of images; the switches are those of `max_positions`.

        They are the places of the maxima in the image: two bits for every pooled value, which a
        decoder that unpools gets in addition to the code.
        """
        maps, switches = self._run(images, train, valid)
        return maps[-1], switches

    @nn.compact
    def _run(
        self, images: jax.Array, train: bool, valid: jax.Array | None
    ) -> tuple[list[jax.Array], Switches]:
        style, x = self.style, images
        maps: list[jax.Array] = []
        switches: list[jax.Array] = []
        for index, features in enumerate(self.filters):
            sampling = self.stem
            if index:
                sampling = "same" if style.downsample == "pool" else "stride"
            if index and style.downsample == "pool":
                if min(x.shape[1:3]) < 2:
                    height, width = images.shape[1:3]
                    raise UserError(
                        f"images of {height}x{width} pixels can't be pooled {index} times; make "
                        "them larger, or give the encoder fewer widths."
                    )
                if style.upsample == "unpool":
                    switches.append(max_positions(x))
                x = max_pool(x, padding="VALID")
            x = ConvBlock(features, sampling, style)(x, train=train, valid=valid)
            maps.append(x)
        return maps, tuple(switches)


def make_encoder(config: ConfigDict) -> Encoder | BackboneEncoder:
    """Return the encoder of a config; `UserError` for a wrong field of its `model`."""
    model = config.model
    if "backbone" not in model:
        stem = model.get("stem", "same")
        check_choice("model.stem", stem, STEMS)
        return Encoder(check_widths("model.encoder", model.encoder), style_of(config), stem)
    if given := [f"model.{field}" for field in OWN_FIELDS if field in model]:
        raise UserError(
            f"the config has model.backbone and {' and '.join(given)}, of another encoder; leave "
            "either out."
        )
    backbone = _backbone(model.backbone, compute_dtype(config))
    return BackboneEncoder(backbone, preprocessing_of(model.backbone))


def _backbone(config: ConfigDict, dtype: DTypeLike) -> Backbone:
    if config.name not in BACKBONES:
        raise UserError(
            f"model.backbone.name is {config.name!r}; it is one of {', '.join(BACKBONES)}. To "
            "begin with weights that `vocjax weights import` wrote, name their directory as "
            "init_from."
        )
    check_fields(config, BACKBONE_FIELDS)
    chosen = {field: config[field] for field in ("stem", "output_stride", "last")}
    try:
        return BACKBONES[config.name](dtype=dtype, **chosen, **dict(config.fields)).backbone
    except (TypeError, ValueError) as error:
        raise UserError(
            f"model.backbone.fields is {config.fields!r}, which {config.name} does not know "
            f"({error}); it is (name, value) pairs, of the weights' origin: (('variant', 'keras'),)"
        ) from error


def preprocessing_of(config: ConfigDict) -> Preprocessing:
    """Return the pre-processing that a config's `model.backbone` describes."""
    values = dict(config.preprocessing)
    fits = set(values) == set(Preprocessing._fields) and all(
        len(values[field]) == 3 for field in ("mean", "scale")
    )
    if not fits:
        raise UserError(
            f"model.backbone.preprocessing is {values!r}; it is order, white, and the three "
            "channels' mean and scale."
        )
    return Preprocessing(**values)
