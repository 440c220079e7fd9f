"""Names of Darknet-19's and Tiny Darknet's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.layouts import Layout
from vocjax.pretrained.names.layers import Names


def darknet(network: Network) -> Names:
    """Names of the arrays of a `.weights` file, in the file's order.

    The file has no names, only float32 after float32: here they are the convolution's number in the
    `.cfg` file, from 0, and the field of Darknet's own `layer`.
    """
    convs = [
        f"backbone/conv{stage}/conv{conv}"
        for stage, convolutions in enumerate(network.backbone.table, 1)
        for conv in range(1, len(convolutions) + 1)
    ]
    names = Names()
    for index, ours in enumerate(convs):
        names |= {
            f"{ours}/norm/bias": (f"{index}/biases", Layout.VECTOR),
            f"{ours}/norm/scale": (f"{index}/scales", Layout.VECTOR),
            f"{ours}/norm/mean": (f"{index}/rolling_mean", Layout.VECTOR),
            f"{ours}/norm/var": (f"{index}/rolling_variance", Layout.VECTOR),
            f"{ours}/conv/kernel": (f"{index}/weights", Layout.OIHW),
        }
    return names | {
        "head/conv/bias": (f"{len(convs)}/biases", Layout.VECTOR),
        "head/conv/kernel": (f"{len(convs)}/weights", Layout.OIHW),
    }
