"""Task 3: the study's run 4, soft Dice over the batch with Adam, from scratch on grey images.

vocjax train --config segmentation_dice --workdir runs/segmentation_dice

With --config.data.masks=legacy it has the study's protocol: void is object, objects grow.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_segmenter()
    config.name = "Run 4, soft Dice"
    return config
