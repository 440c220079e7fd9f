"""A run directory: the config, what it takes to have the run again, and its metrics.

`vocjax.runs` describes the files and reads them.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.config import base_config, differences, from_json, to_json
from vocjax.data.voc import Prepared
from vocjax.errors import UserError
from vocjax.pretrained.store import is_imported, read_imported
from vocjax.runs.reader import lookup, read_epochs, read_json

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


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; only the first host writes."""
    if jax.process_index() == 0:
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text)
        temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; only the first host writes."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz whole or not at all; only the first host writes."""
    if jax.process_index() == 0:
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)


def read_config(workdir: Path) -> ConfigDict:
    """Return the config of a run; `UserError` if the directory holds none that can be read.

    Fields of `base_config` that a run of an older version lacks have their values from there; one
    of its model or loss that it lacks is for the task to refuse.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{workdir} holds no run (no config.json); "
            f"`vocjax train --config FILE --workdir {workdir}` makes one."
        )
    config = base_config().unlock()
    try:
        config.update(from_json(path.read_text()))
    except (ValueError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{path} is damaged: {told}. Restore it, or train anew.") from error
    return config.lock()


def read_results(workdir: Path) -> dict[str, Any] | None:
    """Return the results of a finished run, None for another."""
    return read_json(workdir / "results.json")


def check(
    workdir: Path, config: ConfigDict, prepared: Prepared, *, custom_task: bool = False
) -> None:
    """Raise `UserError` unless a directory is free, or holds this config's run on this data.

    A run with a `custom_task` of a notebook's is never one that the config alone describes.
    """
    if not (workdir / "config.json").is_file():
        if workdir.exists() and not (workdir.is_dir() and _is_free(workdir)):
            raise UserError(f"{workdir} exists and is no run directory; give another --workdir.")
        return
    if changed := differences(read_config(workdir), config):
        raise UserError(
            f"{workdir} holds a run of another config:\n  "
            + "\n  ".join(changed)
            + "\nGive another --workdir, or the config that the run began with."
        )
    if lookup(_provenance(workdir), "custom_task") not in (None, custom_task):
        other = "the config's own task" if custom_task else "a task that Python code made"
        raise UserError(
            f"{workdir} was trained with {other}, which a config does not tell. Go on as it began, "
            "or in another directory."
        )
    began_with = lookup(_provenance(workdir), "dataset", "fingerprint")
    if began_with not in (None, prepared.fingerprint):
        raise UserError(
            f"{workdir} was begun on data with fingerprint {began_with}, and "
            f"{config.data.data_dir} holds {prepared.fingerprint} now. Give another --workdir."
        )


def _is_free(directory: Path) -> bool:
    """Tell whether nothing is there, or only what `write_text` began when it was killed."""
    return all(path.name == "config.json.part" for path in directory.iterdir())


def begin(
    workdir: Path,
    config: ConfigDict,
    prepared: Prepared,
    parameters: int,
    images: dict[str, int],
    *,
    custom_task: bool,
) -> None:
    """Write config.json and run.json; a later start of the same run adds to its `starts`."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / "config.json", to_json(config))  # first: it makes this a run directory
    except OSError as error:
        raise UserError(f"nothing can be written in {workdir}: {error}.") from error
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    start = {"time": now, **environment()}
    known = _provenance(workdir) or {
        **environment(),
        "started": now,
        "seed": config.seed,
        "dataset": {
            "name": prepared.name,
            "fingerprint": prepared.fingerprint,
            "partial": prepared.partial,
            "source": prepared.source,
        },
        "parameters": parameters,
        "images": images,
        "custom_task": custom_task,
        "init_from": config.init_from and _origin(Path(config.init_from)),
    }
    write_json(workdir / "run.json", {**known, "starts": [*known.get("starts", []), start]})


def _provenance(workdir: Path) -> dict[str, Any]:
    return read_json(workdir / "run.json") or {}


def _origin(run: Path) -> dict[str, Any]:
    """Return what tells where a run begins: another run, and how far it came, or weights."""
    if is_imported(run):
        weights = read_imported(run)
        return {"backbone": weights.backbone, "source": weights.source, "file": weights.file}
    made = _provenance(run)
    epochs = read_epochs(run)
    return {
        "commit": made.get("commit"),
        "seed": made.get("seed"),
        "fingerprint": lookup(made, "dataset", "fingerprint"),
        "step": epochs[-1]["step"] if epochs else 0,
    }


def environment() -> dict[str, Any]:
    """Return what a result depends on beside its config: command, commit, versions, device."""
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
