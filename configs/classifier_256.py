"""Task 2: the study's classifier, fine-tuned from the encoder of AE 256.

vocjax train --config configs/classifier_256.py --workdir runs/classifier_256 \
    --config.init_from=runs/autoencoder_256
"""

from ml_collections import ConfigDict

from vocjax.configuration import base_config
from vocjax.models.layers import study_style


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Classifier 256"
    config.task = "classification"
    config.epochs = 50
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "classifier"
    config.model.update(study_style())
    del config.model.upsample  # a classifier has no decoder
    config.model.encoder = (256, 128, 64, 32, 16)
    config.loss.name = "binary_cross_entropy"
    return config
