"""Imported weights: a directory with what a weight file gave a backbone.

- `weights.npz`: the arrays, float32, in our layout by our path: "backbone/conv1/conv/kernel";
- `weights.json`: the other fields of `Imported`.
"""

import hashlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocjax.bounds import read_json
from vocjax.errors import UserError, check_choice, check_range, naming
from vocjax.files import write_json
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.keys import Source
from vocjax.models.backbones.preprocessing import ORDERS, Given, Preprocessing
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.formats import npz, read
from vocjax.pretrained.formats.darknet import NUMBERS
from vocjax.pretrained.locate import locate, with_prefix
from vocjax.pretrained.matching import flatten, match, without
from vocjax.runs.provenance import environment

ARRAYS, FACTS = "weights.npz", "weights.json"
IMAGE = (224, 224, 3)  # no parameter's shape depends on its size


class Imported(NamedTuple):
    """Weights of a backbone, perhaps with its head, and what has to be known about them.

    `BACKBONES[backbone](classes, **fields)` computes what the original network does.
    """

    backbone: str
    fields: Mapping[str, str]
    source: str  # of the file's names, one of `SOURCES[backbone]`
    preprocessing: Preprocessing  # given at the import, or the usual one of the source
    classes: int | None  # of the head, None where the file filled nothing of it
    skipped: Sequence[str]  # our paths that the file did not fill, sorted
    ignored: Sequence[str]  # names in the file that were not used, or how many of Darknet's numbers
    file: Mapping[str, Any]  # its "name", "sha256" and "bytes"
    parameters: int  # how many numbers were taken
    commit: str  # this and the next two are those of the import, as in a run's run.json
    dirty: bool | None
    versions: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]  # float32, in our layout by our path
    prefix: str = ""  # that stood before the network's names in the file


def import_weights(
    backbone: str,
    file: Path,
    output: Path,
    *,
    source: str = "",
    skip: Sequence[str] = (),
    ignore: Sequence[str] = (),
    classes: int = 1000,
    given: Given = Given(),  # noqa: B008, which is immutable
) -> Imported:
    """Bring a weight file into our layout and write it as a directory, whole or not at all.

    Imported weights at `output` are replaced. Without `source` the names in the file decide.
    `skip` has regexes of parts that the file shall not fill, as in `matching.match`; `ignore` of
    names in the file that shall not be used: "classifier.*" for a head that is not the network's
    own. `classes` are those of the file's head; not used where the head is skipped. `given` is what
    is known of the preprocessing; it prevails over the source's.

    Raises `UserError` if `backbone`, `source`, `given` or a regex is none; if `file` can't be read,
    does not fit, fills nothing of the backbone, or has no names where `source` has some; and if
    `output` can't be written.
    """
    _check_free(output)
    sources = sources_of(backbone, source)
    check_range("--classes", classes, least=1)
    held = read(file)
    networks = {name: BACKBONES[backbone](classes, **f.fields) for name, f in sources.items()}
    tables = {name: f.key_map(networks[name]) for name, f in sources.items()}
    with naming(file):
        arrays = without(held, ignore)
        name, prefix = locate(arrays, tables, source)
    if NUMBERS in arrays and name != "darknet":
        raise UserError(
            f"{file} is Darknet's, without names, and the source {name} goes by names. Leave "
            "--source out, and name the backbone that the file has."
        )
    sizes = {path: leaf.shape for path, leaf in flatten(shapes(networks[name], IMAGE)).items()}
    inside = {theirs: array for theirs, array in arrays.items() if theirs.startswith(prefix)}
    with naming(file):
        found = match(inside, with_prefix(tables[name], prefix), sizes, skip)
    if not any(path.startswith("backbone/") for path in found.arrays):
        raise UserError(
            f"--skip {' --skip '.join(skip)} leaves nothing of the backbone to {file}, so that "
            "nothing would be imported. Skip only the parts that the file lacks: --skip head."
        )
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    made = environment()
    imported = Imported(
        backbone=backbone,
        fields=dict(sources[name].fields),
        source=name,
        preprocessing=given.over(sources[name].preprocessing),
        classes=classes if any(path.startswith("head/") for path in found.arrays) else None,
        skipped=sorted(found.skipped),
        ignored=[*found.ignored, *(name for name in held if name not in inside)],
        file={"name": file.name, "sha256": sha256, "bytes": file.stat().st_size},
        parameters=sum(array.size for array in found.arrays.values()),
        **{field: made[field] for field in ("commit", "dirty", "versions")},
        arrays=found.arrays,
        prefix=prefix,
    )
    write_imported(output, imported)
    return imported


