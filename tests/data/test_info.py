from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocjax.data import info, voc
from vocjax.errors import UserError


def test_summary_counts_images_and_classes(prepared_year: voc.Prepared):
    lines = {" ".join(line.split()) for line in info.summary(prepared_year).splitlines()}
    assert lines >= {
        "voc2009: 5 images, a part of its year",
        f"directory {prepared_year.directory}",
        "source devkit",
        f"fingerprint {prepared_year.fingerprint}",
        "height 18 to 30 pixels, median 20",
        "width 20 to 26 pixels, median 24",
        "Main 2 1 of 3473 and 3581 in the official lists",
        "Segmentation 2 1 of 749 and 750 in the official lists",
    }
    # Class by class: Main train, Main val, Segmentation train, Segmentation val.
    assert lines >= {"dog 1 +1 0 1 0", "person 0 0 0 +1 0", "sheep 0 0 0 1", "cow 0 0 0 0"}
    whole = info.summary(prepared_year._replace(partial=False))
    assert "part of" not in whole
    uncertain = info.summary(prepared_year._replace(name="voc2008"))
    assert "aren't certain" in uncertain
    assert "official lists" not in uncertain
    assert "official" not in info.summary(prepared_year._replace(name="toy", partial=False))


def test_contact_sheet_shows_each_class_and_masks_where_there_are_any(
    prepared_year: voc.Prepared, tmp_path: Path
):
    def sheet(**columns: np.ndarray) -> np.ndarray:
        file, index = tmp_path / "new" / "sheet.png", prepared_year.index._replace(**columns)
        info.contact_sheet(prepared_year._replace(index=index), file)
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))

    def shows_void(pixels: np.ndarray) -> bool:
        return bool(np.any(np.all(pixels == (224, 224, 192), axis=-1)))

    every = sheet()  # seven classes: two rows of four
    assert every.shape[1] > every.shape[0]
    assert shows_void(every)
    assert not shows_void(sheet(segmentation=np.full(5, "none")))
    labels = np.full((5, 20), -1, np.int8)
    assert shows_void(sheet(labels=labels))  # no class: the images, with masks
    labels[[2, 4], 11] = 1  # a dog on row 2, which has a mask, and on row 4, which has none
    assert shows_void(sheet(labels=labels))


def test_a_contact_sheet_draws_names_as_they_are(prepared_year: voc.Prepared, tmp_path: Path):
    names = tuple(f"${name[0]}{{$ 猫{name}" for name in prepared_year.classes.names)
    named = prepared_year._replace(classes=prepared_year.classes._replace(names=names))
    info.contact_sheet(named, tmp_path / "sheet.PNG")  # neither a formula nor a warning


def test_unwritable_figure_is_named(
    prepared_year: voc.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    below_a_file = prepared_year.directory / "features.json" / "sheet.png"
    for file in (Path("new/sheet.docx"), Path("sheet"), Path(), below_a_file):
        with pytest.raises(UserError, match=f"{file} can't be written"):
            info.contact_sheet(prepared_year, file)
    assert not list(tmp_path.iterdir())


def test_rows_of_the_table_differ_and_stand_in_columns(prepared_year: voc.Prepared):
    names = ("a b", "a_b", "猫", *prepared_year.classes.names[3:])
    classes = prepared_year.classes._replace(names=names)
    lines = info.summary(prepared_year._replace(classes=classes)).splitlines()
    rows = {line.split()[0]: line for line in lines if line.split()}
    assert {"a_b(1)", "a_b(2)"} <= rows.keys()
    assert len(rows["猫"]) + 1 == len(rows["boat"])  # it is two columns wide
