import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from vocjax.data import builder, toy, voc
from vocjax.data.classes import PALETTE, VOC
from vocjax.data.devkit import OFFICIAL_COUNTS, read
from vocjax.data.download import ARCHIVES, Archive
from vocjax.data.examine import examine
from vocjax.data.index import MEMBERSHIP, counts, from_json, to_json
from vocjax.errors import UserError

IDS = ["2007_000010", "2007_000011", "2009_000001", "2009_000002", "2009_000003"]


@pytest.fixture
def official(year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """`official()` packs the devkit as the official archive of 2009 and returns its path."""

    def pack() -> Path:
        file = tmp_path / "voc.tar"
        with tarfile.open(file, "w") as tar:
            tar.add(year, "VOCdevkit/VOC2009")
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        monkeypatch.setitem(ARCHIVES, 2009, Archive(file.name, md5, (file.as_uri(),)))
        return file

    return pack


def listing(folder: Path) -> list[str]:
    """Everything in a data_dir, except the lock's file."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    return [str(path) for path in paths if path.name != ".lock"]


def test_examples_are_the_devkit_row_by_row(good_year: Path, prepared_year: voc.Prepared):
    index, examples = prepared_year.index, prepared_year.examples
    assert index.ids.tolist() == [example["image_id"].decode() for example in examples] == IDS
    for row, (id_, example) in enumerate(zip(IDS, examples, strict=True)):
        image = np.asarray(Image.open(good_year / f"JPEGImages/{id_}.jpg"))
        path = good_year / f"SegmentationClass/{id_}.png"
        mask = np.asarray(Image.open(path)) if path.exists() else np.full(index.sizes[row], 255)
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["mask"], mask[..., None])
        assert example["mask"].dtype == example["image"].dtype == np.uint8
        np.testing.assert_array_equal(example["labels"], index.labels[row])
        assert MEMBERSHIP[example["main"]] == index.main[row]
        assert MEMBERSHIP[example["segmentation"]] == index.segmentation[row]
    assert index.sizes.tolist() == [[18, 26], [20, 24], [20, 24], [20, 24], [30, 20]]
    assert index.labels[:, VOC.names.index("dog")].tolist() == [-1, -1, 1, 0, -1]
    assert counts(index) == ((2, 1), (2, 1))
    for column, again in zip(index, from_json(to_json(index)), strict=True):
        np.testing.assert_array_equal(column, again)
        assert column.dtype == again.dtype


def test_other_readers_find_the_same_images_and_masks(good_year: Path, prepared_year: voc.Prepared):
    """The JPEGs byte for byte, and the masks alike by the decoder of TFDS (perhaps OpenCV)."""
    skip = {"image": tfds.decode.SkipDecoding()}
    builder = tfds.builder_from_directory(prepared_year.directory)
    others = builder.as_data_source("trainval", decoders=skip)
    for ours, other, id_ in zip(prepared_year.examples, others, IDS, strict=True):
        assert other["image"] == (good_year / f"JPEGImages/{id_}.jpg").read_bytes()
        np.testing.assert_array_equal(ours["mask"], other["mask"])


def test_grey_images_have_three_channels_and_several_files_keep_the_order(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("L", (24, 20), 77).save(year / "JPEGImages/2009_000001.jpg")
    monkeypatch.setattr(builder, "SHARD", 2)
    prepared = voc.prepare("voc2009", tmp_path, devkit=year)
    image = prepared.examples[2]["image"]
    assert image.shape == (20, 24, 3) and np.ptp(image) == 0
    assert len(list(prepared.directory.glob("*array_record*"))) == 3
    assert [example["image_id"].decode() for example in prepared.examples] == IDS


def test_load_opens_what_was_prepared(prepared_year: voc.Prepared):
    data_dir = prepared_year.directory.parents[2]
    loaded = voc.load("voc2009", data_dir)
    assert loaded.directory == prepared_year.directory == data_dir / "voc/voc2009/1.0.0"
    assert loaded.fingerprint == prepared_year.fingerprint
    assert (loaded.name, loaded.source, loaded.partial) == ("voc2009", "devkit", True)
    assert str(data_dir) not in (loaded.directory / "metadata.json").read_text()


def test_toy_is_drawn_at_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = partial(toy.write_devkit, images=(3, 2), segmentation=(2, 1))
    monkeypatch.setattr(toy, "write_devkit", few)
    loaded = voc.load("toy", tmp_path)
    assert counts(loaded.index) == ((3, 2), (2, 1))
    assert (loaded.source, loaded.partial) == ("generator seed 0", False)
    assert {path.name for path in tmp_path.iterdir()} <= {"voc", ".lock"}
    monkeypatch.setattr(toy, "write_devkit", None)  # drawn once, not again
    assert voc.load("toy", tmp_path).fingerprint == loaded.fingerprint


@pytest.mark.parametrize(
    ("dataset", "sources", "message"),
    [
        ("voc209", (), r"voc209 is no official year.*--devkit DIR.* Did you mean 'voc2009'\?"),
        ("My Dogs", ("devkit",), "the data set is 'My Dogs'; .*small letters, digits, _ and -"),
        ("voc2009", ("devkit", "archive"), "--archive and --devkit are two sources"),
        ("voc2009", ("devkit", "sbd"), "--sbd makes no sense with voc2009, an official year"),
        ("toy", ("devkit",), "--devkit makes no sense with the drawn toy, which takes no flag"),
        ("custom", (), "custom is no official year, and nothing says where it lies"),
        ("custom", ("archive",), "nothing says where it lies"),
        ("custom", ("folders", "devkit"), "--folders makes no sense with --devkit"),
        ("custom", ("folders", "masks"), "--masks makes no sense with --folders"),
    ],
)
def test_a_wrong_source_is_refused(good_year: Path, tmp_path: Path, dataset, sources, message):
    with pytest.raises(UserError, match=message):
        voc.prepare(dataset, tmp_path, **dict.fromkeys(sources, good_year))
    assert listing(tmp_path) == []


def test_what_is_not_prepared_cannot_be_loaded(tmp_path: Path):
    for dataset, message in (
        ("Voc", "the data set is 'Voc'"),
        ("voc2009", "vocjax data prepare --dataset voc2009 --data_dir "),
    ):
        with pytest.raises(UserError, match=message):
            voc.load(dataset, tmp_path)
    assert listing(tmp_path) == []


def test_a_devkit_is_partial_unless_it_has_the_official_counts(
    prepared_year: voc.Prepared, good_year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert prepared_year.partial
    monkeypatch.setitem(OFFICIAL_COUNTS, "voc2009", ((2, 1), (2, 1)))
    assert not voc.prepare("voc2009", tmp_path, devkit=good_year).partial


def test_custom_takes_a_devkit_of_any_name(year: Path, tmp_path: Path):
    mine = year.rename(year.with_name("mine"))
    prepared = voc.prepare("custom", tmp_path / "data", devkit=mine)
    assert prepared.name == "custom" and not prepared.partial and len(prepared.examples) > 0
    with pytest.raises(UserError, match="holds no JPEGImages"):
        voc.prepare("my-dogs_2", tmp_path / "data", devkit=mine / "Annotations")


def test_an_unknown_name_is_answered_with_those_that_are_prepared(
    prepared_year: voc.Prepared, tmp_path: Path
):
    data_dir = prepared_year.directory.parents[2]
    with pytest.raises(
        UserError,
        match=r"voc209 isn't .*, which holds voc2009\. Did you mean 'voc2009'\?.*--folders",
    ):
        voc.load("voc209", data_dir)
    with pytest.raises(
        UserError, match=r"dogs isn't prepared in .*, which holds nothing\. Prepare"
    ):
        voc.load("dogs", tmp_path)


def test_a_data_set_carries_its_classes_and_old_ones_have_those_of_voc(
    prepared_year: voc.Prepared, tmp_path: Path
):
    assert prepared_year.classes.names == VOC.names
    np.testing.assert_array_equal(prepared_year.classes.palette, PALETTE)
    assert prepared_year.classes.palette.dtype == np.uint8
    directory = shutil.copytree(prepared_year.directory, tmp_path / "voc/voc2009/1.0.0")
    metadata = json.loads((directory / "metadata.json").read_text())
    for name in ("classes", "palette", "warnings"):  # as 0.2.0 wrote it
        del metadata[name]
    (directory / "metadata.json").write_text(json.dumps(metadata))
    loaded = voc.load("voc2009", tmp_path)
    assert loaded.classes is VOC and loaded.warnings == ()


def test_the_fingerprint_follows_the_data(year: Path):
    """Any change gives another fingerprint."""
    lists = year / "ImageSets/Main"
    prints = {examine(read(year), lambda: None)[1]}
    for change in (
        lambda: (lists / "dog_train.txt").write_text("2009_000001 1\n2009_000002 1\n"),
        lambda: Image.new("RGB", (24, 20)).save(year / "JPEGImages/2009_000002.jpg"),
        lambda: Image.new("L", (24, 20), 12).save(year / "SegmentationClass/2009_000001.png"),
        lambda: (lists / "train.txt").write_text("2009_000001\n"),
    ):
        change()
        prints.add(examine(read(year), lambda: None)[1])
    assert len(prints) == 5


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


def test_a_damaged_data_set_is_refused(prepared_year: voc.Prepared, tmp_path: Path):
    directory = tmp_path / "voc/voc2009/1.0.0"
    shutil.copytree(prepared_year.directory, directory)

    def check_refused():
        with pytest.raises(UserError, match=rf"{directory} can't be opened .*Delete that folder"):
            voc.load("voc2009", tmp_path)

    for pattern in ("metadata.json", "dataset_info.json", "*array_record*"):
        (file,) = directory.glob(pattern)
        content = file.read_bytes()
        file.unlink()
        check_refused()
        if file.suffix == ".json":
            file.write_text("{")
            check_refused()
        file.write_bytes(content)
    assert voc.load("voc2009", tmp_path).fingerprint == prepared_year.fingerprint


SHRUNK = "2007_000010.png is 10 x 8 pixels, and its image .*2007_000010.jpg 26 x 18"


@pytest.mark.parametrize(
    ("file", "mask", "message"),
    [
        ("JPEGImages/2009_000003.jpg", None, "2009_000003.jpg: the file can't be read"),
        ("SegmentationClass/2007_000010.png", ((10, 8), 0), SHRUNK),
        (
            "SegmentationClass/2009_000001.png",
            ((24, 20), 21),
            "0001.png: the mask holds 21",
        ),
        ("ImageSets/Main/sheep_val.txt", None, "sheep_val.txt gives no label for 2009_000003"),
    ],
)
def test_a_broken_source_is_refused_and_leaves_nothing(
    year: Path, tmp_path: Path, official, file, mask, message
):
    if mask:
        Image.new("L", *mask).save(year / file)
    else:
        (year / file).write_bytes((year / file).read_bytes()[:-200])
    for source in ({"devkit": year}, {"archive": official()}):
        with pytest.raises(UserError, match=message):
            voc.prepare("voc2009", tmp_path / "data", **source)
    assert listing(tmp_path / "data") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", ["voc.examine", "builder.encode_mask"])
def test_an_interruption_leaves_nothing(good_year: Path, tmp_path: Path, monkeypatch, step, error):
    monkeypatch.setattr(f"vocjax.data.{step}", Mock(side_effect=error))
    with pytest.raises(error):
        voc.prepare("voc2009", tmp_path, devkit=good_year)
    assert listing(tmp_path) == []


def test_what_a_killed_process_left_is_removed(good_year: Path, tmp_path: Path):
    (tmp_path / "incomplete/built/voc/voc2009").mkdir(parents=True)
    (tmp_path / ".lock").touch()
    voc.prepare("voc2009", tmp_path, devkit=good_year)
    assert {path.split("/")[0] for path in listing(tmp_path)} == {"voc"}


def test_processes_at_the_same_time_wait_for_each_other(
    prepared_year: voc.Prepared, good_year: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    def prepare(_: int) -> str:
        return voc.prepare("voc2009", tmp_path, devkit=good_year).fingerprint

    with ThreadPoolExecutor(3) as pool:  # the lock holds between threads as between processes
        assert set(pool.map(prepare, range(3))) == {prepared_year.fingerprint}
    messages = capsys.readouterr().err
    assert "waiting for another process" in messages
    assert messages.count("prepared already, from the same data") == 2
    assert {path.split("/")[0] for path in listing(tmp_path)} == {"voc"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # array_record's
def test_a_full_disk_is_said_with_what_is_needed(year, tmp_path):
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, most[1]))
    try:
        with pytest.raises(UserError, match=r"data can't take .*File too large\. It needs about 0"):
            voc.prepare("custom", tmp_path / "data", devkit=year)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert not (tmp_path / "data" / "voc").exists()
    assert voc.prepare("custom", tmp_path / "data", devkit=year).index.ids.tolist()[:1] == IDS[:1]


def test_a_folder_that_cannot_be_written_is_refused(good_year: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/data can't be written to .*--data_dir"):
        voc.prepare("voc2009", tmp_path / "file/data", devkit=good_year)


def test_an_archive_is_checked_and_gives_what_its_devkit_gives(
    prepared_year: voc.Prepared, tmp_path: Path, official
):
    given = voc.prepare("voc2009", tmp_path / "data", archive=official())
    downloaded = voc.prepare("voc2009", tmp_path / "other")  # without a source
    for prepared in (given, downloaded):
        assert (prepared.source, prepared.partial) == ("archive voc.tar", False)
        assert prepared.fingerprint == prepared_year.fingerprint
    assert listing(tmp_path / "other")[:3] == ["downloads", "downloads/voc.tar", "voc"]


def test_an_archive_of_other_content_is_refused(tmp_path: Path):
    archive = tmp_path / "voc.tar"
    archive.write_bytes(b"other")
    own, official = hashlib.md5(b"other").hexdigest(), "a3e00b113cfcfebf17e343f59da3caa1"
    with pytest.raises(UserError, match=rf"{archive} has the md5 {own}; .*{official}.*--devkit"):
        voc.prepare("voc2009", tmp_path / "data", archive=archive)
    with pytest.raises(UserError, match=r"none\.tar isn't a file"):
        voc.prepare("voc2009", tmp_path / "data", archive=tmp_path / "none.tar")
    assert listing(tmp_path / "data") == []


def test_works_quietly_without_tensorflow(good_year: Path, tmp_path: Path):
    """In a process of its own: nothing else has imported anything there."""
    script = f"""
import sys
from pathlib import Path
from vocjax.data import voc
prepared = voc.prepare("voc2009", Path({str(tmp_path)!r}), devkit=Path({str(good_year)!r}))
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
