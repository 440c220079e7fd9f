"""From a config to its network: a table for each task, or a function of the user's own."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice
from vocjax.imports import import_function
from vocjax.models import classifier as classification
from vocjax.models import deeplab, fcn, linear, pca, transform, unet
from vocjax.models.autoencoder import ConvAutoencoder
from vocjax.models.encoders import ENCODER_FIELDS, encoder_and_decoder
from vocjax.models.fields import check_fields, image_shape
from vocjax.models.segmenter import Mirror, Segmenter, check_size, with_auxiliary

# Makes a network of a config, with as many outputs (channels, classes or logits of a pixel).
Build = Callable[[ConfigDict, int], nn.Module]


def mirrored(network: type[nn.Module]) -> Build:
    """Return the function that makes a network of an encoder and the decoder that mirrors it."""
    return lambda config, outputs: network(*encoder_and_decoder(config, outputs))


class Entry(NamedTuple):
    """A network: the function that makes it, and the fields that a config's `model` may have."""

    build: Build
    fields: tuple[str, ...]


# A network is called with images [batch, height, width, channels] in [0, 1], `train` and `valid`.
# It returns (reconstruction, code), and has methods `encode` and `decode`.
RECONSTRUCTION = {
    "pca": Entry(pca.network, ("components", "solver")),
    "linear_autoencoder": Entry(linear.network, ("components", "tied")),
    "autoencoder": Entry(mirrored(ConvAutoencoder), (*ENCODER_FIELDS, "decoder", "start")),
    "transform_autoencoder": Entry(transform.network, tuple(transform.FIELDS)),
}
# It returns (logits [batch, classes], code), and has the parts of `classifier.Classifier`.
CLASSIFICATION = {
    "classifier": Entry(
        classification.network, (*ENCODER_FIELDS, *classification.HEAD_FIELDS, "decoder")
    ),
}
# It returns (logits [batch, height, width, outputs], code), and the logits of an auxiliary head.
PIXEL_FIELDS = (*ENCODER_FIELDS, "target", "auxiliary")
SEGMENTATION = {
    "mirror": Entry(mirrored(Mirror), (*PIXEL_FIELDS, "decoder")),
    "unet": Entry(unet.network, (*PIXEL_FIELDS, "decoder")),
    "fcn": Entry(fcn.network, (*PIXEL_FIELDS, "skips")),
    "deeplab": Entry(deeplab.network, (*PIXEL_FIELDS, "features", "rates")),
    "deeplab_plus": Entry(deeplab.plus_network, (*PIXEL_FIELDS, "features", "rates", "low_level")),
}


def autoencoder(config: ConfigDict) -> nn.Module:
    """Return the network of a reconstruction config; `UserError` for fields that don't fit."""
    return _build(RECONSTRUCTION, config, config.data.channels)


def classifier(config: ConfigDict, outputs: int) -> nn.Module:
    """Return the network of a classification config; `UserError` for fields that don't fit."""
    return _build(CLASSIFICATION, config, outputs)


def segmenter(config: ConfigDict, outputs: int) -> nn.Module:
    """Return the network of a segmentation config; `UserError` for fields that don't fit."""
    network = with_auxiliary(_build(SEGMENTATION, config, outputs), config, outputs)
    if isinstance(network, Segmenter):
        check_size(network.encoder, *image_shape(config)[:2])
    return network


def _build(networks: Mapping[str, Entry], config: ConfigDict, outputs: int) -> nn.Module:
    model = config.model
    if ":" in model.name:
        network = import_function("model.name", model.name)(config, outputs)
        if not isinstance(network, nn.Module):
            raise UserError(f"{model.name} returned {network!r}; it must return a Flax module.")
        return network
    check_choice("model.name", model.name, networks)
    build, fields = networks[model.name]
    check_fields(model, fields)
    return build(config, outputs)
