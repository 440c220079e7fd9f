"""Task 3: the decoder of DeepLab v3+ on the study's encoder, for 20 classes and background.

vocjax train --config segmentation_deeplab_plus --workdir runs/segmentation_deeplab_plus
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "DeepLab v3+"
    config.data.channels = 3
    config.model.name = "deeplab_plus"
    config.model.target = "softmax"
    config.model.stem = "same"
    config.model.output_stride = 8
    config.model.features = 256
    config.model.rates = (2, 4, 6)
    config.model.low_level = 48
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.upsample = "bilinear"
    del config.model.decoder
    config.loss.name = "cross_entropy"
    return config
