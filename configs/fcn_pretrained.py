"""Task 3 with a pretrained backbone: FCN-8s, the sum of class scores of three strides.

vocjax weights import --backbone vgg16 FILE --skip head --output weights/vgg16
vocjax train --config fcn_pretrained --workdir runs/fcn_pretrained \
    --config.init_from=weights/vgg16

With --config.model.skips=0 it is FCN-32s, with 1 FCN-16s.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = with_backbone(study_segmenter())
    config.model.norm_statistics = "debiased"
    config.name = "Pretrained FCN, pixel classes"
    config.epochs = 30
    config.batch_size = 16
    config.evaluate_every_epochs = 5
    config.data.size = 224
    config.data.channels = 3
    config.model.name = "fcn"
    config.model.target = "softmax"
    config.model.skips = 2
    config.model.upsample = "bilinear"
    del config.model.decoder
    config.loss.name = "cross_entropy"
    config.optimizer.schedule = "cosine"
    config.optimizer.phases = ((0, (("encoder/.*", 0.1), ("decoder/.*", 1.0))),)
    return config
