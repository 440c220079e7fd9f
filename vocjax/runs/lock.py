"""One process at a time trains in a run directory.

`run.lock` is locked by the operating system, which frees it when its process ends, however that
happens; `in_use.json` says who has it. Both are removed at the end. Readers need no lock.
"""

import contextlib
import datetime
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from filelock import FileLock, Timeout
from jax.experimental import multihost_utils

from vocjax.errors import UserError
from vocjax.files import write_json
from vocjax.runs.reader import lookup, read_json

LOCK, USER = "run.lock", "in_use.json"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Have a run directory for this process until the block ends; make it where there is none.

    Of several hosts the first one has it for all. Where the block writes nothing, nothing is left.
    `UserError`, on every host, where another process has it or nothing can be written.
    """
    with contextlib.ExitStack() as stack:
        refused = None
        if jax.process_index() == 0:
            try:
                stack.enter_context(_locked(workdir))
            except UserError as error:
                refused = error
        if multihost_utils.broadcast_one_to_all(np.array(refused is not None)):
            raise refused or UserError(f"the first host can't use {workdir}; it says why.")
        yield


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    lock = FileLock(workdir / LOCK, timeout=0)
    try:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            _acquire(lock, workdir)
        except Timeout as error:
            raise _in_use(workdir) from error
        except OSError as error:
            raise UserError(f"nothing can be written in {workdir}: {error}.") from error
        yield
    finally:
        if lock.is_locked:
            # While it is still locked: whoever opened the file before sees that it is gone.
            with contextlib.suppress(OSError):  # Windows removes no open file
                (workdir / USER).unlink(missing_ok=True)
                (workdir / LOCK).unlink(missing_ok=True)
            lock.release()
        with contextlib.suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()


def _acquire(lock: FileLock, workdir: Path) -> None:
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in WITHOUT_LOCKS:
            raise
        print(
            f"the file system of {workdir} has no locks ({error}): take care that no other process "
            "trains there",
            file=sys.stderr,
        )
        return
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_json(workdir / USER, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})


def is_in_use(workdir: Path) -> bool:
    """Return whether a process seems to train in a run directory.

    A process that was killed on this host is gone; of one on another host its note is believed.
    """
    user = read_json(workdir / USER)
    pid = lookup(user, "pid")
    if lookup(user, "host") != socket.gethostname() or not isinstance(pid, int):
        return user is not None
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        return True
    return True


def _in_use(workdir: Path) -> UserError:
    user = read_json(workdir / USER)
    pid, host, since = (lookup(user, name) for name in ("pid", "host", "since"))
    who = f"process {pid} on {host}, since {since}" if user else "another process, which just began"
    return UserError(
        f"{workdir} is in use by {who}. Wait until it ends, or stop it, or give another --workdir."
    )
