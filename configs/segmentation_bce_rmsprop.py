"""Task 3: the study's run 1, cross-entropy with rmsprop, from scratch on grey images.

vocjax train --config segmentation_bce_rmsprop --workdir runs/segmentation_bce_rmsprop

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 1, BCE, rmsprop"
    config.loss.name = "cross_entropy"
    config.optimizer.name = "rmsprop"
    return config
