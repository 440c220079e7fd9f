"""What is to be done for each run of a plan: nothing, go on, copy an equal run, or train."""

import functools
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vocjax.config import to_json
from vocjax.data import voc
from vocjax.errors import UserError, local_path, naming
from vocjax.files import write_json, write_text
from vocjax.pretrained.published import PUBLISHED
from vocjax.pretrained.resolve import check_origin, origin_facts, origin_of
from vocjax.runs import lock, places, reader, writer
from vocjax.runs.fingerprint import code_version, codes, fingerprint, fingerprint_of, identity

DONE, CONTINUE, REUSE, TRAIN = "done", "continue", "reuse", "train"
OTHER = "other"  # a run of another config or other data: none that can be continued


class State(NamedTuple):
    """What is to be done for a run.

    `fingerprint` is the one that it has in the end, None where that can't be known. `differs` says
    how a run that is there was made otherwise than it would be now, "" where it is the same;
    `replaces`, that it is to be trained in the place of that. `needs` are runs of the plan that it
    begins from, or is a copy of. `source` is the directory that is copied.
    """

    action: str  # one of the above
    fingerprint: str | None
    differs: str = ""
    replaces: bool = False
    needs: tuple[str, ...] = ()
    source: Path | None = None
    epochs: int = 0  # that are trained already
    seconds: float = 0.0  # that these took


def find_states(
    configs: Mapping[str, ConfigDict],
    workdir: Path,
    again: Collection[str] = (),
    reuse: Iterable[Path] = (),
) -> dict[str, State]:
    """Return the state of each run of a plan, by its directory in `workdir`, in their order.

    Runs of `again` that were made otherwise than they would be now are to be trained again. An
    equal finished run in `workdir`, or in or below a folder of `reuse`, is to be copied. Trains and
    writes nothing. `UserError` where a directory can't be used, or nothing is there to begin from.
    """
    equal, data_of = _finished([workdir, *reuse]), functools.cache(_data)
    states: dict[str, State] = {}
    for name, config in configs.items():
        with naming(name):
            needs, origin = _origin(config, workdir, name, states)
            data = data_of(config.data.dataset, places.data_dir(workdir / name, config))
            expected = fingerprint(config, data, code_version(config), origin)
            state = _there(workdir / name, config, data, origin)
            if state and state.differs and name in again:
                state = State(TRAIN, expected, state.differs, replaces=True, needs=needs)
            elif state and state.action == OTHER:
                raise UserError(
                    f"{state.differs} Or train it again in its place, which deletes what is there: "
                    f"--again {name}"
                )
            elif state is None and expected in equal:
                source = equal[expected]
                trained = {n for n in states if workdir / n == source and states[n].action != DONE}
                state = State(REUSE, expected, needs=tuple(trained), source=source)
            states[name] = state or State(TRAIN, expected, needs=needs)
        if expected and states[name].fingerprint == expected:
            equal.setdefault(expected, workdir / name)
    return states


def _data(dataset: str, home: Path) -> str | None:
    """Return the fingerprint of prepared data; None for a toy set that is not drawn yet."""
    drawn = dataset != "toy" or dataset in voc.prepared_names(home)
    return voc.load(dataset, home).fingerprint if drawn else None


def _origin(
    config: ConfigDict, workdir: Path, name: str, states: Mapping[str, State]
) -> tuple[tuple[str, ...], str | None]:
    """Return which runs of the plan a run begins from, and the identity of what it begins from."""
    if not config.init_from:
        return (), None
    origin = origin_of(config, workdir / name)
    at = os.path.realpath(origin)
    if planned := next((n for n in states if os.path.realpath(workdir / n) == at), None):
        return (planned,), states[planned].fingerprint
    if not origin.is_dir() and config.init_from in PUBLISHED:
        return (), None  # brought when the run begins
    check_origin(origin)
    return (), identity(origin_facts(origin))


def _there(
    directory: Path, config: ConfigDict, data: str | None, origin: str | None
) -> State | None:
    """Return the state of the run in a directory, None where there is none."""
    made = reader.read_provenance(directory)
    facts = {"fingerprint": data or reader.lookup(made, "dataset", "fingerprint")}
    try:
        writer.check(directory, config, facts)
    except UserError as error:
        if reader.is_run(directory):
            return State(OTHER, None, str(error))
        raise
    if not reader.is_run(directory):
        return None
    differs = _differs(directory, config, made, origin)
    results, epochs = reader.read_results(directory), reader.read_epochs(directory)
    if results and (results["epoch"] == config.epochs or results.get("stopped_early")):
        return State(DONE, fingerprint_of(directory), differs)
    expected = fingerprint(config, data, code_version(config), origin)
    return State(
        CONTINUE,
        None if differs else expected,
        differs,
        epochs=epochs[-1]["epoch"] if epochs else 0,
        seconds=sum(epoch["seconds"] for epoch in epochs),
    )


def _differs(
    directory: Path, config: ConfigDict, made: Mapping[str, Any], origin: str | None
) -> str:
    """Return in words how a run of this config and data was made otherwise, "" for in no way."""
    if made.get("diverged"):
        return "it diverged there"
    used, now = codes(directory), code_version(config)
    if None in used:
        return "an earlier vocjax made it, which did not keep the version of its code"
    if len(used) > 1:
        return "several versions of the code trained it"
    if used != {now}:
        dirty = ", changed" if made.get("dirty") else ""
        return f"other code made it (commit {str(made.get('commit'))[:7]}{dirty})"
    if config.init_from and identity(made.get("init_from") or {}) != origin:
        return f"{Path(config.init_from).name}, from which it began, is another now"
    return ""


def _finished(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the finished runs in and below folders by fingerprint, the first of equal ones."""
    found: dict[str, Path] = {}
    for directory in run_directories(folders):
        with suppress(UserError):  # of a run that can't be read, nothing can be said
            if known := fingerprint_of(directory):
                found.setdefault(known, directory)
    return found


def run_directories(folders: Iterable[Path]) -> list[Path]:
    """Return the run directories that folders are, or hold one or two levels down, each once."""
    found = [
        config.parent
        for folder in map(local_path, folders)
        for pattern in ("config.json", "*/config.json", "*/*/config.json")
        for config in sorted(folder.glob(pattern))
    ]
    return [path for path in dict.fromkeys(found) if not path.parent.name.startswith(".")]


# What changes directories ------------------------------------------------------------------------


def copy_run(source: Path, directory: Path, config: ConfigDict) -> None:
    """Make a directory the run of a config by copying an equal one, whole or not at all."""
    part = _part(directory)
    left_out = shutil.ignore_patterns("config.json", lock.LOCK, lock.USER, "*.part")
    try:
        shutil.copytree(source, part, ignore=left_out)
        made = reader.read_provenance(source)
        paths = places.ways(directory, config)
        write_json(part / "run.json", {**made, "paths": paths, "reused": str(source)})
        write_text(part / "config.json", to_json(config))
        with lock.alone(directory):  # refused while another process trains there
            (directory / "config.json.part").unlink(missing_ok=True)
        part.rename(directory)
    finally:
        _clear(part)


def remove_run(directory: Path) -> None:
    """Delete a run directory that no process uses, whole or not at all."""
    part = _part(directory)
    with lock.alone(directory):
        directory.rename(part)
    _clear(part)


def _part(directory: Path) -> Path:
    """Return where a directory is half-written: no level at which a report looks for runs."""
    part = directory.parent / ".part" / directory.name
    _clear(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    return part


def _clear(part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):  # not there, or not empty
        part.parent.rmdir()
