"""Published weights by name: downloaded and imported once, into the user's cache."""

import sys
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from vocjax.data.download import fetch
from vocjax.errors import UserError, check_choice
from vocjax.files import user_cache
from vocjax.pretrained.published import PUBLISHED, Published
from vocjax.pretrained.store import import_weights, is_imported


def cache() -> Path:
    """Return the folder of published weights: vocjax/weights in $XDG_CACHE_HOME or ~/.cache."""
    return user_cache() / "vocjax/weights"


def place_of(origin: Path) -> Path:
    """Return where the weights of an `init_from` are, or will be once they are fetched.

    A name of `PUBLISHED` stands for its directory in the cache, unless there is a path of that
    name here.
    """
    name = str(origin)
    return cache() / name if name in PUBLISHED and not origin.exists() else origin


def fetch_weights(name: str, table: Mapping[str, Published] = PUBLISHED) -> Path:
    """Return the directory of published weights in the cache, imported when they are not there.

    The file that is downloaded stays beside it, and one that somebody put there is taken. One
    process at a time brings weights, the others wait. Says on stderr what it does. Raises
    `UserError` for a name that `table` lacks, for a cache that can't be written, and as `fetch` and
    `import_weights` do.
    """
    check_choice("the name of published weights", name, table)
    backbone, source, archive = table[name]
    place = cache() / name
    if is_imported(place):
        return place
    lock = FileLock(place.parent / f".{name}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for another process that brings {name}", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"{place.parent} can't be written to ({error.strerror}), which is the cache of "
            "published weights. Set XDG_CACHE_HOME to a folder that can."
        ) from error
    try:
        if not is_imported(place):  # brought by another process meanwhile
            print(f"{name}: {archive.file} is brought into {place.parent}", file=sys.stderr)
            file = fetch(archive, place.parent)
            import_weights(backbone, file, place, source=source)
            print(f"{name}: imported weights: {place}", file=sys.stderr)
    finally:
        lock.release()
    return place
