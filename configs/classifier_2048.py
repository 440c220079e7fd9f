"""Task 2: the study's classifier, fine-tuned from the encoder of AE 2048.

vocjax train --config classifier_2048 --workdir runs/classifier_2048 \
    --config.init_from=runs/autoencoder_2048
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 2048"
    config.model.encoder = (256, 128, 64, 32)
    return config
