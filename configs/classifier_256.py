"""Task 2: the study's classifier, fine-tuned from the encoder of AE 256.

vocjax train --config classifier_256 --workdir runs/classifier_256 \
    --config.init_from=runs/autoencoder_256
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256"
    return config
