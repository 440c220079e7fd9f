"""Names of SqueezeNet's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import Names, gluon_conv, torch_conv

PARTS = ("squeeze", "expand1x1", "expand3x3")


def torchvision(_: Network) -> Names:
    """Names in torchvision's state dict, where max-pools count, too."""
    names = torch_conv("backbone/conv1/conv", "features.0", bias=True)
    for fire, index in enumerate((3, 4, 6, 7, 9, 10, 11, 12), 2):
        for part in PARTS:
            ours = f"backbone/fire{fire}/{part}"
            names |= torch_conv(ours, f"features.{index}.{part}", bias=True)
    return names | torch_conv("head/conv", "classifier.1", bias=True)


def gluon(_: Network) -> Names:
    """Names in Gluon's parameters: convolutions by number."""
    fires = [f"backbone/fire{fire}/{part}" for fire in range(2, 10) for part in PARTS]
    names = Names()
    for index, ours in enumerate(["backbone/conv1/conv", *fires, "head/conv"]):
        names |= gluon_conv(ours, f"squeezenet0_conv{index}", bias=True)
    return names
