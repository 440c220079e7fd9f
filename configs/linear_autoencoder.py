"""Task 1: an autoencoder with one linear hidden layer, which mimics PCA.

vocjax train --config configs/linear_autoencoder.py --workdir runs/linear_autoencoder
"""

from ml_collections import ConfigDict

from vocjax.configuration import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Linear autoencoder"
    config.task = "reconstruction"
    config.epochs = 50
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "linear_autoencoder"
    config.model.components = 128
    config.loss.name = "mse"
    config.optimizer.name = "adam"
    return config
