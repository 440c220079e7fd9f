"""The networks of task 3 as a config describes them."""

from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.deeplab import DeepLab
from vocjax.models.fcn import FCN
from vocjax.models.layers import STYLE_FIELDS, check_fields, check_widths, style_of
from vocjax.models.segmenter import Segmenter, check_size
from vocjax.models.unet import UNet
from vocjax.tasks.encoders import ENCODERS, encoder_and_decoder, make_encoder
from vocjax.tasks.task import compute_dtype

# Their fields of a config's `model`, beside target and style.
NETWORKS = {
    "mirror": (*ENCODERS, "decoder"),
    "unet": (*ENCODERS, "decoder"),
    "fcn": (*ENCODERS, "skips"),
    "deeplab": (*ENCODERS, "features", "rates"),
}


def build_model(config: ConfigDict, outputs: int) -> nn.Module:
    """Return the network that `config.model` describes, with so many logits a pixel."""
    model = config.model
    if model.name not in NETWORKS:
        raise UserError(f"model.name is {model.name!r}; it is one of {', '.join(NETWORKS)}.")
    check_fields(model, ("target", *NETWORKS[model.name], *STYLE_FIELDS))
    if model.name == "mirror":
        return Segmenter(*encoder_and_decoder(config, outputs))
    network = _over_encoder(config, outputs)
    check_size(network, config.data.size, config.data.size)
    return network


def _over_encoder(config: ConfigDict, outputs: int) -> nn.Module:
    model, encoder = config.model, make_encoder(config)
    style = style_of(model, compute_dtype(config))
    if model.name == "unet":
        check_widths("model.decoder", model.decoder)
        return UNet(encoder, outputs, tuple(model.decoder), style)
    if style.upsample != "bilinear":
        raise UserError(
            f"model.upsample is {style.upsample!r}; {model.name} enlarges scores by linear "
            "interpolation: set it to 'bilinear', or model.name to 'mirror' or 'unet'."
        )
    if model.name == "fcn":
        return FCN(encoder, outputs, model.skips, style)
    check_widths("model.rates", model.rates)
    check_widths("model.features", (model.features,))
    return DeepLab(encoder, outputs, model.features, tuple(model.rates), style)
