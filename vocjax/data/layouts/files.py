"""Finds image files by name, whatever their endings, and holds a share of them out."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from glob import escape
from pathlib import Path, PurePosixPath

import numpy as np

from vocjax.data.folder import is_image
from vocjax.data.layouts.text import counted, image_id, normal, shown, within
from vocjax.data.photo import ENDINGS
from vocjax.data.splits import photographs
from vocjax.errors import UserError
from vocjax.files import printable

SHARE = 0.2  # is held out where nothing says which images are for validation


class Folder:
    """The files of a folder and its sub-folders, found by their paths in it without endings."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` where `path` is no folder."""
        if not path.is_dir():
            raise UserError(f"{path} isn't a folder. Give the folder that holds the images.")
        self.path = path
        self._files: dict[str, list[Path]] = {}
        seen = {path.resolve()}
        for parent, folders, names in os.walk(path, followlinks=True):
            folders[:] = [name for name in sorted(folders) if _enters(Path(parent, name), seen)]
            for name in sorted(names):
                if name[0] != ".":  # .DS_Store, and ._img.jpg, which macOS writes beside img.jpg
                    file = Path(parent, name)
                    self._files.setdefault(self._key(file), []).append(file)

    def find(self, id_: str) -> tuple[str, Path] | None:
        """Return the id without ending, and its file; None where there is none.

        Small and capital letters are the same where no file has the very name. Raises `UserError`
        where several images have the name.
        """
        files = [file for key in self._named(id_) for file in self.ids[key]]
        if not files:
            return None
        named = [file for file in files if file.name == PurePosixPath(id_).name]
        file = self._only(id_, named if len(named) == 1 else files)
        return self._key(file), file

    @cached_property
    def ids(self) -> dict[str, list[Path]]:
        """Id -> files of all images, sorted: one, or several with other endings."""
        found = {key: self._images(key) for key in sorted(self._files)}
        return {key: files for key, files in found.items() if files}

    @cached_property
    def images(self) -> dict[str, Path]:
        """Id -> file of all images, sorted; raises `UserError` where two have one id."""
        return {key: self._only(key, files) for key, files in self.ids.items()}

    def is_named(self, text: str) -> bool:
        """Return whether an entry of a list, or a part of it, is the name of an image."""
        return bool(self._named(within(text, self.path)))

    def begins(self, line: str) -> bool:
        """Return whether a line of a list begins with the name of an image."""
        return any(self.is_named(line[: end.start()]) for end in re.finditer(r"[\s,]|$", line))

    def owners(self, names: Iterable[str]) -> dict[str, str]:
        """Return id -> the one of `names`, of masks or annotations, that belongs to the image.

        It is the image's name, as `find` compares, or one of the two paths ends with the other and
        no other image has such a path. The very name comes first, and an image has one.
        """
        owned: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (name not in self.ids, name)):
            ids = self._named(name)
            if not ids:
                tail = "/" + bare(name).casefold()
                near = self._by_name.get(tail.rpartition("/")[2], [])
                paths = ((id_, "/" + id_.casefold()) for id_ in near)
                ids = [id_ for id_, p in paths if p.endswith(tail) or tail.endswith(p)]
            if len(ids) == 1:
                owned.setdefault(ids[0], name)
        return owned

    def unread(self) -> tuple[str, ...]:
        """Return a warning about files beside images that have their names, annotations say."""
        beside = [
            key
            for key in sorted(self._files.keys() - self.ids.keys())
            if str(PurePosixPath(key).with_suffix("")) in self.ids
        ]
        if not beside:
            return ()
        return (
            f"nothing reads {counted(len(beside), 'file')} beside images: {shown(beside)}. "
            "Annotations (XML) are read from a devkit's folder Annotations (--devkit DIR).",
        )

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        return _grouped(self.ids, str.casefold)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped(self.ids, lambda id_: id_.rpartition("/")[2].casefold())

    def _named(self, name: str) -> list[str]:
        """Return the ids that a name with or without ending can stand for."""
        for key in (name, bare(name)):
            ids = [key] if key in self.ids else self._folded.get(key.casefold(), [])
            if ids:
                return ids
        return []

    def _images(self, key: str) -> list[Path]:
        return [
            file for file in self._files[key] if file.suffix.lower() in ENDINGS or is_image(file)
        ]

    def _only(self, id_: str, files: list[Path]) -> Path:
        if len(files) > 1:
            raise UserError(
                f"{self.path} holds {' and '.join(file.name for file in files)} for the image "
                f"{id_}; expected one file. Remove or rename the others."
            )
        if not files[0].is_file():
            raise UserError(
                f"{files[0]} is a link to a file that isn't there, or no file. Put the image there."
            )
        return files[0]

    def _key(self, file: Path) -> str:
        return bare(normal(printable(file.relative_to(self.path).as_posix())))


def hold_out(ids: Iterable[str], share: float) -> set[str]:
    """Return the ids that are held out: about `share` of the photographs, always the same ones.

    At least one of several, and not all. The order of the hashes of their ids decides; crops of one
    photograph (2008_000019_0 and 2008_000019_1) stay together.
    """
    every = sorted(ids)
    of = dict(zip(every, photographs(np.array(every)).tolist(), strict=True)) if every else {}
    ranked = sorted(set(of.values()), key=lambda name: hashlib.sha256(name.encode()).digest())
    count = min(max(round(share * len(ranked)), 1), len(ranked) - 1)
    chosen = set(ranked[: max(count, 0)])
    return {id_ for id_ in every if of[id_] in chosen}


def _enters(folder: Path, seen: set[Path]) -> bool:
    """Return whether to read a folder: none that is hidden, nor a link to what is read anyway.

    A link to another folder is added to `seen`.
    """
    if folder.name[0] == "." or folder.name[:2] == "__":
        return False
    if folder.is_symlink():
        there = folder.resolve()
        if any(there.is_relative_to(path) or path.is_relative_to(there) for path in seen):
            return False
        seen.add(there)
    return True


def check_found(missing: list[str], folder: Path, who: str) -> None:
    """Raise `UserError` where images or masks that `who` names are not in `folder`."""
    if missing:
        path = folder / bare(missing[0])
        others = [path, *sorted(path.parent.glob(f"{escape(path.name)}.*"))]
        strange = (file.name for file in others if file.suffix.lower() not in ENDINGS)
        other = next((name for name in strange if (path.parent / name).is_file()), None)
        there = f" {other} is there, which is not of a format that is read." if other else ""
        raise UserError(
            f"{path} (.jpg, .png or another ending) is missing, but {who} names it"
            f"; in all {len(missing)}: {shown(missing)}.{there} Put the files there as JPEG or "
            "PNG, or remove the ids from the lists."
        )


def find_all(names: Mapping[str, str], folder: Folder, who: str) -> dict[str, Path]:
    """Return id -> file for the id -> name in `folder` that `who` states.

    Raises `UserError` for a name that leads out of the folder, and where a file is missing.
    """
    ids = {id_: image_id(name, folder.path, who) for id_, name in names.items()}
    found = {id_: folder.find(name) for id_, name in ids.items()}
    check_found([ids[id_] for id_, file in found.items() if file is None], folder.path, who)
    return {id_: file[1] for id_, file in found.items() if file}


def bare(name: str) -> str:
    """Leave out the ending of an image file; the dots of other names stay."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in ENDINGS else name


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups
