"""Task 2 with a frozen pretrained backbone: a regularised linear probe of its mean features.

vocjax weights import --backbone squeezenet FILE --skip head --output weights/squeezenet
vocjax train --config classifier_pretrained --workdir runs/classifier_pretrained \
    --config.init_from=weights/squeezenet

The features are computed once, and logistic regression is fitted to them; cross-validation over the
photographs of train chooses its strength. --config.model.head_init=zeros --config.epochs=100 learns
the layer by gradient steps. `--config.optimizer.phases` unfreezes the backbone, at once or stage by
stage: `vocjax experiments copy transfer` writes an example.
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = with_backbone(study_classifier())
    config.model.norm_statistics = "debiased"
    config.name = "Pretrained, frozen"
    config.epochs = 0  # the fit is the whole run
    config.evaluate_every_epochs = 20
    config.data.size = 224
    config.model.pooling = "mean"
    config.model.head_init = "logistic"
    config.loss.name = "softmax_cross_entropy"
    config.optimizer.name = "adam"
    config.optimizer.schedule = "cosine"
    config.optimizer.phases = ((0, (("encoder/.*", 0.0), ("head/.*", 1.0))),)
    return config
