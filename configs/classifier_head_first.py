"""Task 2: the head alone for ten epochs, then all of the network, the encoder more slowly.

vocjax train --config classifier_head_first --workdir runs/classifier_head_first \
    --config.init_from=runs/autoencoder_256
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Classifier 256, head first"
    config.optimizer.phases = (
        (0, (("encoder/.*", 0.0), ("head/.*", 1.0))),
        (10, (("encoder/.*", 0.1), ("head/.*", 0.3))),
    )
    return config
