"""`vocjax weights`: flags to function calls, as in `vocjax.commands`, which import inside."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vocjax.errors import UserError, check_range, local_path

if TYPE_CHECKING:
    from vocjax.models.backbones.preprocessing import Preprocessing

# The names in `BACKBONES`, which would load JAX before the first word of help.
NAMES = (
    "alexnet, vgg16, vgg19, resnet18, resnet50, darknet19, tiny_darknet, inception_v1, "
    "inception_v3, xception, mobilenet, mobilenet_v2, squeezenet"
)
# The names in `PUBLISHED`.
FETCHED = (
    "alexnet, vgg16, vgg19, resnet18, resnet50, inception_v1, inception_v3, mobilenet_v2, "
    "squeezenet, xception, vgg16-keras, vgg19-keras, resnet50-keras, inception_v3-keras"
)
TOP = 5  # classes that are printed for a photo

AddVerb = Callable[[str, object, str, str], argparse.ArgumentParser]


def add_verbs(add: AddVerb) -> None:
    """Add the verbs by `add(name, function, purpose, example)`, which makes a verb's parser."""
    bring = add(
        "import",
        _import,
        "bring another library's weight file into our layout, all of it or nothing",
        "vocjax weights import --backbone resnet50 resnet50.pth --output weights/resnet50\n"
        "  vocjax weights import --backbone inception_v3 gluon.pth --output weights/inception "
        "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225\n"
        "  vocjax weights import --backbone vgg16 vgg16_20.h5 --classes 20 --output weights/vgg\n"
        "  vocjax weights import --backbone resnet18 trunk.npz --skip 'backbone/conv5|head' "
        "--output weights/trunk\n"
        "  vocjax weights import --backbone vgg16 own.pth --skip head --ignore 'classifier.*' "
        "--output weights/own",
    )
    bring.add_argument(
        "file",
        type=local_path,
        metavar="FILE",
        help="a state dict or checkpoint of torch, .safetensors, Keras's .h5 or .keras, .npz or "
        "Darknet's .weights",
    )
    bring.add_argument("--backbone", required=True, metavar="NAME", help=NAMES)
    bring.add_argument("--output", type=local_path, required=True, metavar="DIR")
    bring.add_argument(
        "--source",
        default="",
        help="of the names in the file: torchvision, timm, keras, gluon, caffe or darknet "
        "(default: the one that knows most of them)",
    )
    for flag, what in (
        ("--skip", "a part, by our path, that the file shall not fill; can be repeated"),
        ("--ignore", "names in the file that shall not be used; can be repeated"),
    ):
        bring.add_argument(flag, action="append", default=[], metavar="REGEX", help=what)
    what = "of the head in the file (default: 1000)"
    bring.add_argument("--classes", type=int, default=1000, metavar="N", help=what)
    how = bring.add_argument_group(
        "preprocessing",
        "the network takes (image * scale - mean) / std, for images from 0 to 1.\n"
        "Without these flags it is the usual one of the source; with any of the first\n"
        "three, the others of them are 0, 1 and 1 unless given",
    )
    how.add_argument("--mean", type=_three, metavar="A,B,C", help="in the order of --channels")
    how.add_argument("--std", type=_three, metavar="A,B,C", help="in the order of --channels")
    how.add_argument("--scale", type=float, metavar="X", help="white before the mean: 1 or 255")
    how.add_argument("--channels", metavar="ORDER", help="RGB or BGR")
    get = add(
        "fetch",
        _fetch,
        "bring published weights into the cache, from where config.init_from takes them by name",
        "vocjax weights fetch squeezenet",
    )
    get.add_argument("name", metavar="NAME", help=FETCHED)
    export = add(
        "export",
        _export,
        "write imported weights, or a run's backbone, under another library's names",
        "vocjax weights export weights/resnet50 --output resnet50.safetensors --source torchvision",
    )
    what = "imported weights, or a run directory"
    export.add_argument("directory", type=local_path, metavar="DIR", help=what)
    what = ".npz or .safetensors"
    export.add_argument("--output", type=local_path, required=True, metavar="FILE", help=what)
    what = "of the names (default: the one that the weights came with)"
    export.add_argument("--source", default="", help=what)
    classify = add(
        "classify",
        _classify,
        "print the classes that imported weights with a head find in photos",
        "vocjax weights classify weights/squeezenet dog.jpg --labels imagenet.txt",
    )
    classify.add_argument("directory", type=local_path, metavar="DIR", help="imported weights")
    classify.add_argument("images", type=local_path, nargs="+", metavar="IMAGE")
    what = "a class's name in each line (default: numbers)"
    classify.add_argument("--labels", type=local_path, metavar="FILE", help=what)
    what = "of the square that a photo becomes (default: 224)"
    classify.add_argument("--size", type=int, default=224, help=what)


