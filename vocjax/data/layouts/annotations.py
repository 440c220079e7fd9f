"""Reads the names of the objects in annotations (XML) as VOC, LabelImg, labelme and CVAT write."""

from pathlib import Path
from xml.etree import ElementTree

from vocjax.data.layouts.text import normal
from vocjax.errors import UserError

Objects = dict[str, bool]  # name -> whether each of its objects is difficult


def find(folder: Path) -> dict[str, Path]:
    """Return image id -> XML file of a folder of annotations, which may be missing."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    return {
        normal(file.relative_to(folder).with_suffix("").as_posix()): file
        for file in files
        if file.suffix.lower() == ".xml" and file.name[0] != "."
    }


def read_objects(path: Path) -> Objects:
    """Return the names of the objects of an image, and whether all of a name are difficult.

    Its `<filename>` does not count. Raises `UserError` for a file that isn't XML, or with an object
    without a name.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(
            f"{path} isn't valid XML ({error}). Write the file again, or remove it: then the "
            "image has no objects but those of its mask."
        ) from error
    objects: Objects = {}
    for item in root.findall("object"):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UserError(
                f"{path} has an object without a name. Add <name>CLASS</name> to it, or remove it."
            )
        difficult = (item.findtext("difficult") or "0").strip() in ("1", "true", "True")
        objects[name] = objects.get(name, True) and difficult
    return objects
