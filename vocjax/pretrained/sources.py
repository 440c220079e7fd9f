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


class Family(NamedTuple):
    """Weights of one origin for one backbone.

    - `names`: the table of names, of a network;
    - `preprocessing`: what the published weights were trained with;
    - `fields`: of the network, with which it computes what the origin's does.
    """

    names: Callable[[Network], Names]
    preprocessing: Preprocessing
    fields: Mapping[str, str] = {}


FAMILIES: Mapping[str, Mapping[str, Family]] = {
    "alexnet": {"torchvision": Family(alexnet.torchvision, TORCHVISION)},
    "vgg16": {
        "torchvision": Family(vgg.torchvision, TORCHVISION),
        "keras": Family(vgg.keras, CAFFE),
    },
    "vgg19": {
        "torchvision": Family(vgg.torchvision, TORCHVISION),
        "keras": Family(vgg.keras, CAFFE),
    },
    "resnet18": {"torchvision": Family(resnet.torchvision, TORCHVISION)},
    "resnet50": {
        "torchvision": Family(resnet.torchvision, TORCHVISION, {"variant": "torchvision"}),
        "keras": Family(resnet.keras, CAFFE, {"variant": "keras"}),
        "caffe": Family(resnet.caffe, CAFFE, {"variant": "caffe"}),
    },
    # torchvision's published Inceptions are Google's: they turn its usual values into [-1, 1].
    "inception_v1": {"torchvision": Family(inception_v1.torchvision, SYMMETRIC)},
    "inception_v3": {
        "torchvision": Family(inception_v3.torchvision, SYMMETRIC, {"variant": "torchvision"}),
        "keras": Family(inception_v3.keras, SYMMETRIC, {"variant": "keras"}),
    },
    "xception": {"keras": Family(xception.keras, SYMMETRIC)},
    "mobilenet": {"keras": Family(mobilenet.keras, SYMMETRIC)},
    "mobilenet_v2": {
        "torchvision": Family(mobilenet_v2.torchvision, TORCHVISION, {"variant": "torchvision"}),
        "keras": Family(mobilenet_v2.keras, SYMMETRIC, {"variant": "keras"}),
        "gluon": Family(mobilenet_v2.gluon, TORCHVISION, {"variant": "gluon"}),
    },
    "squeezenet": {
        "torchvision": Family(squeezenet.torchvision, TORCHVISION),
        "gluon": Family(squeezenet.gluon, TORCHVISION),
    },
    "darknet19": {"darknet": Family(darknet.darknet, IDENTITY, {"norm": "darknet"})},
    "tiny_darknet": {"darknet": Family(darknet.darknet, IDENTITY, {"norm": "darknet"})},
}


def detect(arrays: Iterable[str], tables: Mapping[str, Names]) -> str:
    """Return the family whose table knows most of a file's arrays.

    Args:
      arrays: their foreign names, as `files.read` gives them.
      tables: by family, of one backbone.

    Raises:
      UserError: no table knows half of them.
    """
    names = {name for name in arrays if not any(re.fullmatch(regex, name) for regex in IGNORED)}
    if names == {NUMBERS} and "darknet" in tables:
        return "darknet"
    known = {
        family: names.intersection(theirs for theirs, _ in table.values())
        for family, table in tables.items()
    }
    family = max(known, key=lambda family: len(known[family]))
    if 2 * len(known[family]) > len(names):
        return family
    strange = sorted(names - known[family])[:3]
    raise UserError(
        f"the file's arrays have no family's names of this backbone ({', '.join(tables)}): nearest "
        f"is {family}, which knows {len(known[family])} of {len(names)}, and has for instance "
        f"{next(iter(tables[family].values()))[0]!r}, the file {', '.join(map(repr, strange))}. "
        "Name the backbone that the file is of."
    )
