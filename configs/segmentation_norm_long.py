"""Task 3: the study's run 6, run 5 for 30 epochs, from scratch on grey images.

vocjax train --config segmentation_norm_long --workdir runs/segmentation_norm_long

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 6, soft Dice, norm, 30 epochs"
    config.epochs = 30
    config.model.norm = "batch"
    config.model.dropout = 0.5  # the slides do not say it; a related solution has 0.5
    return config
