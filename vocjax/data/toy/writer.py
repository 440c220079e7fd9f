"""Writes toy scenes to disk in the layout of one year of a VOC devkit."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from vocjax.data.toy.scenes import CLASSES, Scene, compose
from vocjax.errors import UserError

N_TRAIN, N_VAL = 360, 360  # images listed in ImageSets/Main
S_TRAIN, S_VAL = (
    180,
    180,
)  # the first of them have masks and are listed in ImageSets/Segmentation too

SPLITS = ("train", "val")
JPEG_QUALITY = 90

# A block of 30 images has every class as its subject at least once, the study's two classes six times.
_BLOCK = (*CLASSES, *("aeroplane", "dog") * 5)


def write_devkit(
    directory: Path,
    *,
    seed: int = 0,
    images: tuple[int, int] = (N_TRAIN, N_VAL),
    segmentation: tuple[int, int] = (S_TRAIN, S_VAL),
) -> None:
    """Draw a small VOC devkit: `directory` becomes the folder of its one year.

    It holds JPEGImages, Annotations (XML), SegmentationClass (palette PNG, 0 background, 1 to 20 the classes,
    255 void) and ImageSets/Main and ImageSets/Segmentation, their `train`, `val`, `trainval` and, in Main, the
    same per class with 1 (present), 0 (difficult only) and -1 (absent). Images are RGB, their sides 88 to 160
    pixels. `images` and `segmentation` count (train, val). Image i of a split depends on `seed`, the split
    and i alone: not on how many are asked for. The same seed writes the same bytes.

    Raises UserError if the counts don't fit or `directory` has something in it.
    """
    if not all(0 < masks <= total for masks, total in zip(segmentation, images, strict=True)):
        raise UserError(
            f"segmentation={segmentation} does not fit images={images}: each split needs at least one image "
            "with a mask and no more of them than images. Lower `segmentation` or raise `images`."
        )
    if directory.exists() and any(directory.iterdir()):
        raise UserError(
            f"{directory} is not empty: a toy devkit is written into a new or an empty folder, lest it "
            "overwrite the lists of another one. Choose another folder or remove this one."
        )
    for folder in (
        "JPEGImages",
        "Annotations",
        "SegmentationClass",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    states: dict[str, dict[str, list[int]]] = {}
    masked: dict[str, list[str]] = {}
    for split, total, masks in zip(SPLITS, images, segmentation, strict=True):
        names = [f"{split}_{index:06d}" for index in range(total)]
        states[split], masked[split] = {}, names[:masks]
        for index, name in enumerate(names):
            scene = draw_scene(seed, split, index)
            _write_scene(directory, name, scene, with_mask=index < masks)
            states[split][name] = class_states(scene)
    _write_lists(directory / "ImageSets", states, masked)


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Image `index` of a split."""
    place = SPLITS.index(split)
    block, slot = divmod(index, len(_BLOCK))
    order = _generator(seed, place, block, 1).permutation(len(_BLOCK))
    return compose(_generator(seed, place, index), _BLOCK[order[slot]])


def class_states(scene: Scene) -> list[int]:
    """What VOC's class lists say of an image, per class: 1 present, 0 difficult only, -1 absent."""
    states = dict.fromkeys(CLASSES, -1)
    for thing in scene.objects:
        states[thing.name] = max(states[thing.name], 0 if thing.difficult else 1)
    return list(states.values())


def voc_palette() -> bytes:
    """VOC's 256 colours, R, G, B of each: an index's bits are dealt in turn to the channels' high bits."""
    index, palette = np.arange(256), np.zeros((256, 3), np.uint8)
    for bit in range(8):
        channel, level = bit % 3, 7 - bit // 3
        palette[:, channel] |= ((index >> bit & 1) << level).astype(np.uint8)
    return palette.tobytes()


def _generator(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(entropy))


def _write_scene(directory: Path, name: str, scene: Scene, with_mask: bool) -> None:
    photograph = directory / "JPEGImages" / f"{name}.jpg"
    Image.fromarray(scene.image).save(photograph, quality=JPEG_QUALITY)
    if with_mask:
        mask = Image.fromarray(scene.mask)
        mask.putpalette(voc_palette())
        mask.save(directory / "SegmentationClass" / f"{name}.png")
    tree = ET.ElementTree(_annotation(name, scene, with_mask))
    ET.indent(tree)
    tree.write(directory / "Annotations" / f"{name}.xml")


def _annotation(name: str, scene: Scene, segmented: bool) -> ET.Element:
    height, width, depth = scene.image.shape
    root = ET.Element("annotation")
    _add(root, folder="toy", filename=f"{name}.jpg")
    _add(ET.SubElement(root, "size"), width=width, height=height, depth=depth)
    _add(root, segmented=int(segmented))
    for thing in scene.objects:
        element = ET.SubElement(root, "object")
        _add(element, name=thing.name, pose="Unspecified", truncated=int(thing.truncated))
        _add(element, occluded=int(thing.occluded), difficult=int(thing.difficult))
        corners = zip(("xmin", "ymin", "xmax", "ymax"), thing.box, strict=True)
        _add(ET.SubElement(element, "bndbox"), **dict(corners))
    return root


def _add(parent: ET.Element, **values: str | int) -> None:
    for tag, value in values.items():
        ET.SubElement(parent, tag).text = str(value)


def _write_lists(
    folder: Path, states: dict[str, dict[str, list[int]]], masked: dict[str, list[str]]
) -> None:
    together = {name: state for split in SPLITS for name, state in states[split].items()}
    for split, images in {**states, "trainval": together}.items():
        _write_lines(folder / "Main" / f"{split}.txt", images)
        for position, name in enumerate(CLASSES):
            lines = [f"{image} {state[position]:2d}" for image, state in images.items()]
            _write_lines(folder / "Main" / f"{name}_{split}.txt", lines)
    both = [name for split in SPLITS for name in masked[split]]
    for split, names in {**masked, "trainval": both}.items():
        _write_lines(folder / "Segmentation" / f"{split}.txt", names)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
