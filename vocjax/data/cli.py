"""`vocjax data`: flags to function calls, as in `vocjax.commands`, which import inside."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocjax.errors import local_path

if TYPE_CHECKING:
    from vocjax.data.index import Prepared

AddVerb = Callable[[str, object, str, str], argparse.ArgumentParser]

FOLDERS = {
    "devkit": "an unpacked devkit: official, whole or in part, or your own",
    "folders": "a folder for each class: train/cat/*.jpg and val/cat/*.jpg, or cat/*.jpg",
    "images": "images, with --masks or alone; in train and val, by lists, or a share held out",
    "masks": "masks with the names of the images",
    "sbd": "SegmentationClassAug of SBD, with VOC2012 from --devkit, --archive or a download",
}
TEXTS = {
    "mask_values": (
        "V=NAME,...",
        "what values of masks mean: 0=background,255=cat; object: the label of tfds:NAME",
    ),
    "features": ("F=NAME,...", "of tfds:NAME: image=image,label=label,mask=segmentation_mask"),
}


def add_verbs(add: AddVerb) -> None:
    """Add the verbs by `add(name, function, purpose, example)`, which makes a verb's parser."""
    prepare = add(
        "prepare",
        _prepare,
        "build a data set from an archive, a download, or your own images",
        "vocjax data prepare --dataset toy\n\n"
        "with what you have:\n"
        "  vocjax data prepare --dataset voc2009 --devkit VOCdevkit\n"
        "  vocjax data prepare --dataset pets --folders photos --held_out 0.2\n"
        "  vocjax data prepare --dataset cells --images img --masks masks --classes cell\n"
        "  vocjax data prepare --dataset voc2012_aug --devkit VOCdevkit --sbd SBD\n"
        "  vocjax data prepare --dataset tfds:beans --data_dir ~/tensorflow_datasets "
        "--features label=label",
    )
    prepare.add_argument("--archive", type=local_path, metavar="TAR", help="the official archive")
    for name, what in FOLDERS.items():
        prepare.add_argument(f"--{name}", type=local_path, metavar="DIR", help=what)
    what = "train.txt and val.txt, or their folder (default: beside the images)"
    prepare.add_argument(
        "--lists", type=local_path, nargs="+", default=(), metavar="PATH", help=what
    )
    what = "names, where no file says them; of masks in the order of their indices, from 1 on"
    prepare.add_argument("--classes", type=_names, default=(), metavar="A,B,C", help=what)
    what = "of the images for validation, where nothing says which (default: 0.2)"
    prepare.add_argument("--held_out", type=float, metavar="SHARE", help=what)
    for name, (form, what) in TEXTS.items():
        prepare.add_argument(f"--{name}", default="", metavar=form, help=what)
    info = add(
        "info",
        _info,
        "counts per split and class, sizes, where it lies, and what looked wrong",
        "vocjax data info --dataset toy --figure toy.png",
    )
    info.add_argument(
        "--figure", type=local_path, metavar="FILE", help="write a contact sheet (PNG)"
    )
    which = "toy, voc2007 to voc2012, tfds:NAME, or a name of your own"
    for verb in (prepare, info):
        verb.add_argument("--dataset", required=True, metavar="NAME", help=which)
        verb.add_argument("--data_dir", type=local_path, default=Path("data"), metavar="DIR")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _prepare(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.data import voc
    from vocjax.data.layouts.request import Request

    given = {name: getattr(options, name) for name in Request._fields}
    given["lists"] = tuple(options.lists)
    _show(voc.prepare(options.dataset, options.data_dir, **given))
    return 0


def _info(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.data import info, voc

    prepared = voc.load(options.dataset, options.data_dir)
    _show(prepared)
    if options.figure is not None:
        info.contact_sheet(prepared, options.figure)
        print(f"contact sheet: {options.figure}")
    return 0


def _show(prepared: "Prepared") -> None:
    from vocjax.data import info

    print(info.summary(prepared), flush=True)
    for warning in prepared.warnings:
        print(f"warning: {warning}", file=sys.stderr)
