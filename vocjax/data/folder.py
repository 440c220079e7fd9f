"""Which files of a folder are images."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vocjax.data import photo


class Found(NamedTuple):
    """The images to read, how many files of the folders are none, and what was not entered."""

    images: list[Path]
    others: int
    folders: list[Path]


def find_images(given: Sequence[Path]) -> Found:
    """Return files as they are given, and the images of folders by name, each once.

    Folders in folders are not entered. `OSError` for a folder that can't be read.
    """
    named, images, others, folders = set(given), [], 0, []
    for path in given:
        if not path.is_dir():
            images.append(path)
            continue
        for inside in sorted(path.iterdir()):
            if inside.is_dir():
                folders.append(inside)
            elif inside in named or is_image(inside):
                images.append(inside)
            else:
                others += 1
    return Found(list(dict.fromkeys(images)), others, folders)


def is_image(file: Path) -> bool:
    """Return whether a file begins as an image does, or is called one, damaged or not.

    A hidden file, one of those that macOS adds for instance, must begin as an image.
    """
    suffix = file.suffix.lower() in photo.ENDINGS
    named = suffix and not file.name.startswith(".")
    if not file.is_file():
        return named and file.is_symlink()  # to a file that is gone; pipes and sockets are none
    try:
        with file.open("rb") as opened:
            head = opened.read(photo.HEAD)
    except OSError:
        return named
    if re.match(photo.SIGNATURES["TIFF"], head):  # cameras' raw files begin in the same way
        return suffix or not file.suffix
    return named or photo.is_image(head)
