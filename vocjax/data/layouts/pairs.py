"""Images with the masks that have their names, or images alone."""

from pathlib import Path

from vocjax.data.classes import Classes
from vocjax.data.devkit import SPLITS, Record, Source
from vocjax.data.layouts import names
from vocjax.data.layouts.files import Folder, bare
from vocjax.data.layouts.lists import STEMS, by_folder, choose_stems, read_lists, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import image_id, shown
from vocjax.data.masks import parse_values
from vocjax.errors import UserError

MASK = "_mask"  # what the name of a mask may have more than that of its image


def read(directory: Path, request: Request) -> Source:
    """Read images, with masks or alone; the two may lie in one folder if masks end in `_mask`.

    The split comes from lists, from folders train and val, or a share is held out. An image without
    a mask is in Main alone. Raises `UserError` where there is no image, no pair, or no class name.
    """
    folder = Folder(directory)
    masks = _masks(directory, request.masks)
    drawn = {*masks.values()}
    if request.masks and request.masks != directory:  # it may lie in the folder of the images
        drawn |= {f for f in folder.images.values() if request.masks in f.parents}
    images = {id_: file for id_, file in folder.images.items() if file not in drawn}
    lists, stated = _find_lists(directory, request), dict[str, str]()
    if lists:
        entries = read_lists(lists, folder)
        parts = {part: list(of) for part, of in entries.items()}
        stated = {id_: e.mask for of in entries.values() for id_, e in of.items() if e.mask}
        warnings: tuple[str, ...] = ()
    else:
        parts, warnings = by_folder(images)
    if not any(parts.values()):
        raise UserError(
            f"{directory} holds no image, or lists that name none. Give the folder of the images."
        )
    warnings += folder.unread()
    split = split_of(parts, request.held_out)
    named, paired = names.Named(Classes(()), ""), dict[str, Path]()
    if request.masks:
        named = _named(directory, request.masks, request.classes)
        where = {id_: image_id(name, request.masks, "a list") for id_, name in stated.items()}
        names_of = {id_: where.get(id_, id_) for id_ in split.of}
        paired, said = _paired(names_of, masks, request.masks)
        warnings += named.warnings + said
    values = named.values
    if request.mask_values:
        values = parse_values(request.mask_values, named.classes)
    records = [
        Record(id_, images[id_], paired.get(id_), None, part, part if id_ in paired else "none")
        for id_, part in sorted(split.of.items())
    ]
    origin = f"images{' and masks' * bool(request.masks)}{split.said}"
    return Source(records, named.classes, origin, values, warnings)


def _masks(images: Path, masks: Path | None) -> dict[str, Path]:
    """Return the masks by the ids of their images, or by their names."""
    if masks is None:
        return {}
    found = Folder(masks).images
    together = masks.resolve() == images.resolve()
    return {
        id_.removesuffix(MASK): file
        for id_, file in found.items()
        if id_.endswith(MASK) or not (together or f"{id_}{MASK}" in found)
    }


def _paired(
    names_of: dict[str, str], masks: dict[str, Path], where: Path
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return id -> mask of the images whose masks have `names_of`, and warnings about the others.

    The folders of splits are left out where the masks have none.
    """
    paired = {}
    for id_, name in names_of.items():
        top, _, short = name.partition("/")
        keys = (name, short if top.lower() in STEMS else name)
        file = next((masks[bare(key)] for key in keys if bare(key) in masks), None)
        if file:
            paired[id_] = file
    lacks = sorted(names_of.keys() - paired.keys())
    left = sorted(key for key, file in masks.items() if file not in paired.values())
    if not paired:
        raise UserError(
            f"no mask in {where} has the name of an image: the images are {shown(lacks, 3)}, and "
            f"the masks {shown(left, 3) or 'none'}. Expected masks with the names of their images, "
            f"with or without {MASK} at the end. Rename them, or give --lists with an image and "
            "its mask in each line."
        )
    said = []
    if lacks:
        count = f"{len(lacks)} of {len(names_of)}"
        said.append(f"{count} images have no mask, and are in Main alone: {shown(lacks)}.")
    if left:
        said.append(f"{len(left)} of {len(masks)} masks belong to no image: {shown(left)}.")
    return paired, tuple(said)


def _find_lists(directory: Path, request: Request) -> dict[str, Path]:
    """Return part -> list: those of --lists, or train.txt and val.txt beside the images."""
    places = request.lists or (directory, directory.parent)
    for place in places:
        if not place.exists():
            raise UserError(f"--lists {place} isn't there. Give train.txt and val.txt.")
    files = [path for place in places for path in (place.iterdir() if place.is_dir() else [place])]
    paths = {path.stem: path for path in reversed(files) if path.suffix.lower() == ".txt"}
    chosen, _ = choose_stems(paths)
    if request.lists and not chosen:
        raise UserError(
            f"--lists {' '.join(map(str, request.lists))} gives no train.txt and val.txt. Expected "
            "files of these names, with an image in each line, or a folder that holds them."
        )
    return {part: paths[stem] for part, stem in chosen.items()}


def _named(directory: Path, masks: Path, classes: tuple[str, ...]) -> names.Named:
    roots = (directory, masks)
    folders = [root / sub for root in roots for sub in (".", *SPLITS)]
    named = names.find(classes, [*folders, directory.parent, masks.parent])
    if named is None:
        raise UserError(
            f"nothing names the classes of the masks in {masks}. Write them in the order of their "
            f"indices, from 1 on, into {directory.parent / 'classes.txt'}, or give --classes a,b,c."
        )
    return named
