"""Task 2, the assignment's second network: the same architecture, end to end from a fresh draw.

vocjax train --config configs/classifier_scratch.py --workdir runs/classifier_scratch

No init_from: the draw depends on the seed and on nothing that an autoencoder learnt.
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, from scratch"
    return config
