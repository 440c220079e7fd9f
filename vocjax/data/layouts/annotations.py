"""Reads the names of the objects in annotations (XML) as VOC, LabelImg, labelme and CVAT write."""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from vocjax.bounds import ANNOTATION, read_bytes
from vocjax.data.layouts.text import counted, normal, shown
from vocjax.errors import UserError
from vocjax.files import printable

# Those of several bytes a letter that annotation tools write, as Python's `codecs` names them.
ENCODINGS = {
    "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "hz",
    "shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949", "johab",
}  # fmt: skip

Objects = dict[str, bool]  # name -> whether each of its objects is difficult
Owners = Callable[[Iterable[str]], Mapping[str, str]]


def find(folder: Path, owners: Owners) -> tuple[dict[str, Path], list[str]]:
    """Return image id -> XML file of a folder, which may be missing, and a warning about others.

    A file belongs to the image whose name it has, as `owners` of `files.Folder` says, or else to
    the one that its `<filename>` names. Raises `UserError` where none belongs to an image.
    """
    every = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = {
        normal(printable(file.relative_to(folder).with_suffix("").as_posix())): file
        for file in every
        if file.suffix.lower() == ".xml" and file.name[0] != "."
    }
    found = {id_: files.pop(name) for id_, name in owners(files).items()}
    inner = {_filename(file): name for name, file in sorted(files.items(), reverse=True)}
    for id_, says in owners(inner).items():
        if id_ not in found:
            found[id_] = files.pop(inner[says])
    if not files:
        return found, []
    left = shown([f"{name}.xml" for name in sorted(files)])
    if not found:
        raise UserError(
            f"no file in {folder} belongs to an image: {left}. Expected XML files with the names "
            "of their images, or with these in <filename>. Rename them, or remove the folder."
        )
    count = counted(len(files), "annotation")
    return found, [f"nothing reads {count} in {folder}, of no image, or of one with two: {left}."]


def read_objects(path: Path) -> Objects:
    """Return the names of the objects of an image, and whether all of a name are difficult.

    Raises `UserError` for a file that isn't XML, or with an object without a name.
    """
    objects: Objects = {}
    for item in _root(path).findall("object"):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UserError(
                f"{path} has an object without a name. Add <name>CLASS</name> to it, or remove it."
            )
        difficult = (item.findtext("difficult") or "0").strip() in ("1", "true", "True")
        objects[name] = objects.get(name, True) and difficult
    return objects


def _root(path: Path) -> ElementTree.Element:
    try:
        content = read_bytes(path, ANNOTATION)
        if b"<!ENTITY" in content.replace(b"\0", b""):  # UTF-16 has a zero beside each letter
            raise ValueError("it declares an entity, which no annotation tool writes")
        return _parsed(content)
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise UserError(
            f"{path} isn't valid XML ({error}). Write the file again, or remove it: then the "
            "image has no objects but those of its mask."
        ) from error


def _parsed(content: bytes) -> ElementTree.Element:
    """Parse XML; the parser knows few encodings, so Python decodes those of several bytes."""
    try:
        return ElementTree.fromstring(content)
    except (ValueError, LookupError):
        declared = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)[\"'][^>]*>", content)
        if declared is None:
            raise
        encoding = codecs.lookup(declared[1].decode())
        if encoding.name not in ENCODINGS:
            raise LookupError(f"its encoding {declared[1].decode()} is not read") from None
        return ElementTree.fromstring(content[declared.end() :].decode(encoding.name))


def _filename(path: Path) -> str:
    """Return the name of the image that an annotation is about; empty where it says none."""
    try:
        text = _root(path).findtext("filename") or ""
    except UserError:  # it has no image's name, so nothing needs it
        return ""
    return normal(text.strip().replace("\\", "/").rpartition("/")[2])
