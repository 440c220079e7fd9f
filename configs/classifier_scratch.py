"""Task 2, the assignment's second network: the same architecture, trained from scratch.

vocjax train --config classifier_scratch --workdir runs/classifier_scratch

There is no init_from: the first parameters depend only on the seed.
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, from scratch"
    return config
