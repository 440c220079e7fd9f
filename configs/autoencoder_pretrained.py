"""Task 1 with a pretrained backbone: how much of an image its features keep.

vocjax weights import --backbone resnet18 FILE --skip head --output weights/resnet18
vocjax train --config autoencoder_pretrained --workdir runs/autoencoder_pretrained \
    --config.init_from=weights/resnet18

Only the decoder learns. It doubles as often as the backbone halves: five times for stride 32.
"""

from ml_collections import ConfigDict

from vocjax.config import base_config, study_style, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = base_config()
    config.name = "Pretrained encoder"
    config.task = "reconstruction"
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "autoencoder"
    config.model.update(study_style())
    with_backbone(config)
    config.model.norm_statistics = "debiased"
    config.model.decoder = (128, 64, 32, 32, 16)
    config.loss.name = "mse"
    config.loss.noise = 0.0
    config.optimizer.name = "adam"
    config.optimizer.phases = ((0, (("encoder/.*", 0.0), ("decoder/.*", 1.0))),)
    return config
