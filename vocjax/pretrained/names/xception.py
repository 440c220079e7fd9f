"""Names of Xception's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.xception import BLOCKS
from vocjax.pretrained.layouts import Layout
from vocjax.pretrained.names.layers import Names, keras_conv, keras_dense, keras_norm

SHORTCUTS = ("block2", "block3", "block4", "block13")


def keras(_: Network) -> Names:
    """Names in Keras's weights.

    Keras numbers the shortcuts' layers as it makes them: conv2d, conv2d_1, ... in a process's first
    model and further on in later ones.
    """
    names = keras_dense("head/dense", "predictions")
    for conv in ("conv1", "conv2"):
        names |= keras_conv(f"backbone/block1/{conv}/conv", f"block1_{conv}")
        names |= keras_norm(f"backbone/block1/{conv}/norm", f"block1_{conv}_bn")
    for block, count in {
        **{name: len(row) for name, (row, _) in BLOCKS.items()},
        "block14": 2,
    }.items():
        for index in range(1, count + 1):
            names |= _separable(f"backbone/{block}/sepconv{index}", f"{block}_sepconv{index}")
    for index, block in enumerate(SHORTCUTS):
        ours, end = f"backbone/{block}/shortcut", f"_{index}" if index else ""
        names |= keras_conv(f"{ours}/conv", f"conv2d{end}")
        names |= keras_norm(f"{ours}/norm", f"batch_normalization{end}")
    return names


def _separable(ours: str, theirs: str) -> Names:
    return {
        f"{ours}/depthwise/kernel": (f"{theirs}/depthwise_kernel", Layout.HWOI),
        f"{ours}/pointwise/conv/kernel": (f"{theirs}/pointwise_kernel", Layout.HWIO),
        **keras_norm(f"{ours}/pointwise/norm", f"{theirs}_bn"),
    }
