"""Task 1, ours: learnt filters before and after a cosine transform, 256 numbers.

vocjax train --config transform_autoencoder --workdir runs/transform_autoencoder

`vocjax experiments run ladder_reconstruction` measures what each part of it brings.
"""

from ml_collections import ConfigDict

from vocjax.config import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Transform autoencoder 256"
    config.task = "reconstruction"
    config.epochs = 80
    config.evaluate_every_epochs = 10
    config.data.classes = ("aeroplane", "dog")
    config.data.augment.flip = True
    config.data.augment.zoom = 0.4
    config.model.name = "transform_autoencoder"
    config.model.components = 256
    config.model.width = 64
    config.model.encoder_blocks = 2
    config.model.decoder_blocks = 3
    config.model.patch = 4
    config.model.refinements = 10
    config.loss.name = "mse"
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.clip_norm = 1.0
    return config
