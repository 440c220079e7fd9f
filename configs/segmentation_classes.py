"""Task 3, ours: a U-Net from scratch for 20 classes and background, scored at full size.

vocjax train --config segmentation_classes --workdir runs/segmentation_classes
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "U-Net, pixel classes"
    config.epochs = 40
    config.batch_size = 8
    config.evaluate_every_epochs = 10
    config.data.size = 96
    config.data.channels = 3
    config.data.augment.flip = True
    config.data.augment.zoom = 0.5
    config.data.augment.colour = 0.3
    config.model.name = "unet"
    config.model.target = "softmax"
    config.model.stem = "stride"
    config.model.encoder = (32, 64, 128, 256)
    config.model.decoder = (128, 64, 32)
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.kernel_init = "he_normal"
    config.loss.name = "cross_entropy + soft_dice"
    config.loss.classes = "present"
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    return config
