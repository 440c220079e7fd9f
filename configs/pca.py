"""Task 1: linear PCA, in closed form.

vocjax train --config pca --workdir runs/pca
"""

from ml_collections import ConfigDict

from vocjax.config import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "PCA"
    config.task = "reconstruction"
    config.epochs = 0
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "pca"
    config.model.components = 128
    config.model.solver = "full"  # or streaming: one pass, for data that does not fit in memory
    config.loss.name = "mse"
    return config
