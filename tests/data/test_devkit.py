import shutil
from pathlib import Path

import numpy as np
import pytest

from vocjax.data import devkit
from vocjax.data.classes import PALETTE, VOC
from vocjax.errors import UserError


def labels(**states: int) -> list[int]:
    return [states.get(name, -1) for name in VOC.names]


def listed(record: devkit.Record) -> list[int]:
    assert record.labels is not None and record.labels.dtype == np.int8
    return record.labels.tolist()


def test_palette_is_that_of_voc():
    colours = {0: (0, 0, 0), 1: (128, 0, 0), 3: (128, 128, 0), 8: (64, 0, 0), 12: (64, 0, 128)}
    colours |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    for index, colour in colours.items():
        assert tuple(PALETTE[index]) == colour
    assert PALETTE.shape == (256, 3)
    assert PALETTE.dtype == np.uint8
    assert len(np.unique(PALETTE, axis=0)) == 256


def test_reads_lists_labels_and_membership(year: Path):
    records = {record.id: record for record in devkit.read(year).records}
    assert list(records) == sorted(records)
    membership = {id_: (record.main, record.segmentation) for id_, record in records.items()}
    assert membership == {
        "2007_000010": ("none", "train"),
        "2007_000011": ("none", "val"),
        "2009_000001": ("train", "train"),
        "2009_000002": ("train", "none"),
        "2009_000003": ("val", "none"),
    }
    assert listed(records["2009_000001"]) == labels(dog=1)
    assert listed(records["2009_000002"]) == labels(dog=0, cat=1)
    assert listed(records["2009_000003"]) == labels(aeroplane=1, train=1)
    assert records["2009_000001"].mask == year / "SegmentationClass/2009_000001.png"
    assert records["2009_000002"].mask is None
    # Outside of Main they come from the annotation or else the mask: one bus of two is not
    # difficult, the only person is, and parts of a person are no objects.
    assert listed(records["2007_000010"]) == labels(bus=1, person=0, car=1)
    assert records["2007_000011"].labels is None


def test_accepts_windows_line_ends_wide_columns_and_blank_lines(year: Path):
    (year / "ImageSets/Main/train.txt").write_bytes(b"2009_000001\r\n2009_000002 \r\n\r\n")
    (year / "ImageSets/Main/dog_train.txt").write_bytes(b"2009_000001    1\r\n2009_000002\t0\r\n")
    records = {record.id: record for record in devkit.read(year).records}
    assert listed(records["2009_000001"]) == labels(dog=1)
    assert listed(records["2009_000002"]) == labels(dog=0, cat=1)


def test_main_or_segmentation_may_be_missing(year: Path):
    sets = year / "ImageSets"
    every = [record.id for record in devkit.read(year).records]
    (sets / "Main").rename(sets / "elsewhere")
    assert [record.id for record in devkit.read(year).records] == every[:3]
    (sets / "elsewhere").rename(sets / "Main")
    shutil.rmtree(sets / "Segmentation")
    assert [(record.id, record.mask) for record in devkit.read(year).records] == [
        (i, None) for i in every[2:]
    ]
    shutil.rmtree(sets / "Main")
    with pytest.raises(UserError, match="lists no image"):
        devkit.read(year)


def test_lists_of_classes_that_voc_has_not_are_mentioned(year: Path):
    assert devkit.read(year).warnings == ()
    (year / "ImageSets/Main/airplane_train.txt").write_text("2009_000001 1\n")
    (year / "ImageSets/Main/dog_trainval.txt").write_text("2009_000001 1\n")
    (warning,) = devkit.read(year).warnings
    assert "nothing reads the lists of airplane in Main: VOC has no such class" in warning


ZEBRA = "<annotation><object><name>zebra</name></object></annotation>"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ImageSets/Main/train.txt", None, "is missing. Main and Segmentation"),
        ("ImageSets/Main/val.txt", None, "is missing"),
        ("ImageSets/Main/train_train.txt", None, "is missing"),
        ("ImageSets/Main/dog_val.txt", None, "is missing"),
        ("ImageSets/Segmentation/val.txt", None, "is missing"),
        ("JPEGImages/2009_000003.jpg", None, "is missing, but the lists in ImageSets name"),
        ("SegmentationClass/2007_000010.png", None, "is missing, but the lists"),
        ("ImageSets/Main/train.txt", "2009_000001\n2009_000001\n", "lists 2009_000001"),
        ("ImageSets/Main/val.txt", "2009_000001\n", "which train.txt lists already"),
        ("ImageSets/Main/train.txt", "\xff\xfe\x00", "isn't a text file"),
        ("ImageSets/Main/train.txt", "2009_000001 1\n", "line 1: '2009_000001 1'"),
        (
            "ImageSets/Segmentation/train.txt",
            "../../x\n",
            "line 1: '../../x' leads out of the folder",
        ),
        ("ImageSets/Main/dog_val.txt", "2009_000003\n", "line 1: '2009_000003'"),
        ("ImageSets/Main/dog_val.txt", "2009_000003 2\n", "dog_val.txt gives 2 for 2009_000003"),
        ("ImageSets/Main/dog_val.txt", "", "dog_val.txt gives no label for 2009_000003"),
        ("Annotations/2007_000010.xml", "<annotation><object>", "isn't valid XML"),
        ("Annotations/2007_000010.xml", ZEBRA, "an object is 'zebra'; it is one of aeroplane"),
    ],
)
def test_a_missing_or_wrong_file_is_named(year: Path, file: str, content: str | None, message: str):
    (year / file).unlink()
    if content is not None:
        (year / file).write_text(content, encoding="latin-1")
    with pytest.raises(UserError) as error:
        devkit.read(year)
    assert message in str(error.value)
    assert file in str(error.value)


def test_year_directory_is_found_from_above(year: Path, tmp_path: Path):
    for above in (year, year.parent, tmp_path):
        assert devkit.year_directory(above, 2009) == year
    (tmp_path / "archive/TrainVal").mkdir(parents=True)
    year.parent.rename(tmp_path / "archive/TrainVal/VOCdevkit")
    found = devkit.year_directory(tmp_path / "archive", 2009)
    assert found == tmp_path / "archive/TrainVal/VOCdevkit/VOC2009"


def test_year_directory_of_another_year_is_refused(year: Path, tmp_path: Path):
    for folder, wanted, message in (
        (year, 2012, "is VOC2009; expected VOC2012"),
        (tmp_path, 2012, r"holds no VOC2012/ImageSets \(but VOC2009\)"),
        (tmp_path / "nowhere", 2009, "nowhere holds no VOC2009/ImageSets"),
    ):
        with pytest.raises(UserError, match=message):
            devkit.year_directory(folder, wanted)
    own = year.rename(tmp_path / "my dogs")  # any other name is the user's choice
    assert devkit.year_directory(own, 2009) == own
