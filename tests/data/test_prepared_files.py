"""A devkit whose images and masks are files of many kinds becomes one data set."""

import json
import shutil

import numpy as np
import pytest
from image_files import encoded, oriented
from PIL import Image

from vocjax.data import voc
from vocjax.data.classes import PALETTE
from vocjax.errors import UserError


def test_images_and_masks_of_many_kinds_are_read_alike(year, prepared_year, tmp_path, capsys):
    """Lossless copies of the good year's images and masks, by content and not by ending."""
    good = {example["image_id"].decode(): example for example in prepared_year.examples}
    images, masks = year / "JPEGImages", year / "SegmentationClass"

    def image(id_):
        return good[id_]["image"]

    def mask(id_):
        return good[id_]["mask"][..., 0]

    # Turned as the camera held it, and its mask drawn on it as it is stored.
    turned = encoded(np.rot90(image("2007_000010")).copy(), exif=oriented(6))
    (images / "2007_000010.jpg").write_bytes(turned)
    (masks / "2007_000010.png").write_bytes(encoded(np.rot90(mask("2007_000010")).copy()))
    # Another turn, and its mask drawn as it is shown, in colours.
    turned = encoded(np.rot90(image("2009_000001"), 2).copy(), "TIFF", exif=oriented(3))
    (images / "2009_000001.jpg").write_bytes(turned)
    (masks / "2009_000001.png").write_bytes(encoded(PALETTE[mask("2009_000001")]))
    opaque = np.dstack([image("2007_000011"), np.full(mask("2007_000011").shape, 255, np.uint8)])
    (images / "2007_000011.jpg").write_bytes(encoded(opaque, "WEBP", lossless=True))
    colours = Image.fromarray(PALETTE[mask("2007_000011")]).quantize(256)
    (masks / "2007_000011.png").write_bytes(encoded(colours))
    (images / "2009_000002.jpg").write_bytes(encoded(image("2009_000002"), "BMP"))

    prepared = voc.prepare("custom", tmp_path / "data", devkit=year)
    np.testing.assert_array_equal(prepared.index.sizes, prepared_year.index.sizes)
    np.testing.assert_array_equal(prepared.index.labels, prepared_year.index.labels)
    for example in prepared.examples:
        expected = good[example["image_id"].decode()]
        np.testing.assert_array_equal(example["image"], expected["image"])
        np.testing.assert_array_equal(example["mask"], expected["mask"])
    features = json.loads((prepared.directory / "features.json").read_text())
    assert "jpeg" not in json.dumps(features)  # not all are


def test_no_other_feature_is_an_image_that_any_program_may_open(prepared_year, tmp_path):
    home = tmp_path / "data"
    folder = home / prepared_year.directory.relative_to(prepared_year.directory.parents[2])
    shutil.copytree(prepared_year.directory, folder)
    assert voc.load(prepared_year.name, home).index.ids.tolist()
    path = folder / "features.json"
    tree = json.loads(path.read_text())
    features = tree["featuresDict"]["features"]
    features["image_id"] = features["image"]
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"image_id: Image, .*expected image: Image"):
        voc.load(prepared_year.name, home)
