"""Key maps of Inception v3."""

from collections.abc import Iterator

from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.inception_v3 import MIXED, STEM, Fork, named
from vocjax.models.backbones.keys import (
    KeyMap,
    Source,
    keras_conv_norm,
    keras_dense,
    torch_conv_norm,
    torch_dense,
)
from vocjax.models.backbones.preprocessing import SYMMETRIC


def torchvision_keys(_: Network) -> KeyMap:
    """Keys of torchvision's state dict, without its auxiliary head, AuxLogits."""
    keys = torch_dense("head/dense", "fc")
    for ours in _convolutions():
        stage, slash, layer = ours.partition("/")
        theirs = f"Mixed_{stage[-2:]}.{layer}" if slash else _torch_stem(stage)
        keys |= torch_conv_norm(f"backbone/{ours}", f"{theirs}.conv", f"{theirs}.bn")
    return keys


def keras_keys(_: Network) -> KeyMap:
    """Keys of Keras's weights, of `variant` "keras", whose batch norm has no scale.

    Keras numbers these layers as it makes them: conv2d, conv2d_1, ... in the first model of a
    process, and from there on in later ones.
    """
    keys = keras_dense("head/dense", "predictions")
    for index, ours in enumerate(_convolutions()):
        end = f"_{index}" if index else ""
        keys |= keras_conv_norm(f"backbone/{ours}", f"conv2d{end}", f"batch_normalization{end}")
    return {ours: theirs for ours, theirs in keys.items() if not ours.endswith("norm/scale")}


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


# The published weights are Google's: torchvision turns its usual values into [-1, 1] for them.
SOURCES = {
    "torchvision": Source(torchvision_keys, SYMMETRIC, {"variant": "torchvision"}),
    "keras": Source(keras_keys, SYMMETRIC, {"variant": "keras"}),
}
