import hashlib
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from vocjax.data import toy, voc
from vocjax.data.devkit import CLASSES, OFFICIAL_COUNTS, Counts
from vocjax.data.download import Archive
from vocjax.data.index import counts, from_json, to_json
from vocjax.errors import UserError

IDS = ["2007_000010", "2007_000011", "2009_000001", "2009_000002", "2009_000003"]


def pack(year: Path, file: Path) -> Archive:
    """Pack a devkit as VOCdevkit/VOC2009 and describe it as if it were the official archive."""
    with tarfile.open(file, "w") as tar:
        tar.add(year, "VOCdevkit/VOC2009")
    return Archive(file.name, hashlib.md5(file.read_bytes()).hexdigest(), (file.as_uri(),))


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_examples_are_the_devkit_row_by_row(year: Path, tmp_path: Path):
    prepared = voc.prepare("voc2009", tmp_path / "data", devkit=year)
    index = prepared.index
    assert index.ids.tolist() == IDS
    assert len(prepared.examples) == len(IDS)
    for row, id_ in enumerate(IDS):
        example = prepared.examples[row]
        assert example["image_id"] == id_.encode()
        with Image.open(year / f"JPEGImages/{id_}.jpg") as image:
            np.testing.assert_array_equal(example["image"], np.asarray(image))
        assert example["mask"].shape == (*index.sizes[row], 1)
        assert example["mask"].dtype == example["image"].dtype == np.uint8
        if index.segmentation[row] == "none":
            assert np.all(example["mask"] == 255)
        else:
            with Image.open(year / f"SegmentationClass/{id_}.png") as mask:
                np.testing.assert_array_equal(example["mask"][..., 0], np.asarray(mask))
        np.testing.assert_array_equal(example["labels"], index.labels[row])
        assert voc.MEMBERSHIP[example["main"]] == index.main[row]
        assert voc.MEMBERSHIP[example["segmentation"]] == index.segmentation[row]


def test_index_tells_labels_sizes_and_membership(year: Path, tmp_path: Path):
    index = voc.prepare("voc2009", tmp_path, devkit=year).index
    assert index.main.tolist() == ["none", "none", "train", "train", "val"]
    assert index.segmentation.tolist() == ["train", "val", "train", "none", "none"]
    assert index.sizes.tolist() == [[18, 26], [20, 24], [20, 24], [20, 24], [30, 20]]
    assert index.labels.dtype == np.int8
    assert index.labels[:, CLASSES.index("dog")].tolist() == [-1, -1, 1, 0, -1]
    assert counts(index) == Counts((2, 1), (2, 1))
    for column, again in zip(index, from_json(to_json(index)), strict=True):
        np.testing.assert_array_equal(column, again)
        assert column.dtype == again.dtype


def test_images_are_kept_byte_for_byte(year: Path, tmp_path: Path):
    directory = voc.prepare("voc2009", tmp_path, devkit=year).directory
    skip = {"image": tfds.decode.SkipDecoding()}
    stored = tfds.builder_from_directory(directory).as_data_source("trainval", decoders=skip)
    for row, id_ in enumerate(IDS):
        assert stored[row]["image"] == (year / f"JPEGImages/{id_}.jpg").read_bytes()


def test_masks_are_indices_for_any_reader(year: Path, tmp_path: Path):
    """TFDS's own decoder (OpenCV where it is installed) sees what ours does."""
    prepared = voc.prepare("voc2009", tmp_path, devkit=year)
    others = tfds.builder_from_directory(prepared.directory).as_data_source("trainval")
    for ours, other in zip(prepared.examples, others, strict=True):
        np.testing.assert_array_equal(ours["mask"], other["mask"])


def test_grey_images_have_three_channels(year: Path, tmp_path: Path):
    Image.new("L", (24, 20), 77).save(year / "JPEGImages/2009_000001.jpg")
    image = voc.prepare("voc2009", tmp_path, devkit=year).examples[2]["image"]
    assert image.shape == (20, 24, 3)
    assert np.ptp(image) == 0


