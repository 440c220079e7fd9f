"""VOC 2012 with SBD's masks, the "augmented" training set of 10,582 images.

Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011. Its masks lie in
`SegmentationClassAug` as PNGs, and `trainaug.txt` lists those to train on: all but VOC's validation
images.
"""

from pathlib import Path

from vocjax.data import devkit
from vocjax.data.devkit import Record, Source
from vocjax.data.layouts.files import Folder, find_all
from vocjax.data.layouts.lists import Entry, read_lists
from vocjax.data.layouts.request import Request
from vocjax.data.layouts.text import counted, shown
from vocjax.errors import UserError

YEAR = 2012
MASKS = "SegmentationClassAug"
LISTS = ("trainaug.txt", "train_aug.txt")
PLACES = (".", "ImageSets/Segmentation", "list", "lists", MASKS)


def read(voc2012: Path, request: Request) -> Source:
    """Join SBD's masks to the folder VOC2012.

    VOC's own masks count for VOC's images, and its validation images stay so whatever a list says.
    Raises `UserError` for masks or images that are missing.
    """
    assert request.sbd
    official = devkit.read(voc2012)
    records = {record.id: record for record in official.records}
    masks, images = Folder(_masks(request.sbd)), Folder(voc2012 / "JPEGImages")
    chosen = _listed(request, voc2012, images)
    named = chosen.keys() if chosen is not None else masks.images.keys()
    warnings = list(official.warnings)
    kept = sorted(id_ for id_ in named if _segmentation(records, id_) == "none")
    held = [id_ for id_ in chosen or () if _segmentation(records, id_) == "val"]
    if held:
        count = counted(len(held), "validation image")
        warnings.append(f"the list of SBD names {count} of VOC, not trained on: {shown(held)}.")
    who = f"the list or the folder of SBD in {request.sbd}"
    image = find_all({id_: id_ for id_ in kept}, images, who)
    stated = {id_: entry.mask for id_, entry in (chosen or {}).items()}
    mask = find_all({id_: stated.get(id_) or id_ for id_ in kept}, masks, who)
    for id_ in kept:
        if id_ not in records:
            labels = devkit.annotated_labels(voc2012 / "Annotations" / f"{id_}.xml")
            records[id_] = Record(id_, image[id_], None, labels, "none", "none")
        records[id_] = records[id_]._replace(mask=mask[id_], segmentation="train")
    if not kept:
        raise UserError(
            f"{request.sbd} adds no image to VOC's own. Expected {MASKS} with the masks of about "
            "12,000 images. Give the folder that holds it."
        )
    every = [records[id_] for id_ in sorted(records)]
    return official._replace(records=every, warnings=tuple(warnings))


def _masks(directory: Path) -> Path:
    for folder in (directory / MASKS, directory):
        if folder.name == MASKS and folder.is_dir():
            return folder
    original = " It has SBD's original files (cls/*.mat), which are not read: convert them." * any(
        next(directory.glob(f"{place}/*.mat"), None) for place in ("cls", "dataset/cls")
    )
    raise UserError(
        f"{directory} holds no {MASKS}.{original} Expected SBD's masks as PNGs of class indices, "
        f"{MASKS}/2007_000032.png for example. Give the folder that holds {MASKS}."
    )


def _listed(request: Request, voc2012: Path, images: Folder) -> dict[str, Entry] | None:
    """Return what the list of training images names; None without a list."""
    assert request.sbd
    roots = (*request.lists, request.sbd, request.sbd.parent, voc2012)
    files = [root / place / file for root in roots for place in PLACES for file in LISTS]
    path = next((path for path in (*request.lists, *files) if path.is_file()), None)
    if path is None and request.lists:
        raise UserError(
            f"--lists {' '.join(map(str, request.lists))} gives no {' or '.join(LISTS)}. Give the "
            "file of SBD's training images, or leave it out: then all masks but VOC's validation "
            "are for training."
        )
    return read_lists({"train": path}, images)["train"] if path else None


def _segmentation(records: dict[str, Record], id_: str) -> str:
    return records[id_].segmentation if id_ in records else "none"
