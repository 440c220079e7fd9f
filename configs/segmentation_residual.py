"""Task 3, ours: U-Net's decoder on the encoder of the residual classifier, at 64 pixels.

vocjax train --config segmentation_residual --workdir runs/segmentation_residual \
    --config.init_from=runs/classifier_residual

Without `init_from` it learns from scratch.
"""

from ml_collections import ConfigDict

from vocjax.config import load_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = load_config("segmentation_unet")
    config.name = "Residual U-Net"
    config.model.stem = "stride"
    config.model.encoder = (32, 64, 128)
    config.model.decoder = (64, 32)
    config.model.residual = 1
    return config
