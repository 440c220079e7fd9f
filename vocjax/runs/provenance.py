"""What a result depends on besides its config: command, commit, versions, device."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "array-record",
    "numpy",
    "pillow",
    "ml-collections",
    "vocjax",
)


def environment() -> dict[str, Any]:
    """Return command, commit, versions and device: what a result depends on besides its config."""
    device = jax.devices()[0]
    return {
        "command": shlex.join(_command()),
        **_git_state(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cores": _cores(),
        },
    }


def _cores() -> int | None:
    """Return how many cores the process may use: how sums are split, and rounded, depends on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _command() -> list[str]:
    program = Path(sys.argv[0])
    known = program.name in ("vocjax", "__main__.py")
    return [*(["vocjax"] if known else ["python", sys.argv[0]]), *sys.argv[1:]]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git_state() -> dict[str, Any]:
    """Return the commit of the code that runs, and whether the tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown (not a git checkout)", "dirty": None}
