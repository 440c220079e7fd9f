"""Task 3, ours: a wider U-Net from scratch, with dropout and stronger augmentation, at 64 pixels.

vocjax train --config segmentation_unet_wide --workdir runs/segmentation_unet_wide
"""

from ml_collections import ConfigDict

from vocjax.config import load_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = load_config("segmentation_unet")
    config.name = "U-Net, wider"
    config.epochs = 80
    config.data.augment.zoom = 0.6
    config.data.augment.colour = 0.6
    config.model.stem = "stride"
    config.model.encoder = (32, 64, 128, 256)
    config.model.decoder = (128, 64, 32)
    config.model.dropout = 0.25
    config.loss.reduction = "image"
    return config
