"""The encoder that a config describes, the study's or a backbone, and the decoder for it."""

import jax
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice
from vocjax.models.autoencoder import STEMS, Decoder, Encoder
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Backbone
from vocjax.models.backbones.encoder import BackboneEncoder
from vocjax.models.backbones.preprocessing import Preprocessing
from vocjax.models.fields import (
    check_fields,
    check_image_poolable,
    check_widths,
    compute_dtype,
    image_shape,
)
from vocjax.models.layers import STYLE_FIELDS, style_of

# A config's fields of an encoder; `backbone` stands in the place of the study's, `OWN_FIELDS`.
ENCODER_FIELDS = (
    *("encoder", "stem", "output_stride", "code", "backbone", "norm_statistics"),
    *STYLE_FIELDS,
)
OWN_FIELDS = ("encoder", "stem", "output_stride", "code", "downsample")
BACKBONE_FIELDS = ("stem", "output_stride", "last", "fields", "preprocessing")


def make_encoder(config: ConfigDict) -> Encoder | BackboneEncoder:
    """Return the encoder of a config; `UserError` for a wrong field of its `model`."""
    model = config.model
    if "backbone" not in model:
        stem = model.get("stem", "same")
        check_choice("model.stem", stem, STEMS)
        widths, most = check_widths("model.encoder", model.encoder), model.get("output_stride", 0)
        code = model.get("code", 0)
        if type(code) is not int or code < 0:
            raise UserError(
                f"model.code is {code!r}; it is how many numbers the code has at each place, or 0 "
                "for those of the last stage."
            )
        encoder = Encoder(widths, style_of(config), stem, code)
        check_choice("model.output_stride", most, (0, *encoder.strides.values()))
        return encoder.clone(output_stride=most)
    if given := [f"model.{field}" for field in OWN_FIELDS if field in model]:
        raise UserError(
            f"the config has model.backbone and {' and '.join(given)}, of another encoder; leave "
            "either out."
        )
    backbone = _backbone(model.backbone, compute_dtype(config))
    return BackboneEncoder(backbone, _preprocessing(model.backbone))


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


def _preprocessing(config: ConfigDict) -> Preprocessing:
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


def encoder_and_decoder(
    config: ConfigDict, outputs: int
) -> tuple[Encoder | BackboneEncoder, Decoder]:
    """Return the encoder of a config and its mirror, which has `outputs` channels.

    Raises `UserError` for unknown values, for a size that can't be halved and doubled again, for
    widths that don't double as often as the encoder halves, or can't be unpooled, and for a
    backbone whose map is smaller than its stride implies, as it does not pad its convolutions.
    """
    model, encoder, style = config.model, make_encoder(config), style_of(config)
    stride = max(encoder.strides.values())
    halvings = stride.bit_length() - 1
    check_image_poolable(config, stride)
    widths = check_widths("model.decoder", model.decoder)
    patch = STEMS["patch"] if model.get("stem") == "patch" else 1
    blocks = len(model.encoder) if patch > 1 else halvings
    if len(widths) != blocks:
        raise UserError(
            f"model.decoder has {len(widths)} widths; the encoder halves the image {halvings} "
            f"times, so it takes {blocks}."
        )
    if isinstance(encoder, BackboneEncoder):
        _check_padded(encoder, stride, config)
    mirror = tuple(model.get("encoder", ())[-2::-1])
    if style.upsample == "unpool" and widths != mirror:
        raise UserError(
            f"model.decoder is {widths!r}; with model.upsample 'unpool' it has the widths that the "
            f"encoder pools, last first: set it to {mirror!r}."
        )
    return encoder, Decoder(widths, outputs, style, patch)


def _check_padded(encoder: BackboneEncoder, stride: int, config: ConfigDict) -> None:
    height, width, channels = image_shape(config)
    image = jax.ShapeDtypeStruct((1, height, width, channels), "float32")
    code, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), image)
    if code.shape[1:3] != (height // stride, width // stride):
        name = config.model.backbone.name
        raise UserError(
            f"{name} makes a map of {code.shape[1]} x {code.shape[2]} of {height} pixels, not of "
            f"{height // stride}, and a decoder that doubles it does not end at {height}. Where "
            "the network has them, set model.backbone.fields to (('padding', 'same'),) or "
            "model.backbone.stem to 'small'; or take another backbone, or a U-Net, whose decoder "
            "fits any map."
        )
