"""Task 3 by the recipe of practitioners: DeepLab v3+ on a backbone, images that keep their aspect.

vocjax weights import --backbone mobilenet_v2 FILE --skip head --output weights/mobilenet_v2
vocjax train --config segmentation_recipe --workdir runs/segmentation_recipe \
    --config.init_from=weights/mobilenet_v2

Windows are cut from the images at half to twice their size, and whole images are scored. First the
decoder learns on a frozen backbone, then everything, the backbone at a tenth of the rate.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = with_backbone(study_segmenter())
    config.name = "DeepLab v3+ by the recipe, pixel classes"
    config.epochs = 30
    config.batch_size = 16
    config.evaluate_every_epochs = 5
    config.data.size = 224
    config.data.channels = 3
    config.data.fit = "pad"
    config.data.longest = 320
    config.data.sampling = "balanced"
    config.data.augment.scale = (0.5, 2.0)
    config.data.augment.flip = True
    config.data.augment.colour = 0.3
    config.evaluation.images = "whole"
    config.evaluation.flip = True
    config.model.backbone.output_stride = 16
    config.model.name = "deeplab_plus"
    config.model.target = "softmax"
    config.model.features = 128
    config.model.rates = (3, 6, 9)  # half of the paper's: a map of 224 pixels is 14x14
    config.model.low_level = 32
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.upsample = "bilinear"
    config.model.kernel_init = "he_normal"
    config.model.dropout = 0.1
    del config.model.decoder
    config.loss.name = "cross_entropy + soft_dice"
    config.loss.classes = "present"
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 25
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    config.optimizer.phases = (
        (0, (("encoder/.*", 0.0), (".*", 1.0))),
        (20, (("encoder/.*", 0.1), (".*", 0.3))),
    )
    return config
