"""Task 3: the study's run 4, soft Dice over the batch with Adam, from scratch on grey images.

vocjax train --config configs/segmentation_dice.py --workdir runs/segmentation_dice

The honest protocol: masks resized by nearest neighbour, void excluded from loss and metrics.
"""

from ml_collections import ConfigDict

from vocjax.configuration import base_config
from vocjax.models.layers import study_style


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Segmentation, soft Dice"
    config.task = "segmentation"
    config.data.image_set = "Segmentation"
    config.data.channels = 1
    config.model.name = "segmenter"
    config.model.update(study_style())
    config.model.encoder = (256, 128, 64, 32, 16)
    config.model.decoder = (32, 64, 128, 256)
    config.loss.name = "soft_dice"
    config.loss.reduction = "batch"
    config.loss.smoothing = 0.0
    config.optimizer.name = "adam"
    return config
