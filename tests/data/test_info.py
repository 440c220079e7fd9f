from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocjax.data import info, voc
from vocjax.errors import UserError


@pytest.fixture
def prepared(prepared_year: voc.Prepared) -> voc.Prepared:
    return prepared_year


def test_summary_counts_images_and_classes(prepared: voc.Prepared):
    lines = [" ".join(line.split()) for line in info.summary(prepared).splitlines()]
    assert "voc2009: 5 images, a part of its year" in lines
    assert f"directory {prepared.directory}" in lines
    assert "source devkit" in lines
    assert f"fingerprint {prepared.fingerprint}" in lines
    assert "height 18 to 30 pixels, median 20" in lines
    assert "width 20 to 26 pixels, median 24" in lines
    assert "Main 2 1 of 3473 and 3581 in the official lists" in lines
    assert "Segmentation 2 1 of 749 and 750 in the official lists" in lines
    # Class by class: Main train, Main val, Segmentation train, Segmentation val.
    assert "dog 1 +1 0 1 0" in lines
    assert "person 0 0 0 +1 0" in lines
    assert "sheep 0 0 0 1" in lines
    assert "cow 0 0 0 0" in lines


def test_summary_of_a_whole_set_and_of_an_uncertain_year(prepared: voc.Prepared):
    whole = info.summary(prepared._replace(partial=False))
    assert "part of" not in whole
    uncertain = info.summary(prepared._replace(name="voc2008"))
    assert "aren't certain" in uncertain
    assert "official lists" not in uncertain
    assert "official" not in info.summary(prepared._replace(name="toy", partial=False))


def test_contact_sheet_shows_each_class_and_its_mask(prepared: voc.Prepared, tmp_path: Path):
    file = tmp_path / "new" / "sheet.png"
    info.contact_sheet(prepared, file)
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # Seven classes are present: two rows of four, each a noise image; void's cream is an overlay.
    assert pixels.shape[1] > pixels.shape[0]
    assert np.any(np.all(pixels == (224, 224, 192), axis=-1))
    without = prepared.index._replace(segmentation=np.full(5, "none"))
    info.contact_sheet(prepared._replace(index=without), file)
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert not np.any(np.all(pixels == (224, 224, 192), axis=-1))


def test_contact_sheet_prefers_images_with_masks(prepared: voc.Prepared, tmp_path: Path):
    labels = np.full((5, 20), -1, np.int8)
    labels[[2, 4], 11] = 1  # a dog on row 2, which has a mask, and on row 4, which has none
    file = tmp_path / "sheet.png"
    info.contact_sheet(prepared._replace(index=prepared.index._replace(labels=labels)), file)
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert np.any(np.all(pixels == (224, 224, 192), axis=-1))


def test_contact_sheet_of_no_class_is_empty(prepared: voc.Prepared, tmp_path: Path):
    nothing = prepared.index._replace(labels=np.full((5, 20), -1, np.int8))
    info.contact_sheet(prepared._replace(index=nothing), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert np.all(np.asarray(image.convert("L")) == 255)


def test_unwritable_figure_is_named(prepared: voc.Prepared, tmp_path: Path):
    for file in (tmp_path / "sheet.docx", prepared.directory / "features.json" / "sheet.png"):
        with pytest.raises(UserError, match=f"{file} can't be written"):
            info.contact_sheet(prepared, file)
