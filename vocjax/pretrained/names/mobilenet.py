"""Names of MobileNet v1's parameters."""

from vocjax.models.backbones.heads import Network
from vocjax.pretrained.names.layers import Names, keras_conv, keras_depthwise, keras_norm


def keras(_: Network) -> Names:
    """Names in Keras's weights, where the dense layer is a 1x1 convolution."""
    names = keras_conv("backbone/conv1/conv", "conv1")
    names |= keras_norm("backbone/conv1/norm", "conv1_bn")
    for block in range(1, 14):
        ours = f"backbone/block{block}"
        names |= keras_depthwise(f"{ours}/depthwise/conv", f"conv_dw_{block}")
        names |= keras_norm(f"{ours}/depthwise/norm", f"conv_dw_{block}_bn")
        names |= keras_conv(f"{ours}/pointwise/conv", f"conv_pw_{block}")
        names |= keras_norm(f"{ours}/pointwise/norm", f"conv_pw_{block}_bn")
    return names | keras_conv("head/dense", "conv_preds", bias=True)
