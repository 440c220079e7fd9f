"""Pictures of images, under names with which none replaces a file that is something else."""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin

from vocjax.data.folder import place
from vocjax.errors import UserError
from vocjax.files import printable, replacing

KEYWORD = "vocjax image"  # of a PNG's text


def _pictures(name: str) -> tuple[str, str]:
    return f"{name}.png", f"{name}_mask.png"


def picture_names(images: Sequence[Path], output: Path) -> dict[Path, str]:
    """Return by image the name of its pictures in a folder, without .png.

    "photo" of photo.jpg; beside a photo.png "photo.jpg", beside another photo.jpg
    "folder_photo.jpg". No other image can have it, and no file there but an earlier picture of the
    same image.
    """
    taken = Counter(
        picture
        for path in images
        for picture in {picture for name in _candidates(path) for picture in _pictures(name)}
    )
    signature = functools.cache(lambda picture: _signature(output / picture))
    names = {}
    for image in images:
        ours = {None, _sign(image)}
        free = [c for c in _candidates(image) if {signature(p) for p in _pictures(c)} <= ours]
        earlier = [c for c in free if signature(f"{c}.png")]
        unique = [c for c in free if all(taken[p] == 1 for p in _pictures(c))]
        if not earlier + unique:
            raise UserError(
                f"the pictures of {printable(image)} would have the names of other files; predict "
                "it into another --output folder."
            )
        names[image] = (earlier + unique)[0]
    return names


def _candidates(image: Path) -> list[str]:
    at = place(image)
    parts = list(map(printable, at.parts[1:]))
    joined = ["_".join(parts[-n:]) for n in range(1, len(parts) + 1)]
    names = (_shortened(name) for name in (printable(at.stem), *joined))
    return [os.fsdecode(name.encode()) for name in names]


def key(image: Path) -> str:
    """Return what an image is called, however its path is written."""
    return printable(place(image))


def save(picture: Image.Image, path: Path, image: Path) -> None:
    """Write a picture of an image as PNG, whose text says which image may replace it."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEYWORD, _sign(image))
    with replacing(path) as part:
        picture.save(part, format="PNG", pnginfo=info)


def _sign(image: Path) -> str:
    return hashlib.sha256(key(image).encode()).hexdigest()


def _signature(picture: Path) -> str | None:
    """Return what `save` wrote into a file: "" for one that is not ours, None for no file."""
    if not os.path.lexists(picture):
        return None
    try:
        with Image.open(picture, formats=["PNG"]) as opened:
            return str(opened.info.get(KEYWORD, ""))
    except Exception:  # a damaged file can fail anywhere in Pillow
        return ""


def _shortened(name: str) -> str:
    """Return a name that leaves room for "_mask.png.part" in the 255 bytes of file systems."""
    raw = name.encode()
    if len(raw) <= 240:
        return name
    return f"{raw[:231].decode(errors='ignore')}-{hashlib.sha256(raw).hexdigest()[:8]}"
