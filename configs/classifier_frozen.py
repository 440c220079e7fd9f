"""Task 2, the assignment's first network: a frozen encoder and one fully connected layer.

vocjax train --config classifier_frozen --workdir runs/classifier_frozen \
    --config.init_from=runs/autoencoder_256

The codes are computed once, so an epoch takes almost no time.
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, frozen"
    config.optimizer.phases = ((0, (("encoder/.*", 0.0), ("head/.*", 1.0))),)
    return config
