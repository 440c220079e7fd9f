"""Prepared data sets: `prepare` builds one once, `load` opens it."""

import contextlib
import difflib
import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from filelock import FileLock, Timeout
from tqdm import tqdm

from vocjax.data import devkit, download, toy
from vocjax.data.builder import KINDS, SPLIT, PillowDecoder, Voc
from vocjax.data.classes import VOC, Classes
from vocjax.data.devkit import YEARS, Source
from vocjax.data.examine import examine
from vocjax.data.index import Prepared, from_json, is_official, to_json
from vocjax.data.layouts import folders, kit, pairs, sbd
from vocjax.data.layouts import tfds as tfds_layout
from vocjax.data.layouts.request import (
    TFDS,
    Request,
    absolute,
    check_dataset,
    check_request,
    is_own,
)
from vocjax.data.layouts.text import shown
from vocjax.data.records import check_records
from vocjax.errors import UserError, local_path
from vocjax.files import why_unwritable

TOY_SEED = 0


def prepare(dataset: str, data_dir: Path, **given: Any) -> Prepared:
    """Build a data set under `data_dir`, or open the one that is there.

    `data_dir` gets `voc/<dataset>/<version>`, and `downloads` where a download is needed. `given`
    are fields of `layouts.request.Request`. A year comes from its official tar `archive`, from an
    unpacked `devkit`, whole or in part (see `devkit.year_directory`), or else from a download;
    `toy` is drawn; `tfds:NAME` lies in `data_dir`; any other name is the user's own, and needs a
    source. What looks wrong is said, and kept in `Prepared.warnings`. Raises `UserError` where an
    argument is wrong, the source is broken (then nothing half-built is left), or the data set was
    prepared before from other data.
    """
    request = absolute(Request(**given))
    directory = _directory(dataset, data_dir)
    opens = directory.exists() and request == Request()
    if not opens:
        check_request(dataset, request)
    with _scratch_folder(data_dir) as scratch:
        existing = _open(dataset, directory) if directory.exists() else None
        if existing and opens:
            _say(f"{dataset} is prepared already, from {existing.source}: {directory}")
            return existing
        source = _source(dataset, data_dir, scratch, request)
        count = len(source.records)
        with tqdm(total=2 * count, desc=dataset, unit="file", disable=None) as bar:
            _say(f"checking {count} images and their masks")
            index, fingerprint, warnings = examine(source, bar.update, own=is_own(dataset))
            if existing:
                _check_same(existing, fingerprint, source, len(index.ids))
                return existing
            # An archive has the official md5.
            whole = source.origin.startswith("archive") or is_official(dataset, index)
            builder = Voc(
                config=directory.parent.name,
                data_dir=scratch / "built",
                file_format="array_record",
                source=source,
                index=index,
                metadata={
                    "fingerprint": fingerprint,
                    "partial": dataset in YEARS and not whole,
                    "source": source.origin,
                    "classes": source.classes.names,
                    "palette": source.classes.palette.tolist(),
                    "warnings": warnings,
                    "index": to_json(index),
                },
                advance=bar.update,
            )
            _build(builder, source, data_dir)
        directory.parent.mkdir(parents=True, exist_ok=True)
        Path(builder.data_dir).rename(directory)
    _say(f"prepared {dataset}, {count} images, in {directory}")
    return _open(dataset, directory)


def _build(builder: Voc, source: Source, data_dir: Path) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints sizes it doesn't know
            builder.download_and_prepare()
    except (OSError, RuntimeError) as error:  # the latter of array_record
        if not (reason := why_unwritable(error)):
            raise
        files = [file for record in source.records for file in record[1:3] if file]
        needed = sum(file.stat().st_size for file in files) / 1e6
        raise UserError(
            f"{data_dir} can't take the data set: {reason}. It needs about {needed:,.1f} MB there. "
            "Make room, and the same command begins anew; or give another folder with --data_dir."
        ) from error


def load(dataset: str, data_dir: Path) -> Prepared:
    """Open a prepared data set, or raise `UserError`; `toy` is prepared at its first use."""
    directory = _directory(dataset, data_dir)
    if directory.exists():
        return _open(dataset, directory)
    if dataset == "toy":
        return prepare(dataset, data_dir)
    there = prepared_names(data_dir)
    close = difflib.get_close_matches(dataset, [*there, "toy", *YEARS], n=1)
    how = "--archive TAR or --devkit DIR where you have the data; without, it is downloaded"
    if dataset.startswith(TFDS):
        how = "with --features label=NAME,mask=NAME, as far as it has them"
    elif is_own(dataset):
        how = "and say where the data lies: --devkit, --folders or --images DIR"
    raise UserError(
        f"{dataset} isn't prepared in {data_dir}, which holds {', '.join(there) or 'nothing'}."
        + (f" Did you mean {close[0]!r}?" if close and close[0] != dataset else "")
        + f" Prepare it first: vocjax data prepare --dataset {dataset} --data_dir {data_dir} "
        f"({how})."
    )


def prepared_names(data_dir: Path) -> list[str]:
    """Return the names of the data sets that are prepared in a folder."""
    found = sorted(path.parent.name for path in data_dir.glob(f"voc/*/{Voc.VERSION}"))
    return [
        TFDS + name.removeprefix("tfds.").replace(".", "/", 1) if name.startswith("tfds.") else name
        for name in found
    ]


