"""Files that are written whole or not at all, and texts that every reader accepts."""

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


def user_cache() -> Path:
    """Return the user's folder for what can be made again: $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, which takes the place of `path` when the block ends.

    The file lies in the same folder as `path`, under the same name with `.part` added. After an
    error or an interruption in the block it is removed, and `path` is as it was. An `OSError` of
    the file, no space left say, names `path`.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8; bytes of a path that are none are escaped."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def append_text(path: Path, text: str) -> None:
    """Add text to a file as UTF-8; an `OSError`, no space left say, names `path`."""
    with naming_path(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def naming_path(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block, no space left say, name `path`."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def why_unwritable(error: Exception) -> str:
    """Return in words what a disk refuses, "No space left on device"; "" for another error.

    The libraries that write arrays put the reason of the system into a text of their own.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    known = (os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG))
    return next((text for text in known if text in str(error)), "")


def finite(value: Any) -> Any:
    """Return a tree without NaN and infinity, which JSON has no words for.

    A dict loses the field: what is not defined is absent. A list has `None` in its place.
    """
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items() if not _is_unsayable(inner)}
    if isinstance(value, list | tuple):
        return [None if _is_unsayable(inner) else finite(inner) for inner in value]
    return value


def _is_unsayable(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return the JSON of a value, `finite` before."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, `finite` before."""
    write_text(path, to_json(value, indent=2) + "\n")


def printable(path: Path | str) -> str:
    """Return a path as text that UTF-8 can say and that stays on its line.

    Bytes that are no UTF-8, as names from old archives have, and control characters are escaped;
    a backslash is doubled where it separates no folders, so that two paths never read the same.
    """
    raw = os.fsencode(path)
    if os.sep == "/":
        raw = raw.replace(b"\\", rb"\\")
    text = raw.decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", _escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]  # \x80 and above say bytes
    return ascii(character)[1:-1] if character <= "\x7f" else f"\\u{ord(character):04x}"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed .npz file."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
