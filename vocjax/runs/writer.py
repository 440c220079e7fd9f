"""What a run writes into its directory; `runs.reader` describes the files. Only host 0 writes."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax import files
from vocjax.config import differences, to_json, with_late_fields
from vocjax.errors import UserError
from vocjax.runs import lock, places, reader
from vocjax.runs.fingerprint import code_version
from vocjax.runs.provenance import environment

ENDLESS = ("constant", "step", "warm_restarts")  # schedules that know no number of epochs


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; only the first host writes."""
    if jax.process_index() == 0:
        files.write_json(path, value)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed .npz whole or not at all; only the first host writes."""
    if jax.process_index() == 0:
        files.write_arrays(path, arrays)


def check(
    workdir: Path, config: ConfigDict, data: Mapping[str, Any], custom: Sequence[str] = ()
) -> None:
    """Raise `UserError` unless a directory is free, or holds this config's run on this data.

    `data` are facts of the data set, with its `fingerprint`; `custom` names which of task, data and
    optimizer Python code made, because a config does not describe them.
    """
    if not reader.is_run(workdir):
        # Free is also a directory with what a process that was killed, or still runs, has begun.
        begun = {"config.json.part", lock.LOCK, lock.USER, f"{lock.USER}.part"}
        free = workdir.is_dir() and {path.name for path in workdir.iterdir()} <= begun
        if workdir.exists() and not free:
            raise UserError(f"{workdir} exists and is no run directory; give another --workdir.")
        return
    begun, known = reader.read_config(workdir), reader.read_provenance(workdir)
    fingerprint = reader.lookup(known, "dataset", "fingerprint")
    moved = {"keep_programs"}  # which no result depends on
    if fingerprint == data["fingerprint"]:
        moved.add("data.data_dir")
    if places.is_same(workdir, begun, config, "init_from"):
        moved.add("init_from")
    changed = {
        line.split(":")[0]: line for line in differences(*map(with_late_fields, (begun, config)))
    }
    if changed.keys() - moved == {"epochs"}:
        _check_epochs(workdir, begun, config.epochs, custom)
    elif changed.keys() - moved:
        raise UserError(
            f"{workdir} holds a run of another config:\n  "
            + "\n  ".join(line for field, line in changed.items() if field not in moved)
            + "\nGive another --workdir, or the config that the run began with."
        )
    if (theirs := known.get("custom", list(custom))) != list(custom):
        raise UserError(
            f"{workdir} was trained with {_made(theirs)}, not with {_made(custom)}. Continue "
            "and evaluate it in the way that it began, or give another directory."
        )
    if fingerprint not in (None, data["fingerprint"]):
        raise UserError(
            f"{workdir} was begun on data with fingerprint {fingerprint}, and the fingerprint of "
            f"{config.data.data_dir} is {data['fingerprint']} now. Give another --workdir."
        )


def _check_epochs(workdir: Path, begun: ConfigDict, epochs: int, custom: Sequence[str]) -> None:
    """Raise `UserError` unless a run of more epochs would have begun as this one did."""
    schedule, reason = begun.optimizer.schedule, ""
    if epochs < begun.epochs:
        reason = "a run can get more epochs, not fewer"
    elif not begun.epochs:
        reason = "it has no training that could be continued"
    elif schedule not in ENDLESS:
        reason = (
            f"with its optimizer.schedule {schedule!r} the learning rate of every step depends on "
            "the number of epochs"
        )
    elif "optimizer" in custom:
        reason = "Python code made its optimizer, perhaps for this number of epochs"
    if reason:
        raise UserError(
            f"{workdir} holds a run with epochs={begun.epochs}, which can't become {epochs}: "
            f"{reason}. Train in another --workdir; --config.init_from={workdir} begins there with "
            "the encoder of this run."
        )


def _made(custom: Sequence[str]) -> str:
    named = [{"task": "a task", "optimizer": "an optimizer"}.get(name, name) for name in custom]
    listed = " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))
    return f"{listed} that Python code made" if custom else "the config alone"


def begin(workdir: Path, config: ConfigDict, facts: Mapping[str, Any]) -> None:
    """Write config.json and run.json; a later start of the same run adds to its `starts`.

    `facts` join the environment in run.json: dataset, parameters, images, custom, init_from. The
    run is unfinished from then on: results.json and samples.npz, of fewer epochs, are deleted.
    """
    if jax.process_index():
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made = environment() | {"code": code_version(config)}
    paths = places.ways(workdir, config)
    changed = differences(reader.read_config(workdir), config) if reader.is_run(workdir) else []
    try:
        for old in ("results.json", "samples.npz"):  # of fewer epochs
            (workdir / old).unlink(missing_ok=True)
        # Before run.json: this file makes the directory a run directory.
        files.write_text(workdir / "config.json", to_json(config))
    except OSError as error:
        raise UserError(f"nothing can be written in {workdir}: {error}.") from error
    begun = {**made, "started": now, "seed": config.seed, **facts}
    known = reader.read_provenance(workdir) or begun
    known.pop("diverged", None)  # it goes on, and may not again
    start = {"time": now, **({"changed": changed} if changed else {}), **made}
    starts = [*known.get("starts", []), start]
    files.write_json(workdir / "run.json", {**known, "paths": paths, "starts": starts})


def note_divergence(workdir: Path, why: UserError) -> None:
    """Say in run.json that a run has ended because a number was not finite."""
    made = reader.read_provenance(workdir)
    write_json(workdir / "run.json", {**made, "diverged": str(why)})


def has_baselines(workdir: Path) -> bool:
    """Return whether a run directory holds what `write_baselines` writes."""
    return (workdir / reader.BASELINES).is_file()


def write_baselines(
    workdir: Path, metrics: Mapping[str, Any], before: Mapping[str, np.ndarray]
) -> None:
    """Write the metrics of the baselines, and the frozen features before training, if any."""
    if before:
        write_arrays(workdir / reader.BEFORE, before)
    write_json(workdir / reader.BASELINES, metrics)


def read_baselines(workdir: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `write_baselines` wrote; {} for what is not there."""
    metrics = reader.read_json(workdir / reader.BASELINES) or {}
    return metrics, reader.read_arrays(workdir / reader.BEFORE)
