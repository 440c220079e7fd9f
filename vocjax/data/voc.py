"""The TFDS builder `voc`: a devkit in, ArrayRecord files and an index out, without TensorFlow.

`prepare` builds a data set once, `load` opens it. Images are kept as the JPEG bytes of the devkit,
masks as single-channel PNGs of class indices, so any decoder gives indices back.
"""

import contextlib
import difflib
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from vocjax.data import download, toy
from vocjax.data.devkit import (
    CLASSES,
    OFFICIAL_COUNTS,
    VOID,
    Record,
    decode_mask,
    read,
    year_directory,
)
from vocjax.data.index import Index, counts, examine, from_json, to_json
from vocjax.data.workspace import workspace
from vocjax.errors import UserError

YEARS = {f"voc{year}": year for year in range(2007, 2013)}
DATASETS = ("toy", "custom", *YEARS)  # custom: one's own images in a devkit's layout
TOY_SEED = 0
SPLIT = "trainval"
MEMBERSHIP = ("none", "train", "val")
SHARD = 1000  # images a file: 100 MB of VOC, which TFDS holds in memory while it writes them


class Prepared(NamedTuple):
    """A data set on disk.

    `examples[i]` is a dict of `image` uint8 [H, W, 3], `mask` uint8 [H, W, 1] (255 throughout where
    the image has none), `labels` int8 [20], `image_id` bytes, and `main` and `segmentation`, which
    are numbers into `MEMBERSHIP`.
    """

    name: str
    directory: Path
    index: Index  # type: ignore[assignment]  # hides tuple.index, which is of no use here
    fingerprint: str  # sha256 of ids, labels, membership, image and mask files
    partial: bool  # not known to be a whole year
    source: str
    examples: Sequence[dict[str, Any]]


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Look nothing up: TFDS would leave an empty folder in the system's temporary one."""


