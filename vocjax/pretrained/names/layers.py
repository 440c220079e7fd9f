"""Names of single layers: our path of a layer and its foreign name to those of its arrays."""

from vocjax.pretrained.layouts import Layout

Names = dict[str, tuple[str, Layout]]  # (their name, layout) by our flat path


def torch_conv(ours: str, theirs: str, bias: bool = False) -> Names:
    """Convolution of torch, depthwise or not."""
    return _kernel_and_bias(ours, theirs, ".weight", Layout.OIHW, ".bias" if bias else "")


def torch_dense(ours: str, theirs: str) -> Names:
    """Linear layer of torch; on a map it takes channels, then rows, then columns."""
    return _kernel_and_bias(ours, theirs, ".weight", Layout.OI, ".bias")


def torch_norm(ours: str, theirs: str) -> Names:
    """Batch norm of torch; `num_batches_tracked` has no counterpart."""
    return _norm(ours, theirs, (".weight", ".bias", ".running_mean", ".running_var"))


def keras_conv(ours: str, theirs: str, bias: bool = False) -> Names:
    """Convolution of Keras."""
    return _kernel_and_bias(ours, theirs, "/kernel", Layout.HWIO, "/bias" if bias else "")


def keras_depthwise(ours: str, theirs: str) -> Names:
    """Depthwise convolution of Keras, without bias."""
    return _kernel_and_bias(ours, theirs, "/depthwise_kernel", Layout.HWOI)


def keras_dense(ours: str, theirs: str) -> Names:
    """Dense layer of Keras; on a map it takes rows, then columns, then channels."""
    return _kernel_and_bias(ours, theirs, "/kernel", Layout.IO, "/bias")


def keras_norm(ours: str, theirs: str) -> Names:
    """Batch norm of Keras."""
    return _norm(ours, theirs, ("/gamma", "/beta", "/moving_mean", "/moving_variance"))


def gluon_conv(ours: str, theirs: str, bias: bool = False) -> Names:
    """Convolution of Gluon, depthwise or not."""
    return _kernel_and_bias(ours, theirs, "_weight", Layout.OIHW, "_bias" if bias else "")


def gluon_norm(ours: str, theirs: str) -> Names:
    """Batch norm of Gluon."""
    return _norm(ours, theirs, ("_gamma", "_beta", "_running_mean", "_running_var"))


def _kernel_and_bias(ours: str, theirs: str, kernel: str, layout: Layout, bias: str = "") -> Names:
    names = {f"{ours}/kernel": (theirs + kernel, layout)}
    if bias:
        names[f"{ours}/bias"] = (theirs + bias, Layout.VECTOR)
    return names


def _norm(ours: str, theirs: str, suffixes: tuple[str, ...]) -> Names:
    keys = ("scale", "bias", "mean", "var")
    return {
        f"{ours}/{key}": (theirs + suffix, Layout.VECTOR)
        for key, suffix in zip(keys, suffixes, strict=True)
    }