def is_imported(directory: Path) -> bool:
    """Return whether a directory has imported weights, whole or damaged."""
    return (directory / FACTS).is_file()


def read_imported(directory: Path) -> Imported:
    """Read a directory of imported weights; `UserError` if it is none, or damaged."""
    again = f"`vocjax weights import --backbone NAME FILE --output {directory}`"
    if not is_imported(directory):
        raise UserError(f"{directory} has no imported weights (no {FACTS}); {again} makes them.")
    try:
        facts = read_json(directory / FACTS)
        order, white, mean, scale = (facts["preprocessing"][f] for f in Preprocessing._fields)
        facts["preprocessing"] = Preprocessing(order, white, tuple(mean), tuple(scale))
        imported = Imported(**facts, arrays=npz.read(directory / ARRAYS))
        if imported.source not in SOURCES[imported.backbone]:
            raise ValueError(f"{imported.backbone} has no source {imported.source!r}")
        numbers = [white, *mean, *scale]
        if order not in ORDERS or len(numbers) != 7 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"its preprocessing is {facts['preprocessing']}")
        taken = sum(array.size for array in imported.arrays.values() if array.dtype == np.float32)
        if taken != imported.parameters:
            raise ValueError(f"{imported.parameters} numbers were imported, and {taken} are there")
    except Exception as error:  # damage raises exceptions of zipfile, NumPy and json of any type
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise UserError(
            f"the imported weights in {directory} are damaged ({reason}). Import them again: "
            f"{again}."
        ) from error
    return imported


def read_fitting(directory: Path) -> Imported:
    """Read imported weights as `read_imported`; `UserError` also where they fit no network."""
    imported = read_imported(directory)
    try:
        _check_fits(imported)
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"the imported weights in {directory} are not those of the network that their {FACTS} "
            f"describes ({error}). Import them again with `vocjax weights import`."
        ) from error
    return imported


def _check_fits(imported: Imported) -> None:
    """Raise unless the arrays are those of the network that the facts describe."""
    source = SOURCES[imported.backbone][imported.source]
    if dict(imported.fields) != dict(source.fields):
        raise ValueError(f"fields of {imported.source!r} are not {imported.fields}")
    classes = 1000 if imported.classes is None else imported.classes
    network = BACKBONES[imported.backbone](classes, **imported.fields)
    expected = {path: leaf.shape for path, leaf in flatten(shapes(network, IMAGE)).items()}
    found = {path: array.shape for path, array in imported.arrays.items()}
    known = found | {path: expected[path] for path in imported.skipped}
    if differing := sorted(p for p in expected | known if expected.get(p) != known.get(p)):
        raise ValueError(f"{differing[0]} is not as {imported.backbone} has it")


def write_imported(output: Path, imported: Imported) -> None:
    """Write imported weights whole, over older ones; `UserError` where nothing can be written."""
    facts = imported._asdict() | {"preprocessing": imported.preprocessing._asdict()}
    del facts["arrays"]
    place = output.resolve()  # where a link leads
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".part", f"{place.name}.", place.parent) as folder:
            new, old = Path(folder) / "new", Path(folder) / "old"
            new.mkdir()
            with (new / ARRAYS).open("wb") as file:
                npz.write(file, imported.arrays)
            write_json(new / FACTS, facts)
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


def sources_of(backbone: str, source: str = "") -> Mapping[str, Source]:
    """Return a backbone's sources; `UserError` unless it is one, and `source` one of them."""
    check_choice("--backbone", backbone, BACKBONES)
    if source:
        check_choice(f"--source of {backbone}", source, SOURCES[backbone])
    return SOURCES[backbone]


def _check_free(output: Path) -> None:
    """Raise `UserError` if anything other than imported weights would be lost."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} exists and is no directory; give another --output.")
    held = {path.name for path in output.iterdir()} if output.exists() else set()
    if strange := sorted(held - {ARRAYS, FACTS} if is_imported(output) else held):
        raise UserError(
            f"{output} exists and has something other than imported weights "
            f"({', '.join(strange[:3])}); give another --output."
        )
