"""Task 3: the study's run 2, cross-entropy with Adam, from scratch on grey images.

vocjax train --config segmentation_bce --workdir runs/segmentation_bce

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 2, BCE"
    config.loss.name = "cross_entropy"
    return config
