"""Task 1: the lecture's code of 72 numbers, 2x2x18, after a fifth pooling.

vocjax train --config autoencoder_72 --workdir runs/autoencoder_72
"""

from ml_collections import ConfigDict

from vocjax.config import base_config, study_style


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "AE 72"
    config.task = "reconstruction"
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "autoencoder"
    config.model.update(study_style())
    config.model.encoder = (256, 128, 64, 32, 32, 18)
    config.model.decoder = (32, 32, 64, 128, 256)
    config.loss.name = "mse"
    config.loss.noise = 0.0  # standard deviation of the noise on the input in training
    return config
