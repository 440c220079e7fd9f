"""Task 3: DeepLab's atrous pyramid on the study's encoder, for 20 classes and background.

vocjax train --config segmentation_deeplab --workdir runs/segmentation_deeplab
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "DeepLab"
    config.data.channels = 3
    config.model.name = "deeplab"
    config.model.target = "softmax"
    config.model.stem = "same"
    config.model.output_stride = 4  # a map of 16x16; the paper's has 32x32, and twice the rates
    config.model.features = 256
    config.model.rates = (3, 6, 9)
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.upsample = "bilinear"
    del config.model.decoder
    config.loss.name = "cross_entropy"
    return config
