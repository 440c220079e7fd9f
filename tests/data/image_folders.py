"""Writes images, masks, lists and annotations for tests of layouts."""

from pathlib import Path

import numpy as np
from PIL import Image

from vocjax.data.classes import PALETTE


def image(path: Path, seed: int = 0, size: tuple[int, int] = (12, 10)) -> None:
    """An image of noise, width x height; its ending says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path: Path, index: int, size: tuple[int, int] = (12, 10)) -> None:
    """A mask in VOC's palette with a rectangle of a class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[2:6, 2:6] = index
    picture = Image.fromarray(pixels)
    picture.putpalette(PALETTE.tobytes())
    picture.save(path)


def text(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))


def annotation(path: Path, *names: str) -> None:
    """XML with an object of each name; the last letter `?` makes it difficult."""
    objects = (
        f"<object><name>{name.rstrip('?')}</name><difficult>{int(name[-1] == '?')}</difficult>"
        "</object>"
        for name in names
    )
    text(path, "<annotation><filename>other.png</filename>", *objects, "</annotation>")


def kit(
    root: Path, ids: dict[str, str], *, masks: int = 0, sets: tuple[str, ...] = ("Main",)
) -> Path:
    """A devkit: JPEGImages, the lists of `sets`, and with `masks` masks of this index."""
    for number, id_ in enumerate(ids):
        image(root / f"JPEGImages/{id_}.jpg", number)
        if masks:
            mask(root / f"SegmentationClass/{id_}.png", masks)
    for name in sets:
        for split in sorted({*ids.values()}):
            listed = [id_ for id_ in ids if ids[id_] == split]
            text(root / f"ImageSets/{name}/{split}.txt", *listed)
    return root
