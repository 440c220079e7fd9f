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
from vocjax.models.ops import max_pool, max_positions

Switches = tuple[jax.Array, ...]  # of each pooling, the first one first; empty without unpooling
STEMS = ("same", "stride")
# A config's fields of an encoder; `backbone` stands in the place of the study's, `OWN_FIELDS`.
ENCODER_FIELDS = ("encoder", "stem", "backbone", *STYLE_FIELDS)
OWN_FIELDS = ("encoder", "stem", "downsample")
BACKBONE_FIELDS = ("stem", "output_stride", "last", "fields", "preprocessing")


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


class Encoder(nn.Module):
    """A convolution block for each width; halving before each but the first.

    With `stem` "stride" the first convolution halves, too. A stage is what comes between two
    halvings. Pooling drops the last row and column of an odd size, strides round it up.

    Widths 256-128-64-32-16 on 64x64x3 give the study's code of 4x4x16 numbers (AE 256, 399,088
    parameters); 256-128-64-32 give 8x8x32 (AE 2048, 394,464 parameters).
    """

    filters: Sequence[int]
    style: Style = Style()
    stem: str = "same"

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, filters[-1]].

        The code is smaller than the image by 2 ** (len(filters) - 1), twice that for a stride.
        """
        return self.with_switches(images, train=train, valid=valid)[0]

    def stages(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Return every stage's map before it is halved, shallow to deep; the last is the code.

        They are named stage1, stage2, ..., and [batch, height / strides, width / strides, channels]
        in size.
        """
        maps, _ = self._run(images, train, valid)
        return dict(zip(self.strides, maps, strict=True))

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        first = 2 if self.stem == "stride" else 1
        return {f"stage{i + 1}": first * 2**i for i in range(len(self.filters))}

    @property
    def centred(self) -> bool:
        """Whether maps of an odd size lie over the image's middle: those of strides do."""
        return self.style.downsample == "stride"

    @property
    def channels(self) -> dict[str, int]:
        """Features of every stage's map."""
        return dict(zip(self.strides, self.filters, strict=True))

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Switches]:
        """Return (code, switches) of images; the switches are of `max_positions`, for unpooling.

        They tell where in the image the maxima were: two bits for every pooled value, which a
        decoder then has beside the code's numbers.
        """
        maps, switches = self._run(images, train, valid)
        return maps[-1], switches

    @nn.compact
    def _run(
        self, images: jax.Array, train: bool, valid: jax.Array | None
    ) -> tuple[list[jax.Array], Switches]:
        """Return (every stage's map, switches)."""
        style, x = self.style, images
        maps: list[jax.Array] = []
        switches: list[jax.Array] = []
        for index, features in enumerate(self.filters):
            sampling = "stride" if index and style.downsample == "stride" else "same"
            sampling = sampling if index else self.stem
            if index and style.downsample == "pool":
                if style.upsample == "unpool":
                    switches.append(max_positions(x))
                x = max_pool(x)
            x = ConvBlock(features, sampling, style)(x, train=train, valid=valid)
            maps.append(x)
        return maps, tuple(switches)


def make_encoder(config: ConfigDict) -> Encoder | BackboneEncoder:
    """Return the encoder of a config; `UserError` where the fields of its `model` are none."""
    model = config.model
    if "backbone" not in model:
        check_widths("model.encoder", model.encoder)
        stem = model.get("stem", "same")
        check_choice("model.stem", stem, STEMS)
        return Encoder(tuple(model.encoder), style_of(config), stem)
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
