"""A run directory: the config, what it takes to have the run again, and its metrics.

`vocjax.runs` describes the files and reads them.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.config import differences, to_json
from vocjax.data.voc import Prepared
from vocjax.errors import UserError
from vocjax.pretrained.store import is_imported, read_imported
from vocjax.runs.provenance import environment
from vocjax.runs.reader import lookup, read_config, read_epochs, read_json


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
