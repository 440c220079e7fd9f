"""Task 1: an autoencoder with one linear hidden layer, trained until it spans PCA's subspace.

vocjax train --config linear_autoencoder --workdir runs/linear_autoencoder
"""

from ml_collections import ConfigDict

from vocjax.config import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Linear autoencoder"
    config.task = "reconstruction"
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "linear_autoencoder"
    config.model.components = 16
    config.model.tied = False
    config.loss.name = "mse"
    # A whole-batch gradient and a rate that falls to 0: noise would keep the network from finding
    # the last directions of the subspace.
    config.batch_size = 1024
    config.epochs = 300
    config.evaluate_every_epochs = 10
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.05
    config.optimizer.schedule = "cosine"
    return config
