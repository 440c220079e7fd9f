"""Task 3: the study's run 5, soft Dice with batch norm and dropout, from scratch on grey images.

vocjax train --config segmentation_norm --workdir runs/segmentation_norm

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 5, soft Dice, norm"
    config.model.norm = "batch"
    config.model.dropout = 0.5  # the slides do not say it; a related solution has 0.5
    return config
