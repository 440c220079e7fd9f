"""A run directory: the config, what it takes to have the run again, and its metrics.

`vocjax.reporting.runs` describes the files and reads them.
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

from vocjax.configuration import differences, from_json, to_json
from vocjax.data.voc import Prepared
from vocjax.errors import UserError

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
    """Return the config of a run; `UserError` if the directory holds none."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{workdir} holds no run (no config.json); "
            f"`vocjax train --config FILE --workdir {workdir}` makes one."
        )
    try:
        return from_json(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Restore it, or train anew.") from error


def read_results(workdir: Path) -> dict[str, Any] | None:
    """Return the results of a finished run, None for another."""
    path = workdir / "results.json"
    return json.loads(path.read_text()) if path.is_file() else None


def read_records(workdir: Path) -> list[dict[str, Any]]:
    """Return the epochs in metrics.jsonl; a line cut short by kill -9 is passed over."""
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check(workdir: Path, config: ConfigDict, prepared: Prepared) -> None:
    """Raise `UserError` unless a directory is free, or holds this config's run on this data."""
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
    began_with = _read_provenance(workdir).get("dataset", {}).get("fingerprint")
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
) -> None:
    """Write config.json and run.json; a later start of the same run adds to its `starts`."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / "config.json", to_json(config))  # first: it makes this a run directory
    except OSError as error:
        raise UserError(f"nothing can be written in {workdir}: {error}.") from error
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    start = {"time": now, **_environment()}
    known = _read_provenance(workdir) or {
        **_environment(),
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
    }
    write_json(workdir / "run.json", {**known, "starts": [*known.get("starts", []), start]})


def _environment() -> dict[str, Any]:
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
            "cores": os.cpu_count(),
        },
    }


def _read_provenance(workdir: Path) -> dict[str, Any]:
    path = workdir / "run.json"
    return json.loads(path.read_text()) if path.is_file() else {}


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
