"""Task 3: the study's run 3, cross-entropy with Adam for 30 epochs, from scratch on grey images.

vocjax train --config segmentation_bce_long --workdir runs/segmentation_bce_long

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 3, BCE, 30 epochs"
    config.epochs = 30
    config.loss.name = "cross_entropy"
    return config
