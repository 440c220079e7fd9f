"""Task 2, ours: a classifier on the encoder of the convolutional autoencoder, fine-tuned.

vocjax train --config classifier_convolutional --workdir runs/classifier_convolutional \
    --config.init_from=runs/autoencoder_convolutional

Without `init_from` it learns from scratch. It looks at the map before the code, and its head begins
as logistic regression on that (Kumar et al. 2022, "Fine-tuning can distort pretrained features and
underperform out-of-distribution"). With the encoder frozen nothing else is done:

    --config.epochs=0 --config.optimizer.warmup_steps=0 \
    --config.optimizer.phases="((0, (('encoder/.*', 0.0), ('head/.*', 1.0))),)"
"""

from ml_collections import ConfigDict

from vocjax.config import study_classifier


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = study_classifier()
    config.name = "Convolutional classifier"
    config.epochs = 15
    config.batch_size = 32
    config.evaluate_every_epochs = 15
    config.data.augment.flip = True
    config.data.augment.zoom = 0.4
    config.data.augment.colour = 0.3
    config.model.stem = "patch"
    config.model.encoder = (64, 128, 256)
    config.model.activation = "gelu"
    config.model.residual = 1
    config.model.trunk = "linear"
    config.model.downsample = "stride"
    config.model.kernel_init = "lecun_normal"
    config.model.pooling = "polarity"
    config.model.head_init = "logistic"
    config.loss.name = "softmax_cross_entropy"
    config.loss.label_smoothing = 0.1
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.001
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.99
    return config
