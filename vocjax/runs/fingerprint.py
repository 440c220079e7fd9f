"""Whether two runs are the same: a hash of config, data, code, and where the run begins."""

import functools
import hashlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vocjax.config import to_json
from vocjax.runs import groups, reader

PACKAGE = Path(__file__).parents[1]
# No result depends on them: they start runs, keep programs, or show what came out.
SHOWING = {"cli", "evaluate", "explorer", "plans", "predict", "reporting", "runner"}
SHOWING |= {"__main__", "shipped", "sweep"}
DIGITS = 16


def code_version(config: ConfigDict) -> str:
    """Return a hash of the source that a result depends on, 16 hexadecimal digits.

    That is vocjax without the rooms that show results, and the modules of the functions that the
    config names ("mine:charbonnier"), once they are imported. Of vocjax it is the source that was
    there when the process first asked, since that is what runs.
    """
    names = f"{config.loss.get('name', '')} {config.model.get('name', '')}"
    sources = {_source(*found) for found in re.findall(r"([\w.]+):(\w+)", names)}
    return _hash(_package(), *sorted(filter(None, sources)))


def _source(module: str, function: str) -> bytes:
    """Return the source of a module; of a notebook, which has no file, that of the function."""
    found = sys.modules.get(module)
    if found is None:
        return b""
    if file := getattr(found, "__file__", None):
        return Path(file).read_bytes()
    try:
        return inspect.getsource(getattr(found, function)).encode()
    except (OSError, TypeError, AttributeError):  # typed in, and not kept
        return b""


@functools.cache
def _package() -> bytes:
    """Return a digest of our own source files: their places and what they hold."""
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    found = hashlib.sha256()
    for name in sorted(files):
        if re.split(r"[/.]", name)[0] not in SHOWING:
            found.update(f"{name}\n".encode() + files[name].read_bytes())
    return found.digest()


def fingerprint(config: ConfigDict, data: str | None, code: str, origin: str | None) -> str | None:
    """Return the fingerprint of a run, 16 hexadecimal digits, None where it can't be known.

    `data` is the fingerprint of the data set, `origin` the `identity` of what `init_from` names.
    The run's name, where its data and its origin lie, and `keep_programs` change nothing.
    """
    if data is None or (config.init_from and origin is None):
        return None
    idle = ("name", "init_from", "data.data_dir", "keep_programs")
    fields = groups.without(json.loads(to_json(config)), *idle)
    return _hash(*(text.encode() for text in (fields, data, code, origin or "")))


def identity(origin: dict[str, Any]) -> str | None:
    """Return which run, or which file of weights, the `init_from` of a run.json was."""
    return origin.get("run") or reader.lookup(origin, "file", "sha256")


def codes(directory: Path) -> set[str | None]:
    """Return the versions of the code with which a run was trained; None is an unknown one."""
    starts = reader.read_provenance(directory).get("starts") or [{}]
    return {start.get("code") for start in starts}


def fingerprint_of(directory: Path) -> str | None:
    """Return the fingerprint of a finished run.

    None where it can't be known: the run is not finished, an older vocjax began it, several
    versions of the code trained it, or Python code made a part of it.
    """
    if not reader.is_run(directory) or reader.read_results(directory) is None:
        return None
    made, trained_by = reader.read_provenance(directory), codes(directory)
    code = trained_by.pop()
    if code is None or trained_by or made.get("custom"):
        return None
    data = reader.lookup(made, "dataset", "fingerprint")
    origin = identity(made.get("init_from") or {})
    return fingerprint(reader.read_config(directory), data, code, origin)


def _hash(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()[:DIGITS]
