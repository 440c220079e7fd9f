"""A devkit of one's own, as labelme, CVAT, LabelImg and hands write it.

What an official year must have may be missing here: class lists, annotations, masks, or lists.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from vocjax.data.classes import VOC
from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT, Record, Source
from vocjax.data.layouts import annotations, names
from vocjax.data.layouts.class_lists import Lists, States, read_folder
from vocjax.data.layouts.files import Folder, check_found, find_all
from vocjax.data.layouts.lists import Entry, by_folder, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, shown
from vocjax.data.mask_pixels import vocs_classes
from vocjax.data.masks import parse_values, stated_names
from vocjax.data.photo import ENDINGS
from vocjax.errors import UserError

MASKS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")


def read(directory: Path, request: Request) -> Source:
    """Read a devkit of one's own.

    The labels of an image in Main come from the class lists; without any, from its annotation, or
    without one from its mask. Raises `UserError`, which names the file, for what is wrong.
    """
    directory = _root(directory)
    images = Folder(directory / "JPEGImages")
    sets = _read_sets(directory / "ImageSets", images)
    parts = [part for of in sets.values() for part in of.parts.values()]
    entries = {id_: entry for part in parts for id_, entry in part.items()}
    masks = _masks(directory, {entry.mask for entry in entries.values() if entry.mask})
    owned = images.owners(masks.ids) if masks else {}
    stated = {id_: entry.mask for id_, entry in entries.items() if entry.mask}
    main, segmentation, said = _splits(sets, owned.keys() | stated.keys(), request.held_out)
    masked = _paired(segmentation, stated, owned, masks)
    found, unread = annotations.find(directory / "Annotations", images.owners)
    drawn = _drawn({id_: path for id_, path in found.items() if id_ in entries})
    listed: States = {id_: {} for id_ in main}
    for name, rows in sets["Main"].classes.items():
        for id_, state in rows.items():
            listed[id_][name] = state
    named = _classes(directory, request, [listed, drawn], masked)
    columns = {name: k for k, name in enumerate(named.classes.names)}
    lists_count = any(name in columns for name in sets["Main"].classes)

    def states(id_: str) -> dict[str, int] | None:
        if lists_count and id_ in main:
            return listed[id_]
        return drawn.get(id_, None if id_ in masked else {})

    records = [
        Record(
            id_,
            entries[id_].image,
            masked.get(id_),
            _labels(states(id_), columns),
            main.get(id_, "none"),
            segmentation.get(id_, "none"),
        )
        for id_ in sorted(entries)
    ]
    warnings = [
        *named.warnings,
        *images.unread(),
        *unread,
        *_unread(images, sets, masks, masked),
        *(warning for of in sets.values() for warning in of.warnings),
        *_unknown(listed, columns, "class lists"),
        *_unknown(drawn, columns, "annotations"),
    ]
    if lists_count:
        warnings += _contradictions(listed, drawn, columns)
    elif drawn and (lacks := sorted(entries.keys() - drawn.keys() - masked.keys())):
        count = counted(len(lacks), "image")
        warnings.append(f"no annotation for {count}, taken as without an object: {shown(lacks)}.")
    values = named.values
    if request.mask_values:
        values = parse_values(request.mask_values, named.classes)
    return Source(records, named.classes, f"devkit{said}", values, tuple(warnings))


def _root(directory: Path) -> Path:
    """Return the folder that holds JPEGImages: `directory`, or the only such one in it."""
    found = [directory.absolute()]
    if not directory.is_dir():
        raise UserError(f"{directory} isn't there, or is no folder. Give the devkit's folder.")
    if not (directory / "JPEGImages").is_dir():
        found = [*found[0].glob("*/JPEGImages"), *found[0].glob("*/*/JPEGImages")]
        found = sorted(path.parent for path in found)
    if len(found) != 1:
        several = f" (but {shown([str(path) for path in found])} do)" if found else ""
        raise UserError(
            f"{directory} holds no JPEGImages{several}. A devkit has JPEGImages, for masks "
            "SegmentationClass, for labels Annotations (XML) or ImageSets/Main with a list for "
            "each class, and in ImageSets/Main or Segmentation train.txt and val.txt. Give its "
            "folder; a folder for each class is --folders DIR, images are --images DIR."
        )
    return found[0]


def _masks(directory: Path, stated: set[str]) -> Folder | None:
    """Return the folder of the masks: the one that lists name, or the first that has any."""
    named = [name for name in MASKS if any(f"{name}/" in path for path in stated)]
    folders = (Folder(directory / name) for name in named or MASKS if (directory / name).is_dir())
    return next((folder for folder in folders if folder.ids), None)


def _read_sets(folder: Path, images: Folder) -> dict[str, Lists]:
    """Read Main and Segmentation; without any list all images are in Main.

    Then their folders train and val are the splits, if there are such.
    """
    main = folder / "Main"
    if not main.is_dir() and not (folder / "Segmentation").is_dir():
        main = folder  # some write their lists there
    sets = {"Main": read_folder(main, images)}
    sets["Segmentation"] = read_folder(folder / "Segmentation", images)
    if not images.ids:
        raise UserError(f"{images.path} holds no image. Put the images there.")
    if not any(part for of in sets.values() for part in of.parts.values()):
        if any(of.parts for of in sets.values()):
            raise UserError(
                f"{folder} has lists, and none of them names an image. Write an image id in each "
                "line of train.txt and val.txt, or remove the lists: then a share is held out."
            )
        parts, said = by_folder(images.images)
        every = {
            part: {id_: Entry(images.images[id_], "") for id_ in ids} for part, ids in parts.items()
        }
        warnings = sets["Main"].warnings + said
        sets["Main"] = sets["Main"]._replace(parts=every, warnings=warnings)
    return sets


def _splits(
    sets: dict[str, Lists], with_mask: Collection[str], share: float | None
) -> tuple[dict[str, str], dict[str, str], str]:
    """Return id -> split of Main and of Segmentation, and in words what was held out."""
    parts = {name: of.parts for name, of in sets.items() if of.parts}
    whole = any("all" in of for of in parts.values())
    said, known, done = "", dict[str, str](), dict[str, dict[str, str]]()
    # What train and val of one say holds for the other, and Segmentation has fewer to hold out.
    for name in sorted(parts, key=lambda name: ("all" in parts[name], name == "Main")):
        held_out = None if whole and "all" not in parts[name] else share
        split = split_of(parts[name], held_out, known=known)
        done[name], known, said = split.of, known | split.of, said or split.said
    main = done.get("Main", {})
    if "Segmentation" not in done:
        done["Segmentation"] = {id_: of for id_, of in main.items() if id_ in with_mask}
    return main, done["Segmentation"], said


def _paired(
    ids: Collection[str], stated: Mapping[str, str], owned: Mapping[str, str], masks: Folder | None
) -> dict[str, Path]:
    """Return id -> mask for the images of Segmentation: what a list states, or what it owns."""
    who = "ImageSets"
    if masks is None:
        for id_ in ids:
            raise UserError(
                f"{who} lists {id_} for segmentation, and no folder {' or '.join(MASKS)} has a "
                "mask. Put the masks there, or remove the lists of Segmentation."
            )
        return {}
    if not (ids or owned):
        raise UserError(
            f"no mask in {masks.path} has the name of an image: {shown([*masks.ids], 3)}. Give "
            "the masks the names of their images, or write both in each line of lists in "
            "ImageSets/Segmentation."
        )
    named = find_all({id_: stated[id_] for id_ in ids if id_ in stated}, masks, who)
    found = {id_: masks.find(owned.get(id_, id_)) for id_ in ids if id_ not in named}
    check_found([id_ for id_, mask in found.items() if mask is None], masks.path, who)
    return named | {id_: mask[1] for id_, mask in found.items() if mask}


def _drawn(found: Mapping[str, Path]) -> States:
    """Return the labels of the images that have these annotations."""
    return {
        id_: {name: DIFFICULT if difficult else PRESENT for name, difficult in objects.items()}
        for id_, path in found.items()
        for objects in [annotations.read_objects(path)]
    }


def _unread(
    images: Folder, sets: dict[str, Lists], masks: Folder | None, masked: Mapping[str, Path]
) -> list[str]:
    """Return in words which images and masks are not read."""
    said, listed = [], {id_ for of in sets.values() for part in of.parts.values() for id_ in part}
    if left := sorted(images.ids.keys() - listed):
        said.append(f"no list names {counted(len(left), 'image')}, not read: {shown(left)}.")
    folders = {path for path in images.path.parent.iterdir() if path.is_dir()}
    known = {"JPEGImages", "Annotations", "ImageSets", masks.path.name if masks else ""}
    if others := sorted(path.name for path in folders if path.name not in known and _holds(path)):
        said.append(f"nothing reads {counted(len(others), 'folder')} of the kit: {shown(others)}.")
    if masks is None:
        return said
    lacks = sorted(listed - masked.keys())
    if lacks and not sets["Segmentation"].parts:
        count = f"{len(lacks)} of {counted(len(listed), 'image')}"
        said.append(f"{count} have no mask, and are in Main alone: {shown(lacks)}.")
    used = {*masked.values()}
    if left := [id_ for id_, files in masks.ids.items() if not used.intersection(files)]:
        count = counted(len(left), "mask")
        said.append(
            f"nothing reads {count} in {masks.path}, of no image that is read for segmentation: "
            f"{shown(left)}."
        )
    return said


def _holds(folder: Path) -> bool:
    """Return whether a folder has images or annotations that someone may have meant as data."""
    if folder.name.startswith((".", "SegmentationObject", "SegmentationClassVisualization")):
        return False
    return any(file.suffix.lower() in {*ENDINGS, ".xml"} for file in folder.rglob("*"))


def _classes(
    directory: Path, request: Request, labels: list[States], masks: Mapping[str, Path]
) -> names.Named:
    """Return the classes: as the user says, as a file says, those of the labels, or VOC's.

    Masks in VOC's colours have VOC's unless no label is among what they show. Raises `UserError`
    where nothing says which index of the masks is which class.
    """
    folders = (directory, directory / "JPEGImages", directory / "Annotations")
    named = names.find(request.classes, folders)
    if named:
        return named
    found = {name for states in labels for of in states.values() for name in of}
    stated = stated_names(request.mask_values) if masks else []
    every = dict.fromkeys([*sorted(found), *stated])
    own = names.as_they_are(every, f"{directory}, by its labels,")
    if not masks or stated or found == {*VOC.names}:
        return own
    shows = vocs_classes(masks.values())
    if shows is not None and found <= {*VOC.names} and (not found or shows & found):
        return names.Named(VOC, "the colours of the masks")
    if len(found) == 1 or (found and shows == set()):
        return own
    raise UserError(
        f"{directory} has masks, "
        + (f"and labels of {shown(sorted(found))}" if found else "not in VOC's colours")
        + "; nothing says which index of the masks, 1 or 255 say, is which class. Write the names "
        f"in the order of their indices, from 1 on, into {directory / 'classes.txt'}, or give "
        "--classes a,b,c."
    )


def _labels(states: Mapping[str, int] | None, columns: Mapping[str, int]) -> np.ndarray | None:
    if states is None:
        return None
    labels = np.full(len(columns), ABSENT, np.int8)
    for name, state in states.items():
        if name in columns:
            labels[columns[name]] = state
    return labels


def _unknown(states: States, columns: Mapping[str, int], what: str) -> list[str]:
    counts = Counter(name for of in states.values() for name in of if name not in columns)
    if not counts:
        return []
    said = shown([f"{name} ({counted(count, 'image')})" for name, count in sorted(counts.items())])
    return [f"nothing reads the {what} of {said}: the data set has no such class."]


def _contradictions(listed: States, drawn: States, columns: Mapping[str, int]) -> list[str]:
    """Return in words where class lists and annotations differ, also in what is difficult."""
    wrong = []
    for id_ in sorted(listed.keys() & drawn.keys()):
        a, b = (
            {
                "difficult " * (state == DIFFICULT) + name
                for name, state in of.items()
                if state != ABSENT and name in columns
            }
            for of in (listed[id_], drawn[id_])
        )
        if a != b:
            sides = (shown(sorted(side)) or "nothing" for side in (a, b))
            wrong.append("{} ({}; {})".format(id_, *sides))
    if not wrong:
        return []
    return [
        f"class lists and annotations contradict each other in {counted(len(wrong), 'image')}, and "
        f"the lists count: {shown(wrong, 3)}."
    ]