def test_several_files_keep_the_order(year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(voc, "SHARD", 2)
    prepared = voc.prepare("voc2009", tmp_path, devkit=year)
    assert len(list(prepared.directory.glob("*array_record*"))) == 3
    assert [example["image_id"].decode() for example in prepared.examples] == IDS


def test_load_opens_what_was_prepared(year: Path, tmp_path: Path):
    prepared = voc.prepare("voc2009", tmp_path, devkit=year)
    loaded = voc.load("voc2009", tmp_path)
    assert loaded.directory == prepared.directory == tmp_path / "voc/voc2009/1.0.0"
    assert loaded.fingerprint == prepared.fingerprint
    assert (loaded.name, loaded.source, loaded.partial) == ("voc2009", "devkit", True)
    assert str(tmp_path) not in (loaded.directory / "metadata.json").read_text()


def test_load_tells_how_to_prepare(tmp_path: Path):
    command = f"vocjax data prepare --dataset voc2009 --data_dir {tmp_path}"
    with pytest.raises(UserError, match=command):
        voc.load("voc2009", tmp_path)
    assert listing(tmp_path) == []


def test_toy_is_drawn_at_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = partial(toy.write_devkit, images=(3, 2), segmentation=(2, 1))
    monkeypatch.setattr(toy, "write_devkit", few)
    loaded = voc.load("toy", tmp_path)
    assert counts(loaded.index) == Counts((3, 2), (2, 1))
    assert loaded.source == "generator seed 0"
    assert not loaded.partial
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]
    monkeypatch.setattr(toy, "write_devkit", None)  # drawn once, not again
    assert voc.load("toy", tmp_path).fingerprint == loaded.fingerprint


def test_names_are_checked(year: Path, tmp_path: Path):
    for prepare_or_load in (voc.prepare, voc.load):
        with pytest.raises(UserError, match=r"no data set 'voc209'. Did you mean voc2009\?"):
            prepare_or_load("voc209", tmp_path / "data")
    with pytest.raises(UserError, match="is VOC2009, and VOC2007 is wanted"):
        voc.prepare("voc2007", tmp_path / "data", devkit=year)
    with pytest.raises(UserError, match="takes one of --archive and --devkit"):
        voc.prepare("voc2009", tmp_path / "data", devkit=year, archive=year)
    with pytest.raises(UserError, match="toy takes neither"):
        voc.prepare("toy", tmp_path / "data", devkit=year)


