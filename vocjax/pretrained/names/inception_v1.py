"""Names of Inception v1's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.inception_v1 import MODULES, AuxiliaryNetwork
from vocjax.pretrained.names.layers import Names, torch_conv, torch_dense, torch_norm

BRANCHES = {
    "conv1x1": "branch1",
    "reduce3x3": "branch2.0",
    "conv3x3": "branch2.1",
    "reduce5x5": "branch3.0",
    "conv5x5": "branch3.1",
    "project": "branch4.1",
}
AUXILIARY = {"auxiliary_inception4a": "aux1", "auxiliary_inception4d": "aux2"}


def torchvision(network: Network) -> Names:
    """Names in torchvision's state dict, whose auxiliary heads are aux1 and aux2."""
    convs = {"conv1": "conv1", "conv2/reduce": "conv2", "conv2/conv": "conv3"}
    for module in MODULES:
        convs |= {f"{module}/{ours}": f"{module}.{theirs}" for ours, theirs in BRANCHES.items()}
    names = torch_dense("head/dense", "fc")
    for ours, theirs in convs.items():
        names |= _conv_norm(f"backbone/{ours}", theirs)
    if isinstance(network, AuxiliaryNetwork):
        for ours, theirs in AUXILIARY.items():
            names |= _conv_norm(f"{ours}/conv", f"{theirs}.conv")
            for layer in ("fc1", "fc2"):
                names |= torch_dense(f"{ours}/{layer}", f"{theirs}.{layer}")
    return names


def _conv_norm(ours: str, theirs: str) -> Names:
    return torch_conv(f"{ours}/conv", f"{theirs}.conv") | torch_norm(f"{ours}/norm", f"{theirs}.bn")
