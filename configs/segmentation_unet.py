"""Task 3, ours: a U-Net from scratch for object and background, at the study's 64 pixels.

vocjax train --config segmentation_unet --workdir runs/segmentation_unet
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "U-Net"
    config.epochs = 60
    config.batch_size = 8
    config.evaluate_every_epochs = 10
    config.data.channels = 3
    config.data.augment.flip = True
    config.data.augment.zoom = 0.5
    config.data.augment.colour = 0.3
    config.model.name = "unet"
    config.model.stem = "same"
    config.model.encoder = (16, 32, 64, 128)
    config.model.decoder = (64, 32, 16)
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.kernel_init = "he_normal"
    config.loss.name = "soft_dice + cross_entropy"
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    return config
