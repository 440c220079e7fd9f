"""Names of ResNet18's and ResNet50's parameters."""

from collections.abc import Iterator

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import (
    Names,
    keras_conv,
    keras_dense,
    keras_norm,
    torch_conv,
    torch_dense,
    torch_norm,
)


def torchvision(network: Network) -> Names:
    """Names in torchvision's state dict."""
    names = torch_conv("backbone/conv1/conv", "conv1") | torch_norm("backbone/conv1/norm", "bn1")
    for stage, block, layer in _layers(network):
        ours = _path(stage, block, layer)
        theirs = f"layer{stage - 1}.{block - 1}"
        conv, norm = (f"conv{layer}", f"bn{layer}") if layer else ("downsample.0", "downsample.1")
        names |= torch_conv(f"{ours}/conv", f"{theirs}.{conv}")
        names |= torch_norm(f"{ours}/norm", f"{theirs}.{norm}")
    return names | torch_dense("head/dense", "fc")


def keras(network: Network) -> Names:
    """Names in Keras's weights, of ResNet50 only."""
    names = keras_conv("backbone/conv1/conv", "conv1_conv", bias=True)
    names |= keras_norm("backbone/conv1/norm", "conv1_bn")
    for stage, block, layer in _layers(network):
        ours, theirs = _path(stage, block, layer), f"conv{stage}_block{block}_{layer}"
        names |= keras_conv(f"{ours}/conv", f"{theirs}_conv", bias=True)
        names |= keras_norm(f"{ours}/norm", f"{theirs}_bn")
    return names | keras_dense("head/dense", "predictions")


def caffe(network: Network) -> Names:
    """Names of the authors' ResNet50 in Keras's layout, as Keras had it before its own."""
    names = keras_conv("backbone/conv1/conv", "conv1", bias=True)
    names |= keras_norm("backbone/conv1/norm", "bn_conv1")
    for stage, block, layer in _layers(network):
        ours = _path(stage, block, layer)
        branch = f"branch2{'abc'[layer - 1]}" if layer else "branch1"
        theirs = f"{stage}{'abcdef'[block - 1]}_{branch}"
        names |= keras_conv(f"{ours}/conv", f"res{theirs}", bias=True)
        names |= keras_norm(f"{ours}/norm", f"bn{theirs}")
    return names | keras_dense("head/dense", "fc1000")


def _layers(network: Network) -> Iterator[tuple[int, int, int]]:
    """(stage, block, convolution) of every convolution after conv1; 0 is a block's projection."""
    bottleneck = network.backbone.bottleneck
    for stage, depth in enumerate(network.backbone.depths, 2):
        for block in range(1, depth + 1):
            projection = block == 1 and (bottleneck or stage > 2)
            for layer in range(0 if projection else 1, 4 if bottleneck else 3):
                yield stage, block, layer


def _path(stage: int, block: int, layer: int) -> str:
    name = f"conv{layer}" if layer else "projection"
    return f"backbone/conv{stage}/block{block}/{name}"
