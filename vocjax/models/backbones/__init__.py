"""Backbones: a file a paper, one contract (`blocks.Backbone`), one table of networks by name."""

from collections.abc import Callable, Mapping

from vocjax.models.backbones import alexnet, mobilenet, mobilenet_v2, resnet, squeezenet, vgg
from vocjax.models.backbones.heads import Network

# Called with the number of classes, 1000 if not said, and the backbone's fields.
BACKBONES: Mapping[str, Callable[..., Network]] = {
    "alexnet": alexnet.alexnet,
    "vgg16": vgg.vgg16,
    "vgg19": vgg.vgg19,
    "resnet18": resnet.resnet18,
    "resnet50": resnet.resnet50,
    "mobilenet": mobilenet.mobilenet,
    "mobilenet_v2": mobilenet_v2.mobilenet_v2,
    "squeezenet": squeezenet.squeezenet,
}
