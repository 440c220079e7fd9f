"""Task 3: FCN with summed skips on the study's encoder, for 20 classes and background.

vocjax train --config segmentation_fcn --workdir runs/segmentation_fcn
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "FCN"
    config.data.channels = 3
    config.model.name = "fcn"
    config.model.target = "softmax"
    config.model.stem = "same"
    config.model.skips = 2  # 0, 1 and 2 on a backbone of stride 32: FCN-32s, 16s and 8s
    config.model.upsample = "bilinear"
    del config.model.decoder
    config.loss.name = "cross_entropy"
    return config
