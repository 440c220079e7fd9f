"""Task 1: the best reconstruction from 256 numbers: learnt filters around a cosine transform.

vocjax train --config configs/transform_autoencoder.py --workdir runs/transform_autoencoder
"""

from ml_collections import ConfigDict

from vocjax.configuration import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Transform autoencoder 256"
    config.task = "reconstruction"
    config.epochs = 60
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "transform_autoencoder"
    config.model.components = 256
    config.model.width = 64
    config.model.encoder_blocks = 2
    config.model.decoder_blocks = 3
    config.model.patch = 4
    config.loss.name = "mse"
    config.optimizer.name = "adam"
    config.optimizer.schedule = "cosine"
    return config
