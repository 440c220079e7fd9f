"""Published ImageNet weights: their addresses, and the checksums that their publishers give."""

from collections.abc import Mapping
from typing import NamedTuple

from vocjax.data.download import Archive

OTHERWISE = (
    "Or bring a file that you have: `vocjax weights import --backbone NAME FILE --output DIR`, and "
    "DIR as init_from."
)


class Published(NamedTuple):
    """Weights of a backbone, with a head of ImageNet's 1000 classes."""

    backbone: str
    source: str  # one of `SOURCES[backbone]`
    archive: Archive


def _torchvision(backbone: str, file: str) -> Published:
    """As in the `url`s of torchvision/models/*.py: names end with the first digits of SHA-256."""
    digits = file.removesuffix(".pth").rpartition("-")[2]
    address = f"https://download.pytorch.org/models/{file}"
    return Published(backbone, "torchvision", Archive(file, digits, (address,), OTHERWISE))


def _keras(backbone: str, folder: str, md5: str) -> Published:
    """As in `WEIGHTS_PATH` and `file_hash` of keras/src/applications/*.py."""
    file = f"{backbone}_weights_tf_dim_ordering_tf_kernels.h5"
    place = "https://storage.googleapis.com/tensorflow/keras-applications"
    archive = Archive(file, md5, (f"{place}/{folder}/{file}",), OTHERWISE)
    return Published(backbone, "keras", archive)


# Keras 3.15 has no checksums of its MobileNets, and nobody gives any of Darknet's weights.
PUBLISHED: Mapping[str, Published] = {
    "alexnet": _torchvision("alexnet", "alexnet-owt-7be5be79.pth"),
    "vgg16": _torchvision("vgg16", "vgg16-397923af.pth"),
    "vgg19": _torchvision("vgg19", "vgg19-dcbb9e9d.pth"),
    "resnet18": _torchvision("resnet18", "resnet18-f37072fd.pth"),
    "resnet50": _torchvision("resnet50", "resnet50-0676ba61.pth"),
    "inception_v1": _torchvision("inception_v1", "googlenet-1378be20.pth"),
    "inception_v3": _torchvision("inception_v3", "inception_v3_google-0cc3c7bd.pth"),
    "mobilenet_v2": _torchvision("mobilenet_v2", "mobilenet_v2-b0353104.pth"),
    "squeezenet": _torchvision("squeezenet", "squeezenet1_1-b8a52dc0.pth"),
    "xception": _keras("xception", "xception", "0a58e3b7378bc2990ea3b43d5981f1f6"),
    "vgg16-keras": _keras("vgg16", "vgg16", "64373286793e3c8b2b4e3219cbf3544b"),
    "vgg19-keras": _keras("vgg19", "vgg19", "cbe5617147190e668d6c5d5026f83318"),
    "resnet50-keras": _keras("resnet50", "resnet", "2cb95161c43110f7111970584f804107"),
    "inception_v3-keras": _keras(
        "inception_v3", "inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564"
    ),
}
