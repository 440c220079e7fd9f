"""Writes toy scenes to disk in the layout of one year of a VOC devkit."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from vocjax.data.classes import PALETTE, VOC
from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT, SPLITS
from vocjax.data.toy.scenes import Scene, compose
from vocjax.errors import UserError

N_TRAIN, N_VAL = 360, 360  # images in ImageSets/Main
S_TRAIN, S_VAL = 180, 180  # how many of them, from the first, have masks
JPEG_QUALITY = 90

# Of 30 images in a row each class is the subject of one, the study's two classes of six.
SUBJECTS = (*VOC.names, *("aeroplane", "dog") * 5)

States = dict[str, list[int]]  # image id: PRESENT, DIFFICULT or ABSENT per class


def write_devkit(
    directory: Path,
    *,
    seed: int = 0,
    images: tuple[int, int] = (N_TRAIN, N_VAL),
    segmentation: tuple[int, int] = (S_TRAIN, S_VAL),
) -> None:
    """Draw a small VOC devkit; `directory` becomes the folder of its one year.

    It holds JPEGImages (RGB, sides of 84 to 160 pixels), Annotations (XML), SegmentationClass
    (palette PNG: 0 background, 1 to 20 classes, 255 void) and the lists of ImageSets/Main and
    ImageSets/Segmentation. `images` are the numbers of (train, val) images; the first
    `segmentation` of them get a mask. Image i of a split depends on `seed`, the split and i alone,
    and the same seed writes the same bytes. Raises `UserError` where the counts don't fit each
    other, or there is something in `directory`.
    """
    if not all(0 < masks <= total for masks, total in zip(segmentation, images, strict=True)):
        raise UserError(
            f"A toy devkit can't have images={images} and segmentation={segmentation}: each split "
            "needs at least one image with a mask, and no more of those than images. "
            "Raise `images` or lower `segmentation`."
        )
    if directory.exists() and any(directory.iterdir()):
        raise UserError(
            f"{directory} is not empty, and a toy devkit would overwrite what is in it. "
            "Give a new or an empty folder."
        )
    for folder in ("JPEGImages", "Annotations", "SegmentationClass"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    states: dict[str, States] = {}
    masked: dict[str, list[str]] = {}
    for split, total, masks in zip(SPLITS, images, segmentation, strict=True):
        ids = [f"{split}_{index:06d}" for index in range(total)]
        masked[split], states[split] = ids[:masks], {}
        for index, id_ in enumerate(ids):
            scene = draw_scene(seed, split, index)
            _write_scene(directory, id_, scene, with_mask=index < masks)
            states[split][id_] = _class_states(scene)
    _write_lists(directory / "ImageSets", states, masked)


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Image `index` of a split."""
    number = SPLITS.index(split)
    block, position = divmod(index, len(SUBJECTS))
    order = _generator(seed, number, block, 1).permutation(len(SUBJECTS))
    return compose(_generator(seed, number, index), SUBJECTS[order[position]])


def _generator(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(entropy))


def _class_states(scene: Scene) -> list[int]:
    states = dict.fromkeys(VOC.names, ABSENT)
    for one in scene.objects:
        states[one.name] = max(states[one.name], DIFFICULT if one.difficult else PRESENT)
    return list(states.values())


def _write_scene(directory: Path, id_: str, scene: Scene, with_mask: bool) -> None:
    photograph = directory / "JPEGImages" / f"{id_}.jpg"
    Image.fromarray(scene.image).save(photograph, quality=JPEG_QUALITY)
    if with_mask:
        mask = Image.fromarray(scene.mask)
        mask.putpalette(PALETTE.tobytes())
        mask.save(directory / "SegmentationClass" / f"{id_}.png")
    tree = ElementTree.ElementTree(_annotation(id_, scene, with_mask))
    ElementTree.indent(tree)
    tree.write(directory / "Annotations" / f"{id_}.xml")


def _annotation(id_: str, scene: Scene, segmented: bool) -> ElementTree.Element:
    height, width, depth = scene.image.shape
    root = ElementTree.Element("annotation")
    _add(root, folder="toy", filename=f"{id_}.jpg")
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    _add(root, segmented=int(segmented))
    for one in scene.objects:
        element = ElementTree.SubElement(root, "object")
        _add(element, name=one.name, pose="Unspecified", truncated=int(one.truncated))
        _add(element, occluded=int(one.occluded), difficult=int(one.difficult))
        left, top, right, bottom = one.box
        box = ElementTree.SubElement(element, "bndbox")
        _add(box, xmin=left, ymin=top, xmax=right, ymax=bottom)
    return root


def _add(parent: ElementTree.Element, **values: str | int) -> None:
    for tag, value in values.items():
        ElementTree.SubElement(parent, tag).text = str(value)


def _write_lists(folder: Path, states: dict[str, States], masked: dict[str, list[str]]) -> None:
    for split, present in {**states, "trainval": states["train"] | states["val"]}.items():
        _write_lines(folder / "Main" / f"{split}.txt", present)
        for position, name in enumerate(VOC.names):
            lines = (f"{id_} {state[position]:2d}" for id_, state in present.items())
            _write_lines(folder / "Main" / f"{name}_{split}.txt", lines)
    for split, ids in {**masked, "trainval": masked["train"] + masked["val"]}.items():
        _write_lines(folder / "Segmentation" / f"{split}.txt", ids)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
