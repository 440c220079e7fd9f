"""Several hosts train one run: how they join, and how it ends where one of them dies."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

import jax

from vocjax.errors import UserError

PATIENCE = 60  # seconds without a sign of life, after which JAX takes a host for dead
# What XLA's errors begin with where a collective of CPUs (gloo) or GPUs (NCCL) has lost a host.
_LOST = r"(UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED)\b.*|INTERNAL\b.*NCCL.*"
_ADVICE = "The last checkpoint is whole: give the same command on all hosts to continue."
# Where a host is lost while no collective is under way, JAX ends a process in C++ at once.
_LAST_WORD = (
    "vocjax: this process ended without a word of its own: it was killed, or another host died or "
    f"can't be reached (then JAX says so above). {_ADVICE}"
)


class HostLost(UserError):
    """Another host died; this process can't leave JAX in the usual way, which waits for it."""


@contextlib.contextmanager
def joined_hosts() -> Iterator[None]:
    """Connect this process with those of the other hosts; enter it before any other use of JAX.

    JAX gets the hosts from Slurm, Open MPI, Kubernetes or Cloud TPU, elsewhere from environment
    variables. Without either, a `UserError` names these variables. Where another host dies in the
    block, it ends within `PATIENCE` seconds: by `HostLost`, or by JAX, which ends this process,
    with a sentence on standard error.
    """
    try:
        processes, this = (
            int(os.environ[name]) if name in os.environ else None
            for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
        jax.distributed.initialize(
            num_processes=processes,
            process_id=this,
            heartbeat_timeout_seconds=PATIENCE,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed can't join the other hosts: {error} Start it by Slurm, Open MPI or "
            "Kubernetes, or set JAX_COORDINATOR_ADDRESS (host:port of the first process), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (0, 1, ...)."
        ) from error
    with _last_word():
        try:
            yield
        except Exception as error:
            if reason := _lost(error):
                what = f"another host died or can't be reached ({reason})"
                raise HostLost(f"{what}. {_ADVICE}") from error
            raise


@contextlib.contextmanager
def _last_word() -> Iterator[None]:
    """Have a shell say `_LAST_WORD` if this process ends within the block."""
    shell = ["sh", "-c", 'read word || echo "$0" >&2', _LAST_WORD]
    # Of its own session: Ctrl-C is for us.
    with subprocess.Popen(shell, stdin=subprocess.PIPE, start_new_session=True) as waiting:
        try:
            yield
        finally:
            waiting.communicate(b"\n")


def _lost(error: BaseException | None) -> str:
    """Return what JAX says of a lost host in an error or what it came from; "" if it isn't that."""
    while error is not None:
        found = re.match(_LOST, " ".join(str(error).split()))
        if found and isinstance(error, ValueError | RuntimeError):
            return found[0][:300]
        error = error.__cause__ or error.__context__
    return ""
