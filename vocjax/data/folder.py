"""Which files of a folder are images."""

import os
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
    named, others = set(map(place, given)), set()
    images: dict[Path, Path] = {}
    folders: dict[Path, Path] = {}
    for path in given:
        if not path.is_dir():
            images.setdefault(place(path), path)
            continue
        for inside in sorted(path.iterdir()):
            at = place(inside)
            if inside.is_dir():
                folders.setdefault(at, inside)
            elif at in named or is_image(inside):
                images.setdefault(at, inside)
            else:
                others.add(at)
    return Found(list(images.values()), len(others), list(folders.values()))


def place(path: Path) -> Path:
    """Return where a file lies, absolute: the same however its folder is written.

    The file's own link is not followed: people name links, and several may lead to one file.
    """
    return Path(os.path.realpath(path.parent), path.name)


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
