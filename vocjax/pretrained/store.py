"""Imported weights: a directory of what a weight file gave a backbone.

- `weights.npz`: the arrays, float32, in our layout by our path: "backbone/conv1/conv/kernel";
- `weights.json`: the other fields of `Imported`.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.keys import Source
from vocjax.models.backbones.preprocessing import Preprocessing
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.formats import npz, read
from vocjax.pretrained.formats.darknet import NUMBERS
from vocjax.pretrained.matching import flatten, match, names_to_ignore
from vocjax.pretrained.sources import detect
from vocjax.runs.provenance import environment

ARRAYS, FACTS = "weights.npz", "weights.json"
IMAGE = (224, 224, 3)  # no parameter's shape depends on its size


class Imported(NamedTuple):
    """Weights of a backbone and, perhaps, its head, with what has to be known of them.

    - `backbone` and `fields`: `BACKBONES[backbone](classes, **fields)` computes what the origin's
      network does;
    - `source`: of the file's names, one of `SOURCES[backbone]`;
    - `preprocessing`: what the published weights were trained with;
    - `classes`: of the head, None where the file filled nothing of it;
    - `skipped`: our paths that the file did not fill, sorted;
    - `ignored`: names in the file that nothing was made of, or how many numbers of Darknet's;
    - `file`: its "name", "sha256" and "bytes";
    - `parameters`: how many numbers were taken;
    - `commit`, `dirty`, `versions`: of the code that imported them, as in the run.json of a run;
    - `arrays`: float32, in our layout by our path.
    """

    backbone: str
    fields: Mapping[str, str]
    source: str
    preprocessing: Preprocessing
    classes: int | None
    skipped: Sequence[str]
    ignored: Sequence[str]
    file: Mapping[str, Any]
    parameters: int
    commit: str
    dirty: bool | None
    versions: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]


def import_weights(
    backbone: str,
    file: Path,
    output: Path,
    *,
    source: str = "",
    skip: Sequence[str] = (),
    ignore: Sequence[str] = (),
    classes: int = 1000,
) -> Imported:
    """Bring a weight file into our layout and write it as a directory, whole or not at all.

    Args:
      backbone: one of `BACKBONES`.
      file: in a format that `files.read` knows.
      output: free, or imported weights, which are then replaced.
      source: of the file's names; empty to tell it from them.
      skip: regexes of the parts that the file shall not fill, as in `matching.match`.
      ignore: regexes of the names in the file that nothing shall be made of, as there.
      classes: of the file's head; without meaning where that is skipped.

    Raises:
      UserError: an argument is none of these, `file` is damaged, does not fit, fills nothing of
        the backbone or has no names where `source` has, or nothing can be written in `output`.
    """
    _check_free(output)
    sources = sources_of(backbone, source)
    if classes < 1:
        raise UserError(f"the head has {classes} classes; expected 1 or more, as the file has.")
    arrays = read(file)
    networks = {name: BACKBONES[backbone](classes, **s.fields) for name, s in sources.items()}
    tables = {name: s.key_map(networks[name]) for name, s in sources.items()}
    spared = names_to_ignore(ignore, arrays)
    name = source or detect([array for array in arrays if array not in spared], tables)
    if NUMBERS in arrays and name != "darknet":
        raise UserError(
            f"{file} is Darknet's, without names, and the source {name} goes by names. Leave "
            "--source out, and name the backbone that the file is of."
        )
    wanted = flatten(shapes(networks[name], IMAGE))
    sizes = {path: leaf.shape for path, leaf in wanted.items()}
    found = match(arrays, tables[name], sizes, skip, ignore)
    if not any(path.startswith("backbone/") for path in found.arrays):
        raise UserError(
            f"--skip {' --skip '.join(skip)} leaves nothing of the backbone to {file}, so that "
            "nothing would be imported. Name the parts alone that the file lacks: --skip head."
        )
    made = environment()
    imported = Imported(
        backbone=backbone,
        fields=dict(sources[name].fields),
        source=name,
        preprocessing=sources[name].preprocessing,
        classes=classes if any(path.startswith("head/") for path in found.arrays) else None,
        skipped=sorted(found.skipped),
        ignored=list(found.ignored),
        file={"name": file.name, "sha256": _sha256(file), "bytes": file.stat().st_size},
        parameters=sum(array.size for array in found.arrays.values()),
        **{field: made[field] for field in ("commit", "dirty", "versions")},
        arrays=found.arrays,
    )
    _write(output, imported)
    return imported


def is_imported(directory: Path) -> bool:
    """Tell whether a directory holds imported weights, whole or damaged."""
    return (directory / FACTS).is_file()


def read_imported(directory: Path) -> Imported:
    """Read a directory of imported weights; `UserError` if it is none, or damaged."""
    if not is_imported(directory):
        raise UserError(
            f"{directory} holds no imported weights (no {FACTS}); "
            f"`vocjax weights import --backbone NAME FILE --output {directory}` makes them."
        )
    try:
        facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
        order, white, mean, scale = (facts["preprocessing"][f] for f in Preprocessing._fields)
        facts["preprocessing"] = Preprocessing(order, white, tuple(mean), tuple(scale))
        imported = Imported(**facts, arrays=npz.read(directory / ARRAYS))
        if imported.source not in SOURCES[imported.backbone]:
            raise ValueError(f"{imported.backbone} has no source {imported.source!r}")
        taken = sum(array.size for array in imported.arrays.values() if array.dtype == np.float32)
        if taken != imported.parameters:
            raise ValueError(f"{imported.parameters} numbers were imported, and {taken} are there")
    except Exception as error:  # whatever damage raises in zipfile, NumPy and json
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise UserError(
            f"the imported weights in {directory} are damaged ({reason}). Import them again: "
            f"`vocjax weights import --backbone NAME FILE --output {directory}`."
        ) from error
    return imported


def sources_of(backbone: str, source: str = "") -> Mapping[str, Source]:
    """Return a backbone's sources; `UserError` unless it is one, and `source` one of them."""
    if backbone not in BACKBONES:
        raise UserError(f"there is no backbone {backbone!r}; it is one of {', '.join(BACKBONES)}.")
    sources = SOURCES[backbone]
    if source and source not in sources:
        raise UserError(
            f"{backbone} has no source of weights {source!r}; it is one of {', '.join(sources)}."
        )
    return sources


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check_free(output: Path) -> None:
    """Raise `UserError` if something else than imported weights would be lost."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} exists and is no directory; give another --output.")
    held = {path.name for path in output.iterdir()} if output.exists() else set()
    if strange := sorted(held - {ARRAYS, FACTS} if is_imported(output) else held):
        raise UserError(
            f"{output} exists and holds something else than imported weights "
            f"({', '.join(strange[:3])}); give another --output."
        )


def _write(output: Path, imported: Imported) -> None:
    """Write a directory beside its place, then put it there, also where an older one is."""
    facts = imported._asdict() | {"preprocessing": imported.preprocessing._asdict()}
    del facts["arrays"]
    place = output.resolve()  # of a link, where it leads
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".part", f"{place.name}.", place.parent) as folder:
            new, old = Path(folder) / "new", Path(folder) / "old"
            new.mkdir()
            with (new / ARRAYS).open("wb") as file:
                npz.write(file, imported.arrays)
            (new / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            try:
                if is_imported(place):
                    place.rename(old)
                new.rename(place)
            finally:
                if old.exists() and not place.exists():
                    old.rename(place)
    except OSError as error:
        raise UserError(
            f"{output} can't be written ({error.strerror}). Give an --output in a folder that can "
            "be written to and has room."
        ) from error
