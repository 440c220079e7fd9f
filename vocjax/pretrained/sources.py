"""Foreign weights there are of each backbone: their names, the variant, the pre-processing."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vocjax.errors import UserError
from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.preprocessing import (
    CAFFE,
    IDENTITY,
    SYMMETRIC,
    TORCHVISION,
    Preprocessing,
)
from vocjax.pretrained.formats.darknet import NUMBERS
from vocjax.pretrained.matching import IGNORED
from vocjax.pretrained.names import (
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
from vocjax.pretrained.names.layers import Names


class Source(NamedTuple):
    """Weights of one origin for one backbone.

    - `names`: the table of names, of a network;
    - `preprocessing`: what the published weights were trained with;
    - `fields`: of the network, with which it computes what the origin's does.
    """

    names: Callable[[Network], Names]
    preprocessing: Preprocessing
    fields: Mapping[str, str] = {}


SOURCES: Mapping[str, Mapping[str, Source]] = {
    "alexnet": {"torchvision": Source(alexnet.torchvision, TORCHVISION)},
    "vgg16": {
        "torchvision": Source(vgg.torchvision, TORCHVISION),
        "keras": Source(vgg.keras, CAFFE),
    },
    "vgg19": {
        "torchvision": Source(vgg.torchvision, TORCHVISION),
        "keras": Source(vgg.keras, CAFFE),
    },
    "resnet18": {"torchvision": Source(resnet.torchvision, TORCHVISION)},
    "resnet50": {
        "torchvision": Source(resnet.torchvision, TORCHVISION, {"variant": "torchvision"}),
        "keras": Source(resnet.keras, CAFFE, {"variant": "keras"}),
        "caffe": Source(resnet.caffe, CAFFE, {"variant": "caffe"}),
    },
    # torchvision's published Inceptions are Google's: they turn its usual values into [-1, 1].
    "inception_v1": {"torchvision": Source(inception_v1.torchvision, SYMMETRIC)},
    "inception_v3": {
        "torchvision": Source(inception_v3.torchvision, SYMMETRIC, {"variant": "torchvision"}),
        "keras": Source(inception_v3.keras, SYMMETRIC, {"variant": "keras"}),
    },
    "xception": {"keras": Source(xception.keras, SYMMETRIC)},
    "mobilenet": {"keras": Source(mobilenet.keras, SYMMETRIC)},
    "mobilenet_v2": {
        "torchvision": Source(mobilenet_v2.torchvision, TORCHVISION, {"variant": "torchvision"}),
        "keras": Source(mobilenet_v2.keras, SYMMETRIC, {"variant": "keras"}),
        "gluon": Source(mobilenet_v2.gluon, TORCHVISION, {"variant": "gluon"}),
    },
    "squeezenet": {
        "torchvision": Source(squeezenet.torchvision, TORCHVISION),
        "gluon": Source(squeezenet.gluon, TORCHVISION),
    },
    "darknet19": {"darknet": Source(darknet.darknet, IDENTITY, {"norm": "darknet"})},
    "tiny_darknet": {"darknet": Source(darknet.darknet, IDENTITY, {"norm": "darknet"})},
}


def detect(arrays: Iterable[str], tables: Mapping[str, Names]) -> str:
    """Return the source whose table knows most of a file's arrays.

    Args:
      arrays: their foreign names, as `files.read` gives them.
      tables: by source, of one backbone.

    Raises:
      UserError: no table knows half of them.
    """
    names = {name for name in arrays if not any(re.fullmatch(regex, name) for regex in IGNORED)}
    if names == {NUMBERS} and "darknet" in tables:
        return "darknet"
    known = {
        source: names.intersection(theirs for theirs, _ in table.values())
        for source, table in tables.items()
    }
    source = max(known, key=lambda source: len(known[source]))
    if 2 * len(known[source]) > len(names):
        return source
    strange = sorted(names - known[source])[:3]
    raise UserError(
        f"the file's arrays have no source's names of this backbone ({', '.join(tables)}): nearest "
        f"is {source}, which knows {len(known[source])} of {len(names)}, and has for instance "
        f"{next(iter(tables[source].values()))[0]!r}, the file {', '.join(map(repr, strange))}. "
        "Name the backbone that the file is of."
    )
