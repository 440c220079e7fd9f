"""A devkit of one's own, as labelme, CVAT, LabelImg and hands write it.

What an official year must have may be missing here: class lists, annotations, masks, or lists.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vocjax.data.classes import VOC, Classes
from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT, Record, Source
from vocjax.data.layouts import annotations, names
from vocjax.data.layouts.class_lists import Lists, States, read_folder
from vocjax.data.layouts.files import Folder, find_all
from vocjax.data.layouts.lists import Entry, split_of
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, shown
from vocjax.data.masks import parse_values
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
    main, segmentation, said = _splits(sets, masks, request.held_out)
    masked = _paired({id_: entries[id_].mask or id_ for id_ in segmentation}, masks)
    found = annotations.find(directory / "Annotations")
    drawn: States = {
        id_: {name: DIFFICULT if difficult else PRESENT for name, difficult in objects.items()}
        for id_ in entries
        if id_ in found
        for objects in [annotations.read_objects(found[id_])]
    }
    listed: States = {id_: {} for id_ in main}
    for name, rows in sets["Main"].classes.items():
        for id_, state in rows.items():
            listed[id_][name] = state
    named = _classes(directory, request, [listed, drawn], masked=bool(masked))
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
    return next((folder for folder in folders if folder.images), None)


def _read_sets(folder: Path, images: Folder) -> dict[str, Lists]:
    """Read Main and Segmentation; without any list all images are in Main."""
    main = folder / "Main"
    if not main.is_dir() and not (folder / "Segmentation").is_dir():
        main = folder  # some write their lists there
    sets = {"Main": read_folder(main, images)}
    sets["Segmentation"] = read_folder(folder / "Segmentation", images)
    if not any(part for of in sets.values() for part in of.parts.values()):
        if any(of.parts for of in sets.values()):
            raise UserError(
                f"{folder} has lists, and none of them names an image. Write an image id in each "
                "line of train.txt and val.txt, or remove the lists: then a share is held out."
            )
        every = {id_: Entry(file, "") for id_, file in images.images.items()}
        sets["Main"] = sets["Main"]._replace(parts={"all": every})
    return sets


def _splits(
    sets: dict[str, Lists], masks: Folder | None, share: float
) -> tuple[dict[str, str], dict[str, str], str]:
    """Return id -> split of Main and of Segmentation, and in words what was held out."""
    parts = {name: of.parts for name, of in sets.items() if of.parts}
    whole = any("all" in of for of in parts.values())
    said, known, done = "", dict[str, str](), dict[str, dict[str, str]]()
    # What train and val of one say holds for the other, and Segmentation has fewer to hold out.
    for name in sorted(parts, key=lambda name: ("all" in parts[name], name == "Main")):
        held_out = 0 if whole and "all" not in parts[name] else share
        split = split_of(parts[name], held_out, known=known)
        done[name], known, said = split.of, known | split.of, said or split.said
    main = done.get("Main", {})
    if "Segmentation" not in done:
        has = {id_: split for id_, split in main.items() if masks and masks.find(id_)}
        done["Segmentation"] = has
    return main, done["Segmentation"], said


def _paired(stated: Mapping[str, str], masks: Folder | None) -> dict[str, Path]:
    """Return id -> mask for the images of Segmentation, whose masks' names are given."""
    who = "ImageSets/Segmentation"
    if stated and masks is None:
        raise UserError(
            f"{who} lists {next(iter(stated))}, and no folder {' or '.join(MASKS)} has a mask. Put "
            "the masks there, or remove the lists of Segmentation."
        )
    if masks is None:
        return {}
    return find_all(stated, masks, who)


def _classes(
    directory: Path, request: Request, labels: list[States], *, masked: bool
) -> names.Named:
    """Return the classes: as the user says, as a file says, or those of the labels.

    Raises `UserError` where the labels have names that VOC has not, and nothing says which index of
    the masks is which of them.
    """
    if request.classes:
        return names.given(request.classes)
    folders = (directory, directory / "JPEGImages", directory / "Annotations")
    named = names.in_files(folders)
    if named:
        return named
    found = {name for states in labels for of in states.values() for name in of}
    if not found and not masked:
        return names.Named(Classes(()), "nothing")
    named = names.of_labels(found, f"{directory}, by its lists and annotations,")
    if masked and named.classes is not VOC and len(named.classes.names) > 1:
        raise UserError(
            f"{directory} has masks, and labels of {shown(list(named.classes.names))}; nothing "
            "says which index of the masks is which class. Write the names in the order of their "
            f"indices, from 1 on, into {directory / 'classes.txt'}, or give --classes a,b,c."
        )
    return named


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
    """Return in words where class lists and annotations differ."""
    wrong = []
    for id_ in sorted(listed.keys() & drawn.keys()):
        a, b = (
            {name for name, state in of.items() if state != ABSENT and name in columns}
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