def test_partial_is_told_by_the_official_counts(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert voc.prepare("voc2009", tmp_path / "part", devkit=year).partial
    monkeypatch.setitem(OFFICIAL_COUNTS, 2009, Counts((2, 1), (2, 1)))
    assert not voc.prepare("voc2009", tmp_path / "whole", devkit=year).partial


def test_custom_takes_a_devkit_of_any_name(year: Path, tmp_path: Path):
    mine = year.rename(year.with_name("mine"))
    prepared = voc.prepare("custom", tmp_path / "data", devkit=mine)
    assert prepared.name == "custom" and not prepared.partial and len(prepared.examples) > 0
    with pytest.raises(UserError, match="custom takes --devkit"):
        voc.prepare("custom", tmp_path / "data")
    with pytest.raises(UserError, match="holds no ImageSets"):
        voc.prepare("custom", tmp_path / "data", devkit=tmp_path)


def test_fingerprint_follows_the_data(year: Path, tmp_path: Path):
    prints = [voc.prepare("voc2009", tmp_path / "0", devkit=year).fingerprint]
    elsewhere = shutil.copytree(year, tmp_path / "elsewhere/VOC2009")
    again = voc.prepare("voc2009", tmp_path / "1", devkit=elsewhere).fingerprint
    assert again == prints[0]
    (year / "ImageSets/Main/dog_train.txt").write_text("2009_000001 1\n2009_000002 1\n")
    prints.append(voc.prepare("voc2009", tmp_path / "2", devkit=year).fingerprint)
    Image.new("RGB", (24, 20)).save(year / "JPEGImages/2009_000002.jpg")
    prints.append(voc.prepare("voc2009", tmp_path / "3", devkit=year).fingerprint)
    Image.new("L", (24, 20), 12).save(year / "SegmentationClass/2009_000001.png")
    prints.append(voc.prepare("voc2009", tmp_path / "4", devkit=year).fingerprint)
    (year / "ImageSets/Main/train.txt").write_text("2009_000001\n")
    prints.append(voc.prepare("voc2009", tmp_path / "5", devkit=year).fingerprint)
    assert len(set(prints)) == 5


def test_prepared_already(year: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    data_dir = tmp_path / "data"
    prepared = voc.prepare("voc2009", data_dir, devkit=year)
    before = listing(data_dir)
    capsys.readouterr()
    assert voc.prepare("voc2009", data_dir).fingerprint == prepared.fingerprint
    assert "prepared already, from devkit" in capsys.readouterr().err
    assert voc.prepare("voc2009", data_dir, devkit=year).fingerprint == prepared.fingerprint
    assert "prepared already, from the same data" in capsys.readouterr().err
    (year / "ImageSets/Main/train.txt").write_text("2009_000001\n")
    with pytest.raises(UserError, match=rf"{prepared.directory} holds .*another --data_dir"):
        voc.prepare("voc2009", data_dir, devkit=year)
    assert listing(data_dir) == before


@pytest.mark.parametrize("pattern", ["metadata.json", "dataset_info.json", "*array_record*"])
def test_damaged_data_set_is_named(year: Path, tmp_path: Path, pattern: str):
    directory = voc.prepare("voc2009", tmp_path / "data", devkit=year).directory
    (file,) = directory.glob(pattern)
    file.unlink()
    with pytest.raises(UserError, match=rf"{directory} can't be opened .*Delete that folder"):
        voc.load("voc2009", tmp_path / "data")


def test_illegible_data_set_is_named(year: Path, tmp_path: Path):
    directory = voc.prepare("voc2009", tmp_path / "data", devkit=year).directory
    for file in ("metadata.json", "dataset_info.json"):
        (directory / file).write_text("{")
        with pytest.raises(UserError, match=rf"{directory} can't be opened .*Delete that folder"):
            voc.load("voc2009", tmp_path / "data")


def cut_image(year: Path) -> str:
    path = year / "JPEGImages/2009_000003.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return path.name


def shrink_mask(year: Path) -> str:
    path = year / "SegmentationClass/2007_000010.png"
    Image.new("L", (10, 8)).save(path)
    return f"{path.name} is 10 x 8 pixels, and its image .*2007_000010.jpg 26 x 18"


def spoil_mask(year: Path) -> str:
    path = year / "SegmentationClass/2009_000001.png"
    Image.new("L", (24, 20), 21).save(path)
    return f"{path.name} holds the class index 21"


def drop_list(year: Path) -> str:
    (year / "ImageSets/Main/sheep_val.txt").unlink()
    return "sheep_val.txt is missing"


@pytest.mark.parametrize("spoil", [cut_image, shrink_mask, spoil_mask, drop_list])
def test_broken_source_is_named_and_leaves_nothing(year: Path, tmp_path: Path, spoil):
    voc.prepare("voc2009", tmp_path / "data", devkit=year)
    before = listing(tmp_path / "data")
    told = spoil(year)
    with pytest.raises(UserError, match=told):
        voc.prepare("voc2009", tmp_path / "data", devkit=year)
    archive = pack(year, tmp_path / "voc.tar")
    with pytest.raises(UserError, match=told):
        voc.prepare(
            "voc2009", tmp_path / "new", archive=tmp_path / "voc.tar", archives={2009: archive}
        )
    assert listing(tmp_path / "data") == before
    assert listing(tmp_path / "new") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", ["examine", "_encode_mask"])
def test_interruption_leaves_nothing(year: Path, tmp_path: Path, monkeypatch, step, error):
    def interrupt(*_):
        raise error

    monkeypatch.setattr(voc, step, interrupt)
    with pytest.raises(error):
        voc.prepare("voc2009", tmp_path / "data", devkit=year)
    assert listing(tmp_path / "data") == []


def test_archive_is_checked_unpacked_and_whole(year: Path, tmp_path: Path):
    archive = pack(year, tmp_path / "voc.tar")
    prepared = voc.prepare(
        "voc2009", tmp_path / "data", archive=tmp_path / "voc.tar", archives={2009: archive}
    )
    assert prepared.source == "archive voc.tar"
    assert not prepared.partial
    devkit = voc.prepare("voc2009", tmp_path / "other", devkit=year)
    assert prepared.fingerprint == devkit.fingerprint
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["voc"]


def test_archive_of_other_content_is_refused(year: Path, tmp_path: Path):
    pack(year, tmp_path / "voc.tar")
    with pytest.raises(UserError) as error:
        voc.prepare("voc2009", tmp_path / "data", archive=tmp_path / "voc.tar")
    own = hashlib.md5((tmp_path / "voc.tar").read_bytes()).hexdigest()
    for told in (own, "a3e00b113cfcfebf17e343f59da3caa1", str(tmp_path / "voc.tar"), "--devkit"):
        assert told in str(error.value)
    with pytest.raises(UserError, match=r"none\.tar isn't a file"):
        voc.prepare("voc2009", tmp_path / "data", archive=tmp_path / "none.tar")
    assert listing(tmp_path / "data") == []


def test_downloads_without_a_source(year: Path, tmp_path: Path):
    archive = pack(year, tmp_path / "voc.tar")
    prepared = voc.prepare("voc2009", tmp_path / "data", archives={2009: archive})
    assert prepared.source == "archive voc.tar"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["downloads", "voc"]
    assert [path.name for path in (tmp_path / "data/downloads").iterdir()] == ["voc.tar"]


def test_works_quietly_without_tensorflow(year: Path, tmp_path: Path):
    """In a process of its own: nothing else has imported anything there."""
    script = f"""
import sys
from pathlib import Path
from vocjax.data import voc
prepared = voc.prepare("voc2009", Path({str(tmp_path)!r}) / "data", devkit=Path({str(year)!r}))
assert len([example["mask"] for example in prepared.examples]) == {len(IDS)}
assert "tensorflow" not in sys.modules
assert "jax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    checking, prepared = done.stderr.splitlines()  # our two lines, and nothing of TFDS
    assert checking == "checking 5 images and their masks"
    assert prepared.startswith("prepared voc2009, 5 images, in ")
