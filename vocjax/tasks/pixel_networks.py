"""The networks of task 3 as a config describes them."""

from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.autoencoder import STEMS, Encoder, encoder_and_decoder
from vocjax.models.deeplab import DeepLab
from vocjax.models.fcn import FCN
from vocjax.models.layers import STYLE_FIELDS, check_fields, check_widths, style_of
from vocjax.models.segmenter import Segmenter, check_size
from vocjax.models.unet import UNet
from vocjax.tasks.task import check_encoder_and_decoder, compute_dtype

# Their fields of a config's `model`, beside target, encoder and style.
NETWORKS = {
    "mirror": ("decoder",),
    "unet": ("stem", "decoder"),
    "fcn": ("stem", "skips"),
    "deeplab": ("stem", "features", "rates"),
}


def build_model(config: ConfigDict, outputs: int) -> nn.Module:
    """Return the network that `config.model` describes, with so many logits a pixel."""
    model, dtype = config.model, compute_dtype(config)
    if model.name not in NETWORKS:
        raise UserError(f"model.name is {model.name!r}; it is one of {', '.join(NETWORKS)}.")
    check_fields(model, ("target", "encoder", *NETWORKS[model.name], *STYLE_FIELDS))
    if model.name == "mirror":
        check_encoder_and_decoder(config)
        return Segmenter(*encoder_and_decoder(model, outputs, dtype))
    if model.stem not in STEMS:
        raise UserError(f"model.stem is {model.stem!r}; it is one of {', '.join(STEMS)}.")
    check_widths("model.encoder", model.encoder)
    network = _over_encoder(model, outputs, dtype)
    check_size(network, config.data.size, config.data.size)
    return network


def _over_encoder(model: ConfigDict, outputs: int, dtype: DTypeLike) -> nn.Module:
    style = style_of(model, dtype)
    encoder = Encoder(tuple(model.encoder), style, model.stem)
    if model.name == "unet":
        check_widths("model.decoder", model.decoder)
        return UNet(encoder, outputs, tuple(model.decoder), style)
    if model.name == "fcn":
        return FCN(encoder, outputs, model.skips, style)
    check_widths("model.rates", model.rates)
    check_widths("model.features", (model.features,))
    return DeepLab(encoder, outputs, model.features, tuple(model.rates), style)
