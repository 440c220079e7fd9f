"""The TFDS builder `voc`: a devkit in, ArrayRecord files and an index out, without TensorFlow.

`prepare` builds a data set once, `load` opens it. Upright JPEGs and PNGs are kept byte for byte,
others as PNGs, masks as single-channel PNGs of class indices, which every decoder reads alike.
"""

import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from filelock import FileLock, Timeout
from tqdm import tqdm

from vocjax.data import download, photo, toy
from vocjax.data.classes import VOC, VOID, Classes
from vocjax.data.devkit import CLASSES, DATASETS, YEARS, Record, read, year_directory
from vocjax.data.index import Prepared, examine, from_json, is_official, to_json
from vocjax.data.masks import encode_mask, fit_mask, read_mask
from vocjax.errors import UserError, check_choice, local_path

TOY_SEED = 0
SPLIT = "trainval"
MEMBERSHIP = ("none", "train", "val")
SHARD = 1000  # images a file: 100 MB of VOC, which TFDS holds in memory while it writes them


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Look nothing up: TFDS would leave an empty folder in the system's temporary one."""


class Voc(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes records in their order; `advance` is called after each.

    Not a GeneratorBasedBuilder: past 1 GB that one needs TensorFlow for its temporary files, and
    the later years are larger. Not registered: TFDS has another data set of this name.
    """

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # TFDS would search it for checksums, with a package that it doesn't install
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS wants a list)
        tfds.core.BuilderConfig(name=name, description=f"PASCAL VOC, {name}") for name in DATASETS
    ]

    def __init__(
        self,
        *,
        records: Sequence[Record],
        metadata: dict[str, Any],
        advance: Callable[[], object],
        **kwargs: Any,
    ) -> None:
        self._records, self._metadata, self._advance = records, metadata, advance
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        membership = tfds.features.ClassLabel(names=MEMBERSHIP)
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "labels": tfds.features.Tensor(shape=(len(CLASSES),), dtype=np.int8),
            "image_id": tfds.features.Text(),
            "main": membership,
            "segmentation": membership,
        }
        return _Info(
            builder=self,
            description="PASCAL VOC images with class masks and image-level labels.",
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict[str, Any]]]]]]:
        starts = range(0, len(self._records), SHARD)
        return {SPLIT: [partial(self._examples, start) for start in starts]}

    def _examples(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, record in enumerate(self._records[start : start + SHARD], start):
            content = record.image.read_bytes()
            image, size = photo.stored_image(content, record.image)
            mask = np.full(size, VOID, np.uint8)
            if record.mask:
                mask = read_mask(record.mask.read_bytes(), record.mask, VOC, {})
                mask = fit_mask(mask, size, photo.orientation(content))
            example = {
                "image": image,
                "mask": encode_mask(mask),
                "labels": record.labels,
                "image_id": record.id,
                "main": record.main,
                "segmentation": record.segmentation,
            }
            yield row, example
            self._advance()


class _PillowDecoder(tfds.decode.Decoder):
    """Decodes with Pillow, always: where OpenCV is installed, TFDS takes it, and pixels differ."""

    def decode_example(self, serialized_example: bytes) -> np.ndarray:
        return photo.stored_pixels(serialized_example, self.feature.shape[-1])


def prepare(
    dataset: str, data_dir: Path, *, archive: Path | None = None, devkit: Path | None = None
) -> Prepared:
    """Build a data set under `data_dir`, or open the one that is there.

    `data_dir` gets `voc/<dataset>/<version>`, and `downloads` where a download is needed. A year
    comes from its official tar `archive`, from an unpacked `devkit`, whole or in part (see
    `devkit.year_directory`), or else from a download; `custom` needs a devkit; `toy` is drawn.
    Raises `UserError` where an argument is wrong, the source is broken (then nothing half-built is
    left), or the data set was prepared before from other data.
    """
    directory = _directory(dataset, data_dir)
    _check_source(dataset, archive, devkit)
    with _scratch_folder(data_dir) as scratch:
        existing = _open(dataset, directory) if directory.exists() else None
        if existing and not archive and not devkit:
            _say(f"{dataset} is prepared already, from {existing.source}: {directory}")
            return existing
        folder, source = _source(dataset, data_dir, scratch, archive, devkit)
        records = read(folder, every_class=dataset != "custom")
        with tqdm(total=2 * len(records), desc=dataset, unit="file", disable=None) as bar:
            _say(f"checking {len(records)} images and their masks")
            index, fingerprint = examine(records, bar.update)
            if existing:
                _check_same(existing, fingerprint, source)
                return existing
            # An archive has the official md5.
            whole = source.startswith("archive") or is_official(dataset, index)
            builder = Voc(
                config=dataset,
                data_dir=scratch / "built",
                file_format="array_record",
                records=records,
                metadata={
                    "fingerprint": fingerprint,
                    "partial": dataset in YEARS and not whole,
                    "source": source,
                    "index": to_json(index),
                },
                advance=bar.update,
            )
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints sizes it doesn't know
                builder.download_and_prepare()
        directory.parent.mkdir(parents=True, exist_ok=True)
        Path(builder.data_dir).rename(directory)
    _say(f"prepared {dataset}, {len(records)} images, in {directory}")
    return _open(dataset, directory)


def load(dataset: str, data_dir: Path) -> Prepared:
    """Open a prepared data set, or raise `UserError`; `toy` is prepared at its first use."""
    directory = _directory(dataset, data_dir)
    if directory.exists():
        return _open(dataset, directory)
    if dataset == "toy":
        return prepare(dataset, data_dir)
    raise UserError(
        f"{dataset} isn't prepared in {data_dir}. Prepare it first: vocjax data prepare "
        f"--dataset {dataset} --data_dir {data_dir} (with --archive TAR or --devkit DIR where you "
        "have the data; without, it is downloaded)."
    )


def _directory(dataset: str, data_dir: Path) -> Path:
    check_choice("the data set", dataset, DATASETS)
    if find_spec("array_record") is None:
        raise UserError(
            "the package array_record, which reads and writes prepared data sets, is missing. `pip "
            "install array_record` gets it on Linux and macOS; there is none for Windows: use WSL."
        )
    return local_path(data_dir) / "voc" / dataset / str(Voc.VERSION)


def _check_source(dataset: str, archive: Path | None, devkit: Path | None) -> None:
    given = [f"--{k} {v}" for k, v in (("archive", archive), ("devkit", devkit)) if v]
    allowed = {"toy": [0], "custom": [1]}.get(dataset, [0, 1])
    if len(given) not in allowed or (dataset == "custom" and archive):
        raise UserError(
            f"--dataset {dataset} with {' and '.join(given) or 'no source'}: a year takes one of "
            "--archive and --devkit or downloads, custom takes --devkit, and toy takes neither."
        )


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


def _source(
    dataset: str, data_dir: Path, scratch: Path, archive: Path | None, devkit: Path | None
) -> tuple[Path, str]:
    """Return the folder of a devkit, and in words where it comes from."""
    if dataset == "toy":
        _say("drawing the toy scenes")
        toy.write_devkit(scratch / "toy", seed=TOY_SEED)
        return scratch / "toy", f"generator seed {TOY_SEED}"
    if devkit:
        return year_directory(devkit, YEARS.get(dataset)), "devkit"
    official = download.ARCHIVES[YEARS[dataset]]
    if archive:
        download.check(archive, official)
    else:
        archive = download.fetch(official, data_dir / "downloads")
    _say(f"unpacking {archive}")
    download.unpack(archive, scratch)
    return year_directory(scratch, YEARS[dataset]), f"archive {official.file}"


def _check_same(existing: Prepared, fingerprint: str, source: str) -> None:
    if existing.fingerprint != fingerprint:
        raise UserError(
            f"{existing.directory} holds {existing.name} from {existing.source} (fingerprint "
            f"{existing.fingerprint[:12]}), and this is other data, from {source} (fingerprint "
            f"{fingerprint[:12]}). Give another --data_dir, or delete that folder first."
        )
    _say(f"{existing.name} is prepared already, from the same data: {existing.directory}")


def _open(dataset: str, directory: Path) -> Prepared:
    try:
        builder = tfds.builder_from_directory(directory)
        for file in builder.info.splits[SPLIT].filepaths:
            Path(file).stat()  # a file that is missing fails here and not during training
        metadata = builder.info.metadata
        facts = {name: metadata[name] for name in ("fingerprint", "partial", "source")}
        decoders = {"image": _PillowDecoder(), "mask": _PillowDecoder()}
        examples = builder.as_data_source(SPLIT, decoders=decoders)
        index = from_json(metadata["index"])
        return Prepared(dataset, directory, index, **facts, examples=examples)
    except Exception as error:  # TFDS, protobuf and json each raise their own
        raise UserError(
            f"{directory} can't be opened as a prepared data set ({error!r}). Delete that folder "
            "and prepare it again."
        ) from error


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)


def known_classes(dataset: str, data_dir: Path) -> Classes:
    """Return the classes of a data set; only one of the user's own is opened for that."""
    return VOC if dataset == "toy" or dataset in YEARS else load(dataset, data_dir).classes