class Voc(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes records in their order.

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
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
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
            image = record.image.read_bytes()
            yield (
                row,
                {
                    "image": image,
                    "mask": _encode_mask(record.mask, Image.open(io.BytesIO(image)).size),
                    "labels": record.labels,
                    "image_id": record.id,
                    "main": record.main,
                    "segmentation": record.segmentation,
                },
            )
            self._advance()


class _PillowDecoder(tfds.decode.Decoder):
    """Decodes with Pillow, always: where OpenCV is installed, TFDS takes it, and pixels differ."""

    def decode_example(self, serialized_example: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(serialized_example))
        if self.feature.shape[-1] == 1:
            return np.asarray(image)[..., None]
        return np.asarray(image.convert("RGB"))


def prepare(
    dataset: str,
    data_dir: Path,
    *,
    archive: Path | None = None,
    devkit: Path | None = None,
    archives: Mapping[int, download.Archive] = download.ARCHIVES,
) -> Prepared:
    """Build a data set under `data_dir`, or open the one that is there.

    Args:
        dataset: one of `DATASETS`.
        data_dir: gets `voc/<dataset>/<version>`, and `downloads` where a download is needed.
        archive: the official tar of the year.
        devkit: an unpacked devkit, whole or in part: see `devkit.year_directory`. With neither,
            `toy` is drawn and a year is downloaded; `custom` needs it.
        archives: where the official archives are, and their md5.

    Raises:
        UserError: a wrong argument or a broken source (nothing half-built stays behind), or the
            data set was prepared before from other data.
    """
    _check_name(dataset)
    _check_source(dataset, archive, devkit)
    directory = _directory(dataset, data_dir)
    with workspace(data_dir) as scratch:
        existing = _open(dataset, directory) if directory.exists() else None
        if existing and not archive and not devkit:
            _say(f"{dataset} is prepared already, from {existing.source}: {directory}")
            return existing
        folder, source = _source(dataset, data_dir, scratch, archive, devkit, archives)
        records = read(folder, every_class=dataset != "custom")
        with tqdm(total=2 * len(records), desc=dataset, unit="file", disable=None) as bar:
            _say(f"checking {len(records)} images and their masks")
            index, fingerprint = examine(records, bar.update)
            if existing:
                return _same(existing, fingerprint, source)
            metadata = {
                "fingerprint": fingerprint,
                "partial": _partial(dataset, source, index),
                "source": source,
                "index": to_json(index),
            }
            built = _build(dataset, records, metadata, scratch, bar.update)
        directory.parent.mkdir(parents=True, exist_ok=True)
        built.rename(directory)
    _say(f"prepared {dataset}, {len(records)} images, in {directory}")
    return _open(dataset, directory)


def load(dataset: str, data_dir: Path) -> Prepared:
    """Open a prepared data set; `toy` is prepared at its first use.

    Raises:
        UserError: no such data set, or it has not been prepared in `data_dir`.
    """
    _check_name(dataset)
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


def _partial(dataset: str, source: str, index: Index) -> bool:
    if dataset not in YEARS or source.startswith("archive"):  # its md5 was the official one
        return False
    return counts(index) != OFFICIAL_COUNTS.get(YEARS[dataset])


def _source(
    dataset: str,
    data_dir: Path,
    scratch: Path,
    archive: Path | None,
    devkit: Path | None,
    archives: Mapping[int, download.Archive],
) -> tuple[Path, str]:
    """The folder of a devkit, and in words where it comes from."""
    if dataset == "toy":
        _say("drawing the toy scenes")
        toy.write_devkit(scratch / "toy", seed=TOY_SEED)
        return scratch / "toy", f"generator seed {TOY_SEED}"
    if dataset == "custom" and devkit:
        return year_directory(devkit, None), "devkit"
    year = YEARS[dataset]
    if devkit:
        return year_directory(devkit, year), "devkit"
    official = archives[year]
    if archive:
        download.check(archive, official)
    else:
        archive = download.fetch(official, data_dir / "downloads")
    _say(f"unpacking {archive}")
    download.unpack(archive, scratch)
    return year_directory(scratch, year), f"archive {official.file}"


def _build(
    dataset: str,
    records: Sequence[Record],
    metadata: dict[str, Any],
    scratch: Path,
    advance: Callable[[], object],
) -> Path:
    """Write the data set into `scratch`; return its folder."""
    builder = Voc(
        config=dataset,
        data_dir=scratch / "built",
        file_format="array_record",
        records=records,
        metadata=metadata,
        advance=advance,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces sizes that it doesn't know
        builder.download_and_prepare()
    return Path(builder.data_dir)


def _same(existing: Prepared, fingerprint: str, source: str) -> Prepared:
    if existing.fingerprint != fingerprint:
        raise UserError(
            f"{existing.directory} holds {existing.name} from {existing.source} (fingerprint "
            f"{existing.fingerprint[:12]}), and this is other data, from {source} (fingerprint "
            f"{fingerprint[:12]}). Give another --data_dir, or delete that folder first."
        )
    _say(f"{existing.name} is prepared already, from the same data: {existing.directory}")
    return existing


def _encode_mask(path: Path | None, size: tuple[int, int]) -> bytes:
    """Single-channel PNG of the indices; without a mask void throughout, `size` (width, height)."""
    if path:
        image = Image.fromarray(decode_mask(path.read_bytes(), path))
    else:
        image = Image.new("L", size, VOID)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _open(dataset: str, directory: Path) -> Prepared:
    try:
        builder = tfds.builder_from_directory(directory)
        for file in builder.info.splits[SPLIT].filepaths:
            Path(file).stat()  # now rather than in the midst of a training
        metadata = builder.info.metadata
        decoders = {"image": _PillowDecoder(), "mask": _PillowDecoder()}
        return Prepared(
            name=dataset,
            directory=directory,
            index=from_json(metadata["index"]),
            fingerprint=metadata["fingerprint"],
            partial=metadata["partial"],
            source=metadata["source"],
            examples=builder.as_data_source(SPLIT, decoders=decoders),
        )
    except Exception as error:  # TFDS, protobuf and json each raise their own
        raise UserError(
            f"{directory} can't be opened as a prepared data set ({error!r}). Delete that folder "
            "and prepare it again."
        ) from error


def _directory(dataset: str, data_dir: Path) -> Path:
    return data_dir / "voc" / dataset / str(Voc.VERSION)


def _check_source(dataset: str, archive: Path | None, devkit: Path | None) -> None:
    given = [f"--{k} {v}" for k, v in (("archive", archive), ("devkit", devkit)) if v]
    allowed = {"toy": [0], "custom": [1]}.get(dataset, [0, 1])
    if len(given) not in allowed or (dataset == "custom" and archive):
        raise UserError(
            f"--dataset {dataset} with {' and '.join(given) or 'no source'}: a year takes one of "
            "--archive and --devkit or downloads, custom takes --devkit, and toy takes neither."
        )


def _check_name(dataset: str) -> None:
    if dataset not in DATASETS:
        close = difflib.get_close_matches(dataset, DATASETS, n=1)
        raise UserError(
            f"There is no data set {dataset!r}. "
            + (f"Did you mean {close[0]}? " if close else "")
            + f"The data sets are {', '.join(DATASETS)}."
        )


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)
