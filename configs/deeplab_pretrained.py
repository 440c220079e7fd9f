"""Task 3 with a pretrained backbone: DeepLab's atrous pyramid on the map of stride 16.

vocjax weights import --backbone mobilenet_v2 FILE --skip head --output weights/mobilenet_v2
vocjax train --config deeplab_pretrained --workdir runs/deeplab_pretrained \
    --config.init_from=weights/mobilenet_v2

First the decoder learns on a frozen backbone. Then everything learns, the backbone at a tenth of
the rate.
"""

from ml_collections import ConfigDict

from vocjax.config import study_segmenter, with_backbone


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = with_backbone(study_segmenter())
    config.name = "Pretrained DeepLab, pixel classes"
    config.epochs = 30
    config.batch_size = 16
    config.evaluate_every_epochs = 5
    config.data.size = 224
    config.data.channels = 3
    config.model.backbone.output_stride = 16
    config.model.name = "deeplab"
    config.model.target = "softmax"
    config.model.features = 128
    config.model.rates = (6, 12, 18)
    config.model.norm = "batch"
    config.model.norm_statistics = "debiased"
    config.model.upsample = "bilinear"
    del config.model.decoder
    config.loss.name = "cross_entropy"
    config.optimizer.schedule = "cosine"
    config.optimizer.phases = (
        (0, (("encoder/.*", 0.0), ("decoder/.*", 1.0))),
        (20, (("encoder/.*", 0.1), ("decoder/.*", 1.0))),
    )
    return config
