"""How XLA compiles, and the programs kept in the user's cache: a second start compiles nothing.

JAX finds a program by all that it is made from: its operations, JAX's version, XLA's flags and the
devices. So a kept program computes what a new one does, bit for bit.
"""

import functools
import hashlib
import platform
import sys
import tempfile
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from vocjax.files import user_cache

MOST_BYTES = 256 * 2**20  # of all programs together; those of the study take 5 MiB
BLOCK = 4096  # bytes: what a small file takes on a disk
# Of XLA:CPU's two ways to emit a fused loop the older one: with `flags.leave_loops` train steps are
# compiled in half of the time (run 5, MobileNetV2). They take at most a tenth longer (run 5).
TRAIN_STEP: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}
STAMP = "looked-at"  # a file whose time is that of the last look at new programs


def keep_programs() -> None:
    """Have JAX keep in the user's cache what this process compiles, and read it from there.

    What the user has chosen counts: nothing is changed where `jax_compilation_cache_dir` is set, or
    `jax_enable_compilation_cache` is False, by `jax.config` or as a variable of the environment. A
    folder that can't be used costs a sentence, and a program in it that can't be read is compiled.
    """
    chosen = jax.config.values["jax_compilation_cache_dir"]
    if not jax.config.values["jax_enable_compilation_cache"]:
        return
    try:
        place = folder()
        if chosen not in (None, str(place)):
            return
        place.mkdir(parents=True, exist_ok=True, mode=0o700)  # who can write there runs code as us
        tempfile.TemporaryFile(dir=place).close()
        tidy(place, MOST_BYTES)
    except (OSError, RuntimeError) as error:  # a RuntimeError: the user has no home
        name = getattr(error, "filename", None)
        why = f"{name}: {error.strerror}" if isinstance(error, OSError) and name else f"{error}"
        _say(f"what is compiled is not kept for the next start: {why}")
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    about_a_file = r"Error (reading|writing) persistent compilation cache entry"
    warnings.filterwarnings("ignore", about_a_file, UserWarning)


@functools.cache
def train_step_options() -> dict[str, Any]:
    """Return the `compiler_options` of `jax.jit` for a train step: `TRAIN_STEP` on an x86 CPU.

    There are none on other platforms, or where XLA doesn't know these. JAX refuses such options in
    a program that is traced into another one.
    """
    if jax.default_backend() != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=TRAIN_STEP).lower().compile()
    except jax.errors.JaxRuntimeError:  # a later XLA may have one way alone
        return {}
    return TRAIN_STEP


def folder(name: str = "vocjax/compiled") -> Path:
    """Return this processor's folder in the user's cache; its programs can crash on another."""
    return user_cache() / name / _processor()


@functools.cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else [platform.processor()]
    kinds = sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))} or lines)
    machine = "\n".join((platform.machine(), *kinds))
    return hashlib.sha256(machine.encode()).hexdigest()[:12]


def tidy(place: Path, most_bytes: int) -> None:
    """Delete programs that are not whole, and the longest unused while there are too many bytes.

    The bytes are those of all processors' folders. JAX can bound a folder itself, but then it reads
    a time for each program whenever it writes one, and never writes one again that is not whole.
    """
    stamp, found = place / STAMP, []
    looked = stamp.stat().st_mtime if stamp.exists() else 0.0
    stamp.touch()
    for path in place.parent.glob("*/*-cache"):
        with suppress(FileNotFoundError):  # another process tidies
            about = path.stat()
            if about.st_mtime >= looked - 60 and not _is_whole(path):
                path.unlink()
            else:
                size = max(BLOCK, about.st_size)
                found.append((max(about.st_atime, about.st_mtime), size, path))
    excess = sum(size for _, size, _ in found) - most_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size


def _is_whole(path: Path) -> bool:
    """Return whether a program was written to its end; a full disk or a kill can prevent that."""
    try:
        zlib.decompress(path.read_bytes())
    except zlib.error:
        return path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"  # zstandard's, if that is installed
    return True


@functools.cache
def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
