"""Names of VGG16's and VGG19's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import Names, keras_conv, keras_dense, torch_conv, torch_dense


def torchvision(network: Network) -> Names:
    """Names in torchvision's state dict, where ReLUs and max-pools count, too."""
    names, index = Names(), 0
    for stage, (convolutions, _) in enumerate(network.backbone.table, 1):
        for conv in range(1, convolutions + 1):
            ours = f"backbone/conv{stage}/conv{conv}"
            names |= torch_conv(ours, f"features.{index}", bias=True)
            index += 2
        index += 1
    for layer, index in (("fc1", 0), ("fc2", 3), ("fc3", 6)):
        names |= torch_dense(f"head/{layer}", f"classifier.{index}")
    return names


def keras(network: Network) -> Names:
    """Names in Keras's weights."""
    names = Names()
    for stage, (convolutions, _) in enumerate(network.backbone.table, 1):
        for conv in range(1, convolutions + 1):
            ours = f"backbone/conv{stage}/conv{conv}"
            names |= keras_conv(ours, f"block{stage}_conv{conv}", bias=True)
    for layer, theirs in (("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "predictions")):
        names |= keras_dense(f"head/{layer}", theirs)
    return names