def _directory(dataset: str, data_dir: Path) -> Path:
    check_dataset(dataset)
    if find_spec("array_record") is None:
        raise UserError(
            "the package array_record, which reads and writes prepared data sets, is missing. `pip "
            "install array_record` gets it on Linux and macOS; there is none for Windows: use WSL."
        )
    folder = dataset.replace(TFDS, "tfds.").replace("/", ".")  # a name that no other can have
    return local_path(data_dir) / "voc" / folder / str(Voc.VERSION)


@contextlib.contextmanager
def _scratch_folder(data_dir: Path) -> Iterator[Path]:
    """Own `data_dir / "incomplete"`, an empty folder, until the block ends; then it is removed.

    One process at a time has it, the others wait. What is complete can be renamed out of it, so
    that nobody ever finds a half-built data set.
    """
    folder, lock = data_dir / "incomplete", FileLock(data_dir / ".lock")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _say(f"waiting for another process that prepares {data_dir}")
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"{data_dir} can't be written to ({error}). Give another folder with --data_dir."
        ) from error
    try:
        shutil.rmtree(folder, ignore_errors=True)  # a killed process left it
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _source(dataset: str, data_dir: Path, scratch: Path, request: Request) -> Source:
    """Read what a source has, but for the pixels."""
    if dataset == "toy":
        _say("drawing the toy scenes")
        toy.write_devkit(scratch / "toy", seed=TOY_SEED)
        return devkit.read(scratch / "toy")._replace(origin=f"generator seed {TOY_SEED}")
    if dataset.startswith(TFDS):
        return tfds_layout.read(dataset, data_dir, scratch, request)
    if request.folders:
        return folders.read(request.folders, request)
    if request.images:
        return pairs.read(request.images, request)
    if is_own(dataset) and not request.sbd:
        assert request.devkit
        return kit.read(request.devkit, request)
    year = YEARS.get(dataset, sbd.YEAR)
    folder, origin = _official(year, data_dir, scratch, request)
    if request.sbd:
        return sbd.read(folder, request)._replace(origin=f"{origin} and SBD")
    return devkit.read(folder)._replace(origin=origin)


def _official(year: int, data_dir: Path, scratch: Path, request: Request) -> tuple[Path, str]:
    """Return the folder of an official year, and in words where it comes from."""
    if request.devkit:
        return devkit.year_directory(request.devkit, year), "devkit"
    official, archive = download.ARCHIVES[year], request.archive
    if archive:
        download.check(archive, official)
    else:
        archive = download.fetch(official, data_dir / "downloads")
    _say(f"unpacking {archive}")
    download.unpack(archive, scratch)
    return devkit.year_directory(scratch, year), f"archive {official.file}"


def _check_same(existing: Prepared, fingerprint: str, source: Source, count: int) -> None:
    if existing.fingerprint != fingerprint:
        before, now, held = existing.classes, source.classes, len(existing.index.ids)
        n = len(now.names) + 1
        colours = not np.array_equal(before.palette[:n], now.palette[:n])
        what = "their pixels, labels, splits or what the values of masks mean"
        if before.names != now.names:
            what = f"its classes: {shown([*now.names])}, and there {shown([*before.names])}"
        elif held != count:
            what = f"{count} images, and there {held}"
        elif colours:
            what = "the colours of its classes"
        raise UserError(
            f"{existing.directory} holds {existing.name} from {existing.source} (fingerprint "
            f"{existing.fingerprint[:12]}), and this is other data, from {source.origin} "
            f"(fingerprint {fingerprint[:12]}). What differs is {what}. Give another --data_dir or "
            "name, or delete that folder first."
        )
    _say(f"{existing.name} is prepared already, from the same data: {existing.directory}")


def _open(dataset: str, directory: Path) -> Prepared:
    tfds_layout.check_types(directory)
    try:
        builder = tfds.builder_from_directory(directory)
        for file in builder.info.splits[SPLIT].filepaths:
            check_records(Path(file))  # one that is missing fails here and not during training
        kinds = {name: type(feature) for name, feature in builder.info.features.items()}
        if kinds != KINDS:
            raise ValueError(f"its features.json has {_named(kinds)}, expected {_named(KINDS)}")
        metadata = builder.info.metadata
        facts = {name: metadata[name] for name in ("fingerprint", "partial", "source")}
        decoders = {"image": PillowDecoder(), "mask": PillowDecoder()}
        return Prepared(
            dataset,
            directory,
            from_json(metadata["index"]),
            _classes(metadata),
            **facts,
            warnings=tuple(metadata.get("warnings", ())),
            examples=builder.as_data_source(SPLIT, decoders=decoders),
        )
    except Exception as error:  # TFDS, protobuf and json each raise their own
        raise UserError(
            f"{directory} can't be opened as a prepared data set ({error!r}). Delete that folder "
            "and prepare it again."
        ) from error


def _named(kinds: Mapping[str, type]) -> str:
    return ", ".join(f"{name}: {kind.__name__}" for name, kind in kinds.items())


def _classes(metadata: dict[str, Any]) -> Classes:
    if "classes" not in metadata:  # prepared when all data sets had VOC's
        return VOC
    return Classes(tuple(metadata["classes"]), np.array(metadata["palette"], np.uint8))


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)


def known_classes(dataset: str, data_dir: Path) -> Classes:
    """Return the classes of a data set; only one of the user's own is opened for that."""
    return VOC if dataset == "toy" or dataset in YEARS else load(dataset, data_dir).classes
