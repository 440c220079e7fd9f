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

from vocjax.mesh import is_deterministic, usable_cores

PRECISION = "jax_default_matmul_precision"
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
    known = Path(sys.argv[0]).name in ("vocjax", "__main__.py")
    program = ["vocjax"] if known else ["python", sys.argv[0]]
    return {
        "command": shlex.join([*program, *sys.argv[1:]]),
        **_git_state(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cores": usable_cores(),  # how sums are split, and rounded, depends on them
            "deterministic": is_deterministic(),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "matmul_precision": getattr(jax.config, PRECISION) or "default",
        },
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git_state() -> dict[str, Any]:
    """Return the commit of the code that runs, and whether the tree differs from it.

    The commit is unknown where the repository around the package does not have its files: a project
    with an environment in it, say.
    """
    # A hook's variables would name the repository of the hook.
    set_by_git = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    variables = {name: value for name, value in os.environ.items() if name not in set_by_git}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        run = subprocess.run(
            command, capture_output=True, text=True, check=True, env=variables | {"LC_ALL": "C"}
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except OSError:
        reason = "git can't be run"
    except subprocess.CalledProcessError as error:
        foreign = "dubious ownership" in error.stderr
        reason = "git refuses another owner's repository" if foreign else "not a git checkout"
    return {"commit": f"unknown ({reason})", "dirty": None}
