"""Data sets that TFDS prepared as ArrayRecord files; each test writes its own with TFDS."""

import functools
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from vocjax.data import voc
from vocjax.errors import UserError


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, **splits: int) -> Path:
    """A data set `pets` with as many images in its splits; every second is a dog."""

    class Pets(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.0.0")
        code_path = None

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "species": tfds.features.ClassLabel(names=["cat", "dog"]),
                "breed": tfds.features.ClassLabel(names=["a", "b", "c", "d"]),
                "objects": tfds.features.Sequence(
                    {"label": tfds.features.ClassLabel(names=["eye", "ear", "tail"])}
                ),
                "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
                "parts": tfds.features.LabeledImage(labels=["ear", "background", "void", "tail"]),
                "file_name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _shard_iterators_per_split(self, dl_manager):
            return {split: [functools.partial(examples, n)] for split, n in splits.items()}

    def examples(count: int):
        mask = np.full((8, 10), 2, np.uint8)
        mask[2:5], mask[5] = 1, 3
        for i in range(count):
            pixels = np.random.default_rng(100 * count + i).integers(0, 256, (8, 10, 3), np.uint8)
            yield (
                i,
                {
                    "image": png(pixels),
                    "species": i % 2,
                    "breed": i % 4,
                    "objects": [{"label": k} for k in range(i % 3)],
                    "segmentation_mask": png(mask),
                    "parts": png(mask),
                    "file_name": "x",
                },
            )

    builder = Pets(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


TRIMAP = "1=object,2=background,3=void"


def test_labels_and_masks_become_ours(tmp_path: Path):
    write(tmp_path, train=4, test=3)
    features = "image=image,label=species,mask=segmentation_mask"
    prepared = voc.prepare("tfds:pets", tmp_path, features=features, mask_values=TRIMAP)
    assert prepared.classes.names == ("cat", "dog") and prepared.source == "TFDS pets/1.0.0"
    assert prepared.index.segmentation.tolist() == ["val"] * 3 + ["train"] * 4
    assert prepared.index.main.tolist() == prepared.index.segmentation.tolist()
    assert prepared.index.labels[3:].tolist() == [[1, -1], [-1, 1], [1, -1], [-1, 1]]
    assert np.unique(prepared.examples[4]["mask"]).tolist() == [0, 2, 255]  # a dog
    pixels = np.random.default_rng(400).integers(0, 256, (8, 10, 3), np.uint8)
    np.testing.assert_array_equal(prepared.examples[3]["image"], pixels)
    assert voc.load("tfds:pets", tmp_path).fingerprint == prepared.fingerprint
    with pytest.raises(UserError, match=r"holds tfds:pets\. Did you mean 'tfds:pets'"):
        voc.load("tfds:pet", tmp_path)


def test_several_labels_masks_alone_and_one_split(tmp_path: Path):
    write(tmp_path, train=5)
    prepared = voc.prepare("tfds:pets", tmp_path, features="label=objects/label", held_out=0.4)
    assert prepared.index.labels[2].tolist() == [1, 1, -1]
    assert (prepared.index.main == "val").sum() == 2
    assert any("no image shows tail" in w for w in prepared.warnings)
    values = "1=pet,2=background,3=void"
    given = {"features": "mask=segmentation_mask", "classes": ("pet",), "mask_values": values}
    (tmp_path / "voc").rename(tmp_path / "old")
    masks = voc.prepare("tfds:pets", tmp_path, **given)
    assert np.unique(masks.examples[0]["mask"]).tolist() == [0, 1, 255]
    (tmp_path / "voc").rename(tmp_path / "older")
    named = voc.prepare("tfds:pets", tmp_path, features="mask=parts")
    assert named.classes.names == ("ear", "tail")
    assert np.unique(named.examples[0]["mask"]).tolist() == [0, 2, 255]


def test_wrong_names_and_strange_types_are_refused(tmp_path: Path):
    folder = write(tmp_path, train=2)
    for given, message in (
        ({"features": "label=specie"}, "species"),
        ({"features": "label=file_name"}, "label is a Text .*expected a ClassLabel"),
        ({"features": "mask=segmentation_mask"}, "nothing names the classes of the masks"),
        ({"features": "mask=segmentation_mask,label=breed"}, r"2 of 2 .* deny.* 1=object,2="),
        ({"features": "mask=segmentation_mask,label=species"}, r"holds 3; .* 1=object,2="),
        ({"classes": ("a",)}, "makes no sense without label=NAME or mask=NAME"),
        ({"features": "label=species", "classes": ("a",)}, "--classes names 1 classes"),
        ({"mask_values": "1=a"}, "makes no sense without mask=NAME"),
        ({"folders": tmp_path}, "--folders makes no sense with a data set of TFDS"),
    ):
        with pytest.raises(UserError, match=message):
            voc.prepare("tfds:pets", tmp_path, **given)
    with pytest.raises(UserError, match="holds no data set that TFDS has prepared"):
        voc.prepare("tfds:dogs", tmp_path)
    path = folder / "features.json"
    evil = path.read_text().replace("tensorflow_datasets.core.features.text_feature", "evil_module")
    path.write_text(evil)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match=r"names the type evil_module\.Text"):
            voc.prepare("tfds:pets", tmp_path)
