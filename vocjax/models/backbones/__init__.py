"""Backbones: one file a paper, one contract (`blocks.Backbone`), one line here for each name."""

from collections.abc import Callable, Mapping

from vocjax.models.backbones import (
    alexnet,
    darknet,
    inception_v1,
    inception_v3,
    mobilenet,
    mobilenet_v2,
    resnet,
    squeezenet,
    vgg,
    xception,
)
from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.keys import Source

_TABLE: Mapping[str, tuple[Callable[..., Network], Mapping[str, Source]]] = {
    "alexnet": (alexnet.alexnet, alexnet.SOURCES),
    "vgg16": (vgg.vgg16, vgg.SOURCES),
    "vgg19": (vgg.vgg19, vgg.SOURCES),
    "resnet18": (resnet.resnet18, resnet.SOURCES_18),
    "resnet50": (resnet.resnet50, resnet.SOURCES_50),
    "darknet19": (darknet.darknet19, darknet.SOURCES),
    "tiny_darknet": (darknet.tiny_darknet, darknet.SOURCES),
    "inception_v1": (inception_v1.inception_v1, inception_v1.SOURCES),
    "inception_v3": (inception_v3.inception_v3, inception_v3.SOURCES),
    "xception": (xception.xception, xception.SOURCES),
    "mobilenet": (mobilenet.mobilenet, mobilenet.SOURCES),
    "mobilenet_v2": (mobilenet_v2.mobilenet_v2, mobilenet_v2.SOURCES),
    "squeezenet": (squeezenet.squeezenet, squeezenet.SOURCES),
}

# Called with the number of classes (default 1000) and the backbone's fields.
BACKBONES: Mapping[str, Callable[..., Network]] = {
    name: network for name, (network, _) in _TABLE.items()
}
# Published weights of each backbone, by who published them: torchvision, keras, gluon, ...
SOURCES: Mapping[str, Mapping[str, Source]] = {
    name: sources for name, (_, sources) in _TABLE.items()
}
