"""Names of MobileNetV2's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import (
    Names,
    gluon_conv,
    gluon_norm,
    keras_conv,
    keras_dense,
    keras_depthwise,
    keras_norm,
    torch_conv,
    torch_dense,
    torch_norm,
)

BLOCKS = range(1, 18)
PARTS = ("expand", "depthwise", "project")


def torchvision(_: Network) -> Names:
    """Names in torchvision's state dict; the first block does not expand."""

    def conv_norm(ours: str, conv: str, norm: str) -> Names:
        return torch_conv(f"{ours}/conv", conv) | torch_norm(f"{ours}/norm", norm)

    names = conv_norm("backbone/conv1", "features.0.0", "features.0.1")
    for block in BLOCKS:
        theirs = f"features.{block}.conv"
        *activated, project = PARTS[1:] if block == 1 else PARTS
        for index, part in enumerate(activated):
            ours = f"backbone/block{block}/{part}"
            names |= conv_norm(ours, f"{theirs}.{index}.0", f"{theirs}.{index}.1")
        index = len(activated)
        ours = f"backbone/block{block}/{project}"
        names |= conv_norm(ours, f"{theirs}.{index}", f"{theirs}.{index + 1}")
    names |= conv_norm("backbone/conv2", "features.18.0", "features.18.1")
    return names | torch_dense("head/dense", "classifier.1")


def keras(_: Network) -> Names:
    """Names in Keras's weights; the first block does not expand."""
    names = keras_conv("backbone/conv1/conv", "Conv1")
    names |= keras_norm("backbone/conv1/norm", "bn_Conv1")
    for block in BLOCKS:
        prefix = "expanded_conv" if block == 1 else f"block_{block - 1}"
        for part in PARTS[1:] if block == 1 else PARTS:
            ours, theirs = f"backbone/block{block}/{part}", f"{prefix}_{part}"
            conv = keras_depthwise if part == "depthwise" else keras_conv
            names |= conv(f"{ours}/conv", theirs) | keras_norm(f"{ours}/norm", f"{theirs}_BN")
    names |= keras_conv("backbone/conv2/conv", "Conv_1")
    names |= keras_norm("backbone/conv2/norm", "Conv_1_bn")
    return names | keras_dense("head/dense", "predictions")


def gluon(_: Network) -> Names:
    """Names in Gluon's parameters, of the backbone: Gluon's classifier has no bias."""

    def conv_norm(ours: str, theirs: str, index: int) -> Names:
        conv = gluon_conv(f"{ours}/conv", f"{theirs}conv{index}")
        return conv | gluon_norm(f"{ours}/norm", f"{theirs}batchnorm{index}")

    features = "mobilenetv20_features_"
    names = conv_norm("backbone/conv1", features, 0)
    for block in BLOCKS:
        for index, part in enumerate(PARTS):
            theirs = f"{features}linearbottleneck{block - 1}_"
            names |= conv_norm(f"backbone/block{block}/{part}", theirs, index)
    return names | conv_norm("backbone/conv2", features, 1)
