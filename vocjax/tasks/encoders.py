"""The encoder that a config describes: the study's, or a backbone."""

import math

import jax
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.autoencoder import STEMS, Decoder, Encoder
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Backbone
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.backbones.preprocessing import Preprocessing
from vocjax.models.layers import check_fields, check_poolable, check_widths, style_of
from vocjax.tasks.task import compute_dtype

ENCODERS = ("encoder", "stem", "backbone")  # the last stands in the place of the others
BACKBONE_FIELDS = ("stem", "output_stride", "last", "fields", "preprocessing")
# Of the study's encoder alone; where there is a decoder, it has the rest of the style.
ENCODER_FIELDS = ("encoder", "stem", "downsample")


def make_encoder(config: ConfigDict) -> Encoder | BackboneEncoder:
    """Return the encoder of a config; `UserError` where the fields of its `model` are none."""
    model, dtype = config.model, compute_dtype(config)
    if "backbone" not in model:
        check_widths("model.encoder", model.encoder)
        stem = model.get("stem", "same")
        if stem not in STEMS:
            raise UserError(f"model.stem is {stem!r}; it is one of {', '.join(STEMS)}.")
        return Encoder(tuple(model.encoder), style_of(model, dtype), stem)
    if given := [f"model.{field}" for field in ENCODER_FIELDS if field in model]:
        raise UserError(
            f"the config has model.backbone and {' and '.join(given)}, of another encoder; leave "
            "either out."
        )
    return BackboneEncoder(_backbone(model.backbone, dtype), preprocessing_of(model.backbone))


def encoder_and_decoder(
    config: ConfigDict, outputs: int
) -> tuple[Encoder | BackboneEncoder, Decoder]:
    """Return the two halves that a config describes, the decoder with so many outputs a pixel.

    Raises `UserError` for unknown values, for a size that can't be halved and doubled again, for
    widths that don't double as often as the encoder halves, or can't be unpooled, and for a
    backbone whose map is smaller than its stride says, as it doesn't pad its convolutions.
    """
    model, encoder = config.model, make_encoder(config)
    style = style_of(model, compute_dtype(config))
    halvings = math.log2(max(encoder.strides.values()))
    check_poolable(config.data.size, int(halvings))
    check_widths("model.decoder", model.decoder)
    if len(model.decoder) != halvings:
        raise UserError(
            f"model.decoder has {len(model.decoder)} widths; the encoder halves the image "
            f"{halvings:g} times, so it takes {halvings:g}."
        )
    if isinstance(encoder, BackboneEncoder):
        _check_padded(encoder, config)
    if style.upsample == "unpool":
        mirror = tuple(model.get("encoder", ())[-2::-1])
        if tuple(model.decoder) != mirror:
            raise UserError(
                f"model.decoder is {tuple(model.decoder)!r}; with model.upsample 'unpool' it has "
                f"the widths that the encoder pools, last first: set it to {mirror!r}."
            )
    return encoder, Decoder(tuple(model.decoder), outputs, style)


def _check_padded(encoder: BackboneEncoder, config: ConfigDict) -> None:
    size, stride = config.data.size, max(encoder.strides.values())
    image = jax.ShapeDtypeStruct((1, size, size, config.data.channels), "float32")
    code, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), image)
    if code.shape[1] * stride != size:
        name = config.model.backbone.name
        raise UserError(
            f"{name} makes a map of {code.shape[1]} x {code.shape[2]} of {size} pixels, not of "
            f"{size // stride}, and a decoder that doubles it does not end at {size}. Where the "
            "network has them, set model.backbone.fields to (('padding', 'same'),) or "
            "model.backbone.stem to 'small'; or take another backbone, or a U-Net, whose decoder "
            "fits any map."
        )


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
