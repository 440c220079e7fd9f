"""The one exception for a user's mistakes, and the checks of values that raise it."""

import difflib
import errno
import math
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake of the user's, in words: what is wrong, what was expected, what to do now.

    The command line prints it without a traceback.
    """


def check_choice(field: str, value: object, choices: Collection[object]) -> None:
    """Raise `UserError` unless `value` is one of `choices`; the nearest one is suggested."""
    if value in choices:
        return
    raise UserError(
        f"{field} is {value!r}; it is one of {', '.join(map(str, choices))}."
        f"{did_you_mean(str(value), map(str, choices))}"
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question with the known name that is nearest, to end a message; "" if none is."""
    close = difflib.get_close_matches(name, [*known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Put a name, of a file or a run, before the `UserError` of the block."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error


def check_range(field: str, value: float, least: float, below: float = math.inf) -> None:
    """Raise `UserError` unless `least <= value < below`; NaN is in no range, and so is a text."""
    end = "" if math.isinf(below) else f" and less than {below}"
    try:
        if least <= value < below:
            return
    except TypeError as error:
        what = f"{field} is {value!r}; it must be a number, at least {least}{end}."
        raise UserError(what) from error
    raise UserError(f"{field} is {value}; it must be at least {least}{end}.")


def local_path(text: str | Path) -> Path:
    """Return a path of this machine; raise `UserError` for an address, "gs://bucket/run" say.

    `Path` leaves one slash of two, and no drive of Windows has a name of two letters. "~" is the
    home directory: no shell expands it in `--workdir=~/run`. A path that no file can have is
    refused, too: with a name that is too long, with NUL in it, or round through its own links.
    """
    if re.match(r"[A-Za-z][\w+.-]+:[/\\]", str(text)):
        raise UserError(
            f"{text} is an address, and vocjax reads and writes only files of this machine: "
            "checkpoints and data sets need a file system that can rename and lock. Give a local "
            "path: of a copy, or of a mounted bucket (gcsfuse, mount-s3)."
        )
    path = Path(text).expanduser() if re.match(r"~(/|$)", str(text)) else Path(text)
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENAMETOOLONG, errno.ELOOP, None):
            shown = str(path) if len(str(path)) < 200 else f"{str(path)[:200]}..."
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{shown!r} can't be a path: {reason}. Give another one.") from error
    return path
