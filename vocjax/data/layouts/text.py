"""Reads lists of any encoding: text files with an image, a class or a pair in a line."""

import codecs
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from vocjax.bounds import read_bytes
from vocjax.errors import UserError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins with the mark of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_lines(
    path: Path, is_entry: Callable[[str], bool] = lambda line: False
) -> list[tuple[int, str]]:
    """Return the lines of a text file with their numbers, without blank ones and # comments.

    A line with # for which `is_entry` holds is no comment: files may have such names. UTF-8 or
    UTF-16, with or without a byte order mark, or UTF-32 with one, and any ends of lines. Raises
    `UserError` for a file that can't be read as text.
    """
    try:
        content = read_bytes(path)
        decoded = content.decode(_encoding(content))
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Put the file there, or give its path.") from None
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}). Expected a text file there."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't a text file ({error}). Save it as UTF-8.") from error
    except ValueError as error:
        raise UserError(f"{path} is no list of images: {error}. Give the right file.") from error
    if "\0" in decoded:
        raise UserError(f"{path} isn't a text file (it has zero bytes). Save it as UTF-8.")
    lines = enumerate(re.split(r"\r\n?|\n", decoded), 1)
    stripped = ((n, line.strip("\ufeff \t")) for n, line in lines)
    return [(n, line) for n, line in stripped if line and (line[0] != "#" or is_entry(line))]


def image_id(text: str, folder: Path, where: str) -> str:
    """Return the id that an entry of a list stands for: a path in `folder`, with or without ending.

    What leads to the folder, `/JPEGImages/` say, is left out. An id becomes a file name: raises
    `UserError`, which begins with `where`, for one that leads out of the folder.
    """
    name = within(text, folder)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) or "\0" in name:
        raise UserError(
            f"{where}: {text!r} leads out of the folder {folder}. Expected an image id: the path "
            "of an image in that folder, without its ending. Correct the line."
        )
    return str(path)


def within(text: str, folder: Path) -> str:
    """Return an entry of a list without what leads to the folder."""
    name = normal(text.replace("\\", "/"))
    start = f"/{name}".rfind(f"/{folder.name}/")
    return name[start + len(folder.name) + 1 :] if start >= 0 else name


def normal(name: str) -> str:
    """Return a name in the form NFC: some file systems write letters with accents as two."""
    return unicodedata.normalize("NFC", name)


def counted(count: int, noun: str) -> str:
    """Return "1 image", "2 images"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def shown(names: list[str], most: int = 5) -> str:
    """Return the first names with commas between, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8"
