"""Task 2: one network that reconstructs and classifies, with the sum of both losses.

vocjax train --config classifier_joint --workdir runs/classifier_joint
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, joint"
    config.model.decoder = (32, 64, 128, 256)
    config.loss.reconstruction = 10.0  # the squared error is at most a tenth of the log-loss
    return config
