"""Backbones: a file a paper, one contract (`blocks.Backbone`), one table of networks by name."""

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

# Called with the number of classes, 1000 if not said, and the backbone's fields.
BACKBONES: Mapping[str, Callable[..., Network]] = {
    "alexnet": alexnet.alexnet,
    "vgg16": vgg.vgg16,
    "vgg19": vgg.vgg19,
    "resnet18": resnet.resnet18,
    "resnet50": resnet.resnet50,
    "darknet19": darknet.darknet19,
    "tiny_darknet": darknet.tiny_darknet,
    "inception_v1": inception_v1.inception_v1,
    "inception_v3": inception_v3.inception_v3,
    "xception": xception.xception,
    "mobilenet": mobilenet.mobilenet,
    "mobilenet_v2": mobilenet_v2.mobilenet_v2,
    "squeezenet": squeezenet.squeezenet,
}
