"""A scratch folder beside the data, so that what is half-built is never taken for whole."""

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from vocjax.errors import UserError


@contextlib.contextmanager
def workspace(data_dir: Path) -> Iterator[Path]:
    """Own `data_dir / "incomplete"`, an empty folder, while the context lasts; then it is gone.

    One process at a time has it, others wait. Move out of it what is whole: that is one step.

    Raises:
        UserError: nothing can be written in `data_dir`.
    """
    folder, lock = data_dir / "incomplete", data_dir / ".lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        holder = _acquire(lock)
    except OSError as error:
        raise UserError(
            f"{data_dir} can't be written to ({error}). Give another folder with --data_dir."
        ) from error
    with holder:
        try:
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink()


def _acquire(lock: Path) -> TextIO:
    while True:
        file = lock.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that prepares {lock.parent}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        # Its last holder may have deleted the file, and then a lock on it keeps nobody out.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        file.close()
