"""Task 2, the lecture's classifier: encoder, two fully connected layers, softmax.

vocjax train --config classifier_lecture --workdir runs/classifier_lecture \
    --config.init_from=runs/autoencoder_256
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, FC, FC, softmax"
    config.model.hidden = (128,)
    config.loss.name = "softmax_cross_entropy"
    return config
