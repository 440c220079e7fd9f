"""Images with the masks that have their names, or images alone."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

from vocjax.data.classes import Classes
from vocjax.data.devkit import SPLITS, Record, Source
from vocjax.data.layouts import names
from vocjax.data.layouts.files import Folder, find_all
from vocjax.data.layouts.lists import STEMS, Entry, by_folder, choose_stems, read_lists, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, shown
from vocjax.data.masks import parse_values
from vocjax.errors import UserError

MASK = "_mask"  # what the name of a mask may have more than that of its image


def read(directory: Path, request: Request) -> Source:
    """Read images, with masks or alone; the two may lie in one folder if masks end in `_mask`.

    The split comes from lists, from folders train and val, or a share is held out. An image without
    a mask is in Main alone. Raises `UserError` where there is no image, no pair, or no class name.
    """
    folder = Folder(directory)
    masks = Folder(request.masks) if request.masks else None
    images = _images(folder, masks)
    lists, entries = _find_lists(directory, request), dict[str, Entry]()
    if lists:
        listed = read_lists(lists, folder)
        parts = {part: list(of) for part, of in listed.items()}
        entries = {id_: entry for of in listed.values() for id_, entry in of.items()}
        warnings = _beside_lists(entries, images, lists)
    else:
        parts, warnings = by_folder(images)
    if not any(parts.values()):
        raise UserError(
            f"{directory} holds no image, or lists that name none. Give the folder of the images."
        )
    warnings += folder.unread()
    split = split_of(parts, request.held_out)
    named, paired = names.Named(Classes(()), ""), dict[str, Path]()
    stated = {id_: entry.mask for id_, entry in entries.items() if entry.mask}
    if masks:
        named = _named(directory, masks.path, request.classes)
        paired = _paired(images, masks, find_all(stated, masks, "a list"))
        warnings += named.warnings + _unpaired(split.of, images, masks, paired)
    else:
        warnings += _unused(stated, images, directory)
    values = named.values
    if request.mask_values:
        values = parse_values(request.mask_values, named.classes)
    records = [
        Record(id_, images[id_], paired.get(id_), None, part, part if id_ in paired else "none")
        for id_, part in sorted(split.of.items())
    ]
    origin = f"images{' and masks' * bool(masks)}{split.said}"
    return Source(records, named.classes, origin, values, warnings)


def _images(folder: Folder, masks: Folder | None) -> dict[str, Path]:
    """Return the images of a folder, which may hold the masks, too."""
    images = folder.images
    if masks and masks.path.samefile(folder.path):
        return {id_: file for id_, file in images.items() if not id_.casefold().endswith(MASK)}
    if masks is None or folder.path.resolve().is_relative_to(masks.path.resolve()):
        return images
    drawn = {file.resolve() for file in masks.images.values()}
    return {id_: file for id_, file in images.items() if file.resolve() not in drawn}


def _beside_lists(
    entries: Mapping[str, Entry], images: Mapping[str, Path], lists: Mapping[str, Path]
) -> tuple[str, ...]:
    """Return a warning about images in no list; raises `UserError` where a list names a mask."""
    said = shown([path.name for path in lists.values()])
    wrong = [entry.image.name for id_, entry in entries.items() if id_ not in images]
    if wrong:
        raise UserError(
            f"{next(iter(lists.values())).parent}: the lists ({said}) name masks as images: "
            f"{shown(wrong)}. Expected an image in each line, or an image and its mask. Correct "
            "the lines."
        )
    left = sorted(images.keys() - entries.keys())
    count = f"{len(left)} of {counted(len(images), 'image')}"
    return (f"nothing reads {count}, in no list ({said}): {shown(left)}.",) if left else ()


def _paired(
    images: Mapping[str, Path], masks: Folder, stated: Mapping[str, Path]
) -> dict[str, Path]:
    """Return id -> mask: the stated one, or the one of the image's name, without `_mask` or with.

    The very name comes before one in other letters, small and capital. The folders of splits are
    left out where the masks have none. A mask belongs to one image: raises `UserError` where two
    have the same right to it.
    """
    paired, photographs = dict(stated), {*images.values()}
    for short, ending, exact in product((False, True), ("", MASK), (True, False)):
        owners: dict[Path, str] = {}
        for id_ in sorted(images.keys() - paired.keys()):
            top, _, rest = id_.partition("/")
            name = (rest if short and top.lower() in STEMS else id_) + ending
            found = masks.find(name)
            if not found or found[1] in photographs or (exact and found[0] != name):
                continue
            if found[1] not in paired.values() and owners.setdefault(found[1], id_) != id_:
                raise UserError(
                    f"{found[1]} has the name of two images, {owners[found[1]]} and {id_}. Give "
                    "each its own mask, or say in --lists which mask is whose."
                )
        paired |= {id_: file for file, id_ in owners.items()}
    return paired


def _unpaired(
    split: Mapping[str, str], images: Mapping[str, Path], masks: Folder, paired: Mapping[str, Path]
) -> tuple[str, ...]:
    """Return warnings about images without masks and the reverse; `UserError` without a pair."""
    photographs, used = {*images.values()}, {*paired.values()}
    every = {id_: file for id_, file in masks.images.items() if file not in photographs}
    lacks = sorted(split.keys() - paired.keys())
    left = [id_ for id_, file in every.items() if file not in used]
    if len(lacks) == len(split):
        raise UserError(
            f"no mask in {masks.path} has the name of an image: the images are {shown(lacks, 3)}, "
            f"and the masks {shown(left, 3) or 'none'}. Expected masks with the names of their "
            f"images, with or without {MASK} at the end. Rename them, or give --lists with an "
            "image and its mask in each line."
        )
    said = []
    if lacks:
        count = f"{len(lacks)} of {len(split)}"
        said.append(f"{count} images have no mask, and are in Main alone: {shown(lacks)}.")
    if left:
        said.append(f"{len(left)} of {len(every)} masks belong to no image: {shown(left)}.")
    return tuple(said)


def _unused(
    stated: Mapping[str, str], images: Mapping[str, Path], directory: Path
) -> tuple[str, ...]:
    """Return a warning about what looks like masks where none are asked for."""
    here = [id_ for id_ in images if id_.casefold().endswith(MASK) and id_[: -len(MASK)] in images]
    said = []
    if stated:
        said.append(
            f"nothing reads the masks that lists name ({shown([*stated.values()])}): give --masks."
        )
    if here:
        said.append(
            f"{counted(len(here), 'file')} with {MASK} in the name are taken for photographs: "
            f"{shown(here)}. If they are masks, give --masks {directory}, too."
        )
    return tuple(said)


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
