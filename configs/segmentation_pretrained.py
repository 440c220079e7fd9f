"""Task 3 with a pretrained backbone: U-Net's decoder for 20 classes and background.

vocjax weights import --backbone mobilenet_v2 FILE --skip head --output weights/mobilenet_v2
vocjax train --config segmentation_pretrained --workdir runs/segmentation_pretrained \
    --config.init_from=weights/mobilenet_v2

First the decoder learns on a frozen backbone. Then everything learns, the backbone at a tenth of
the rate.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = with_backbone(study_segmenter())
    config.name = "Pretrained U-Net, pixel classes"
    config.epochs = 30
    config.batch_size = 16
    config.evaluate_every_epochs = 5
    config.data.size = 224
    config.data.channels = 3
    config.data.augment.flip = True
    config.data.augment.zoom = 0.5
    config.data.augment.colour = 0.3
    config.model.name = "unet"
    config.model.target = "softmax"
    config.model.decoder = (128, 64, 32, 32)
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.kernel_init = "he_normal"
    config.loss.name = "cross_entropy + soft_dice"
    config.loss.classes = "present"
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 25
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    config.optimizer.phases = (
        (0, (("encoder/.*", 0.0), ("decoder/.*", 1.0))),
        (10, (("encoder/.*", 0.1), ("decoder/.*", 1.0))),
    )
    return config
