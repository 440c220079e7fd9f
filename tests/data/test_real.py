"""Real VOC images, where a copy is at hand: their counts, and what PCA makes of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from vocjax.config import base_config
from vocjax.data import voc
from vocjax.data.index import counts
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import select
from vocjax.models import dct, pca

FOLDER = Path(os.environ.get("VOCJAX_DEVKITS", "nowhere"))
WANTED = "VOCdevkit/VOC2009 and VOCdevkit_objects/VOC2009, parts of VOC 2009 in a devkit's layout"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER.is_dir(), reason=f"set VOCJAX_DEVKITS to a folder that holds {WANTED}"
    ),
]
BOTH = ("aeroplane", "dog")


def sizes(prepared: voc.Prepared, *classes: str) -> list[int]:
    data = base_config().data
    data.classes = classes
    return [len(select(prepared.index, data, split)) for split in ("train", "val")]


def test_part_of_a_year_is_read_whole(tmp_path: Path):
    prepared = voc.prepare("voc2009", tmp_path, devkit=FOLDER / "VOCdevkit")
    assert prepared.partial
    assert counts(prepared.index) == ((895, 933), (411, 450))
    assert sizes(prepared, "dog") == [316, 333] and sizes(prepared, "cat") == [266, 277]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> voc.Prepared:
    data_dir = tmp_path_factory.mktemp("objects")
    return voc.prepare("voc2009", data_dir, devkit=FOLDER / "VOCdevkit_objects")


@pytest.fixture(scope="module")
def crops(objects: voc.Prepared) -> list[np.ndarray]:
    """Train [428, 64, 64, 3] and validation [426, 64, 64, 3], float32 in [0, 1]."""
    data = base_config().data
    data.classes = BOTH
    rows = [select(objects.index, data, split) for split in ("train", "val")]
    images = ([resize_image(objects.examples[int(i)]["image"], 64, 3) for i in r] for r in rows)
    return [np.stack(of_split) / np.float32(255) for of_split in images]


def test_object_crops_hold_the_two_classes(objects: voc.Prepared):
    assert sizes(objects, *BOTH) == [428, 426] and sizes(objects, "dog") == [244, 240]


def errors(model, state, splits) -> list[float]:
    """Mean squared reconstruction errors of the splits."""
    return [float(((model.decode(state, model.encode(state, x)) - x) ** 2).mean()) for x in splits]


def test_pca_and_cosines_of_the_object_crops(crops):
    """Figures measured on these crops by others.

    The mean image errs by .0656, PCA with 256 numbers by .0017 and .0105, 256 cosine coefficients
    by .0067 on validation.
    """
    points = [images.reshape(len(images), -1) for images in crops]
    assert ((points[1] - points[0].mean(axis=0)) ** 2).mean() == pytest.approx(0.0656, abs=5e-5)
    fitted = errors(pca, pca.fit(points[0], 256), points)
    assert fitted == pytest.approx([0.0017, 0.0105], abs=5e-5)
    assert errors(dct, dct.fit(crops[0], 256), crops) == pytest.approx([0.0070, 0.0067], abs=5e-5)
