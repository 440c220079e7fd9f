"""Task 3, ours: U-Net's decoder on the encoder of the convolutional autoencoder or classifier.

vocjax train --config segmentation_convolutional --workdir runs/segmentation_convolutional \
    --config.init_from=runs/classifier_convolutional

Without `init_from` it learns from scratch.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Convolutional segmenter"
    config.epochs = 12
    config.batch_size = 16
    config.evaluate_every_epochs = 12
    config.data.channels = 3
    config.data.augment.flip = True
    config.data.augment.zoom = 0.5
    config.data.augment.colour = 0.3
    config.model.name = "unet"
    config.model.stem = "patch"
    config.model.encoder = (64, 128, 256)
    config.model.decoder = (128, 64)
    config.model.activation = "gelu"
    config.model.residual = 1
    config.model.trunk = "linear"
    config.model.downsample = "stride"
    config.model.kernel_init = "lecun_normal"
    config.loss.name = "soft_dice + cross_entropy"
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.001
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    return config
