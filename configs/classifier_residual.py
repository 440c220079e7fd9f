"""Task 2, ours: a small residual network, trained from scratch on 428 dogs and aeroplanes.

vocjax train --config classifier_residual --workdir runs/classifier_residual
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Residual network"
    config.epochs = 300
    config.evaluate_every_epochs = 25
    config.data.augment.flip = True
    config.data.augment.zoom = 0.6
    config.data.augment.colour = 0.3
    config.model.stem = "stride"
    config.model.encoder = (32, 64, 128)
    config.model.residual = 1
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.kernel_init = "he_normal"
    config.model.head_init = "he_normal"
    config.model.pooling = "mean"
    config.model.head_dropout = 0.3
    config.loss.name = "softmax_cross_entropy"
    config.loss.label_smoothing = 0.1
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    return config
