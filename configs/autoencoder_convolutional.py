"""Task 1, ours: a residual convolutional autoencoder, a code of 4x4x16 numbers.

vocjax train --config autoencoder_convolutional --workdir runs/autoencoder_convolutional
"""

from ml_collections import ConfigDict

from vocjax.config import base_config


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Convolutional autoencoder 256"
    config.task = "reconstruction"
    config.epochs = 40
    config.batch_size = 16
    config.evaluate_every_epochs = 10
    config.data.classes = ("aeroplane", "dog")
    config.data.augment.flip = True
    config.data.augment.zoom = 0.3
    config.model.name = "autoencoder"
    config.model.stem = "patch"
    config.model.encoder = (64, 128, 256)
    config.model.code = 16
    config.model.decoder = (256, 128, 64)
    config.model.start = "pca"  # or drawn
    config.model.activation = "gelu"
    config.model.norm = "none"
    config.model.norm_statistics = "debiased"
    config.model.dropout = 0.0
    config.model.residual = 1
    config.model.trunk = "linear"
    config.model.downsample = "stride"
    config.model.upsample = "transposed"
    config.model.kernel_init = "lecun_normal"
    config.loss.name = "mse"
    config.loss.noise = 0.0
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.002
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.clip_norm = 1.0
    return config
