"""Where the paths of a run's config lie, from whatever folder the run is used.

A config keeps `data.data_dir` and `init_from` as they were written. run.json keeps the way to them
from the run directory, which stays right where all of them are moved together.
"""

import os
from pathlib import Path

from ml_collections import ConfigDict

from vocjax.errors import UserError, local_path
from vocjax.runs import reader

FIELDS = ("data.data_dir", "init_from")


def data_dir(workdir: Path, config: ConfigDict) -> Path:
    """Return the folder of a run's data; `UserError` if it is gone since the run began."""
    if config.data.dataset != "toy":  # which is drawn where it is not
        check(workdir, config, "data.data_dir")
    return find(workdir, config, "data.data_dir")


def find(workdir: Path, config: ConfigDict, field: str) -> Path:
    """Return the directory that a field of `FIELDS` names; its last place where it is at none."""
    tried = places(workdir, config, field)
    return next(filter(os.path.isdir, tried), tried[-1])


def check(workdir: Path, config: ConfigDict, field: str) -> None:
    """Raise `UserError` if a directory that a run began with is at none of its places any more."""
    tried = places(workdir, config, field)
    if len(tried) > 1 and not any(map(os.path.isdir, tried)):
        raise UserError(
            f"{field} of {workdir} is {_text(config, field)!r}, and it is neither at "
            f"{' nor at '.join(map(str, tried))}: the one is its place as seen from the run "
            "directory when the run began, the other as it is written. Put it, or a link to it, at "
            "one of them."
        )


def places(workdir: Path, config: ConfigDict, field: str) -> list[Path]:
    """Return where the directory that a field of `FIELDS` names may lie, absolute.

    As seen from the run directory first, and then as it is written; for an absolute path the other
    way round.
    """
    text = _text(config, field)
    written = Path(os.path.normpath(local_path(text).absolute()))
    known = reader.lookup(reader.read_json(workdir / "run.json"), "paths", field)
    if known is None or _text(reader.read_config(workdir), field) != text:
        return [written]
    seen = Path(os.path.normpath(workdir.absolute() / known))
    return list(dict.fromkeys([written, seen] if Path(text).is_absolute() else [seen, written]))


def to_json(workdir: Path, config: ConfigDict) -> dict[str, str]:
    """Return what run.json keeps: the way from the run directory to each path of its config."""
    named = {field: find(workdir, config, field) for field in FIELDS if _text(config, field)}
    # Published weights are named, and have no place of the user's.
    return {field: os.path.relpath(at, workdir) for field, at in named.items() if at.is_dir()}


def is_same(workdir: Path, begun: ConfigDict, config: ConfigDict, field: str) -> bool:
    """Return whether a config names the directory that a run began with, however it is written."""
    named = os.path.realpath(_text(config, field))
    return named in map(os.path.realpath, places(workdir, begun, field))


def _text(config: ConfigDict, field: str) -> str:
    return config.data.data_dir if field == "data.data_dir" else config[field]
