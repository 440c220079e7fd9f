"""The TFDS builder `voc`: a source in, ArrayRecord files out, without TensorFlow.

Upright JPEGs and PNGs are kept byte for byte, others as PNGs, and masks as single-channel PNGs of
class indices, which every decoder reads alike.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vocjax.data import photo
from vocjax.data.devkit import Source
from vocjax.data.examine import read_example
from vocjax.data.index import MEMBERSHIP, Index
from vocjax.data.masks import encode_mask

SPLIT = "trainval"
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

    @classmethod
    def get_builder_config(cls, name: str, version: object = None) -> tfds.core.BuilderConfig:
        """Take any name: TFDS has a list of those that it knows, and warns about others."""
        return tfds.core.BuilderConfig(name=name, description=f"the data set {name}")

    def __init__(
        self,
        *,
        source: Source,
        index: Index,
        metadata: dict[str, Any],
        advance: Callable[[], object],
        **kwargs: Any,
    ) -> None:
        self._source, self._index = source, index
        self._metadata, self._advance = metadata, advance
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        membership = tfds.features.ClassLabel(names=MEMBERSHIP)
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "labels": tfds.features.Tensor(shape=self._index.labels.shape[1:], dtype=np.int8),
            "image_id": tfds.features.Text(),
            "main": membership,
            "segmentation": membership,
        }
        return _Info(
            builder=self,
            description="Images with class masks and image-level labels.",
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict[str, Any]]]]]]:
        starts = range(0, len(self._source.records), SHARD)
        return {SPLIT: [partial(self._examples, start) for start in starts]}

    def _examples(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, record in enumerate(self._source.records[start : start + SHARD], start):
            read = read_example(record, self._source)
            example = {
                "image": read.image,
                "mask": encode_mask(read.mask),
                "labels": self._index.labels[row],
                "image_id": record.id,
                "main": record.main,
                "segmentation": record.segmentation,
            }
            yield row, example
            self._advance()


# What each example has, and nothing else: TFDS would decode another image with any program that
# Pillow starts for it.
KINDS = {
    "image": tfds.features.Image,
    "mask": tfds.features.Image,
    "labels": tfds.features.Tensor,
    "image_id": tfds.features.Text,
    "main": tfds.features.ClassLabel,
    "segmentation": tfds.features.ClassLabel,
}


class PillowDecoder(tfds.decode.Decoder):
    """Decodes with Pillow, always: where OpenCV is installed, TFDS takes it, and pixels differ."""

    def decode_example(self, serialized_example: bytes) -> np.ndarray:
        """Return uint8 [height, width, channels]."""
        return photo.stored_pixels(serialized_example, self.feature.shape[-1])
