"""Task 1: the study's convolutional autoencoder with a code of 4x4x16 numbers.

vocjax train --config autoencoder_256 --workdir runs/autoencoder_256
"""

from ml_collections import ConfigDict

from vocjax.config import base_config, study_style


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "AE 256"
    config.task = "reconstruction"
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "autoencoder"
    config.model.update(study_style())
    config.model.encoder = (256, 128, 64, 32, 16)
    config.model.decoder = (32, 64, 128, 256)
    config.loss.name = "mse"
    config.loss.noise = 0.0  # standard deviation of the noise on the input in training
    return config
