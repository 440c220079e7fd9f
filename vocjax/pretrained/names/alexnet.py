"""Names of AlexNet's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import Names, torch_conv, torch_dense


def torchvision(_: Network) -> Names:
    """Names in torchvision's state dict."""
    names = Names()
    for stage, index in enumerate((0, 3, 6, 8, 10), 1):
        names |= torch_conv(f"backbone/conv{stage}/conv", f"features.{index}", bias=True)
    for layer, index in (("fc1", 1), ("fc2", 4), ("fc3", 6)):
        names |= torch_dense(f"head/{layer}", f"classifier.{index}")
    return names
