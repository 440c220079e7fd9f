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
    if _seen(workdir, config, field) is not None and not any(map(os.path.isdir, tried)):
        raise UserError(
            f"{field} of {workdir} is {_text(config, field)!r}, and no directory is at "
            f"{' nor at '.join(map(str, tried))}: there it lies as it is written, and as seen from "
            "the run directory when the run began. Put it, or a link to it, at such a place."
        )


def places(workdir: Path, config: ConfigDict, field: str) -> list[Path]:
    """Return where the directory that a field of `FIELDS` names may lie, absolute.

    As seen from the run directory first, and then as it is written; for an absolute path the other
    way round.
    """
    text = local_path(_text(config, field))
    # A folder may be a link, and the way up from it is that of what it links to.
    written = Path(os.path.realpath(text)) if ".." in text.parts else text.absolute()
    if (seen := _seen(workdir, config, field)) is None:
        return [written]
    return list(dict.fromkeys([written, seen] if text.is_absolute() else [seen, written]))


def _seen(workdir: Path, config: ConfigDict, field: str) -> Path | None:
    """Return where a directory lies as seen from the run directory; None if no run knows it."""
    way = reader.read_provenance(workdir).get("paths", {}).get(field)
    if way is None or _text(reader.read_config(workdir), field) != _text(config, field):
        return None
    return Path(os.path.normpath(Path(os.path.realpath(workdir)) / way))


def ways(workdir: Path, config: ConfigDict) -> dict[str, str]:
    """Return what run.json keeps: the way from the run directory to each path of its config."""
    named = {field: find(workdir, config, field) for field in FIELDS if _text(config, field)}
    home = os.path.realpath(workdir)
    # Published weights are named, and have no place of the user's.
    return {field: os.path.relpath(at, home) for field, at in named.items() if at.is_dir()}


def is_same(workdir: Path, begun: ConfigDict, config: ConfigDict, field: str) -> bool:
    """Return whether a config names the directory that a run began with, however it is written."""
    named = os.path.realpath(_text(config, field))
    return named in map(os.path.realpath, places(workdir, begun, field))


def _text(config: ConfigDict, field: str) -> str:
    return config.data.data_dir if field == "data.data_dir" else config[field]