def _three(text: str) -> tuple[float, float, float]:
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError as error:
        message = f"{text!r} is not three numbers, as 0.485,0.456,0.406"
        raise argparse.ArgumentTypeError(message) from error
    return a, b, c


def _import(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.models.backbones.preprocessing import Given
    from vocjax.pretrained.store import import_weights

    given = Given(options.channels, options.scale, options.mean, options.std)
    made = import_weights(
        options.backbone,
        options.file,
        options.output,
        source=options.source,
        skip=options.skip,
        ignore=options.ignore,
        classes=options.classes,
        given=given,
    )
    head = f"head of {made.classes} classes" if made.classes else "without a head"
    print(f"{made.backbone}, {head}, from {made.file['name']} by {made.source}'s names")
    if made.prefix:
        others = sum(not name.startswith(made.prefix) for name in made.ignored)
        print(f"prefix of the names: {made.prefix!r} is stripped; {others} others are passed over")
    print(f"taken: {len(made.arrays)} arrays, {made.parameters:,} numbers")
    print(f"skipped (drawn anew): {_counted(made.skipped, options.skip)}")
    print(f"ignored in the file: {_listed(made.ignored)}")
    origin = ", as given" if given != Given() else ""
    print(f"preprocessing: {_described(made.preprocessing)}{origin}")
    print(f"imported weights: {options.output}")
    return 0


def _fetch(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.pretrained.fetch import fetch_weights

    print(f"imported weights: {fetch_weights(options.name)}")
    print(f"begin a run with them: --config.init_from={options.name}")
    return 0


def _export(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.models.backbones import SOURCES
    from vocjax.pretrained.export import export_weights

    made = export_weights(options.directory, options.output, options.source)
    numbers = sum(array.size for array in made.arrays.values())
    print(f"{made.backbone} by {made.source}'s names")
    print(f"written: {len(made.arrays)} arrays, {numbers:,} numbers")
    print(f"preprocessing: {_described(made.preprocessing)}")
    usual = SOURCES[made.backbone][made.source].preprocessing
    if made.preprocessing != usual:
        print(
            "note: the file does not contain it; an import of the file takes the usual one of "
            f"{made.source}: {_described(usual)}"
        )
    print(f"weights: {options.output}")
    return 0


def _classify(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.data.photo import read_photo
    from vocjax.data.pipeline import resize_image
    from vocjax.pretrained.classify import classifier_of, read_labels

    check_range("--size", options.size, least=1)
    labels = read_labels(options.labels) if options.labels else None
    classify, unreadable = classifier_of(options.directory), 0
    for path in options.images:
        try:
            photo = read_photo(path)
        except UserError as error:
            print(f"{path} is skipped: {error}", file=sys.stderr)
            unreadable += 1
            continue
        image = resize_image(photo, options.size, 3).astype("float32") / 255
        (probability,) = classify(image[None])
        if labels is not None and len(labels) != len(probability):
            raise UserError(
                f"{options.labels} has {len(labels)} lines, and the head of {options.directory} "
                f"{len(probability)} classes; give the labels of these weights."
            )
        best = [int(i) for i in probability.argsort()[: -TOP - 1 : -1]]
        found = (f"{labels[i] if labels else i} {probability[i]:.4f}" for i in best)
        print(f"{path} {', '.join(found)}", flush=True)
    return 1 if unreadable else 0


def _counted(names: Sequence[str], shown: Sequence[str]) -> str:
    from vocjax.runs.reader import counted

    return f"{counted(len(names), 'array')} ({', '.join(shown)})" if names else "nothing"


def _listed(ignored: Sequence[str]) -> str:
    from vocjax.pretrained.matching import REST

    if len(ignored) == 1 and ignored[0].endswith(REST):
        return ignored[0]
    return _counted(ignored, [*ignored[:3], "..."][: len(ignored)])


def _described(preprocessing: "Preprocessing") -> str:
    def values(numbers: Sequence[float]) -> str:
        return f"({', '.join(f'{number:.6g}' for number in numbers)})"

    order, white, mean, scale = preprocessing
    return f"{order} from 0 to {white:g}, minus {values(mean)}, times {values(scale)}"
