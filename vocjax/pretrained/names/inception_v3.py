"""Names of Inception v3's parameters."""

from collections.abc import Iterator

from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.inception_v1 import AuxiliaryNetwork
from vocjax.models.backbones.inception_v3 import MIXED, STEM, Fork, named
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
    """Names in torchvision's state dict, whose auxiliary head is AuxLogits."""
    names = torch_dense("head/dense", "fc")
    for ours in _convolutions():
        stage, _, layer = ours.partition("/")
        theirs = f"Mixed_{stage[-2:]}.{layer}" if layer else _torch_stem(stage)
        names |= _torch_conv_norm(f"backbone/{ours}", theirs)
    if isinstance(network, AuxiliaryNetwork):
        ours, theirs = "auxiliary_mixed6e", "AuxLogits"
        for layer in ("conv0", "conv1"):
            names |= _torch_conv_norm(f"{ours}/{layer}", f"{theirs}.{layer}")
        names |= torch_dense(f"{ours}/dense", f"{theirs}.fc")
    return names


def keras(_: Network) -> Names:
    """Names in Keras's weights, of `variant` "keras".

    Keras numbers these layers as it makes them: conv2d, conv2d_1, ... in a process's first model
    and further on in later ones.
    """
    names = keras_dense("head/dense", "predictions")
    for index, ours in enumerate(_convolutions()):
        end = f"_{index}" if index else ""
        names |= keras_conv(f"backbone/{ours}/conv", f"conv2d{end}")
        names |= keras_norm(f"backbone/{ours}/norm", f"batch_normalization{end}")
    return {ours: theirs for ours, theirs in names.items() if not ours.endswith("norm/scale")}


def _convolutions() -> Iterator[str]:
    """Our paths of the convolutions below `backbone`, in the order in which they are written."""
    yield from STEM
    for stage, (_, branches) in MIXED.items():
        for branch, steps in branches.items():
            for name, step in named(branch, steps):
                if isinstance(step, Fork):
                    yield from (f"{stage}/{name}a", f"{stage}/{name}b")
                elif not isinstance(step, str):
                    yield f"{stage}/{name}"


def _torch_stem(stage: str) -> str:
    _, kernel = STEM[stage]
    return f"Conv2d_{stage[-2:]}_{kernel}x{kernel}"


def _torch_conv_norm(ours: str, theirs: str) -> Names:
    return torch_conv(f"{ours}/conv", f"{theirs}.conv") | torch_norm(f"{ours}/norm", f"{theirs}.bn")
