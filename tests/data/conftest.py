"""A devkit of six tiny images, written by hand so that tests can break it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocjax.data import voc
from vocjax.data.classes import PALETTE, VOC

MAIN = {"train": ["2009_000001", "2009_000002"], "val": ["2009_000003"]}
SEGMENTATION = {"train": ["2007_000010", "2009_000001"], "val": ["2007_000011"]}
STATES = {  # of Main; classes left out are absent
    "2009_000001": {"dog": 1},
    "2009_000002": {"cat": 1, "dog": 0},
    "2009_000003": {"aeroplane": 1, "train": 1},
}
MASKED = {"2007_000010": "bus", "2009_000001": "dog", "2007_000011": "sheep"}
SIZES = {"2007_000010": (18, 26), "2009_000003": (30, 20)}  # height, width; the others are 20 x 24
ANNOTATION = """<annotation><folder>VOC2009</folder>
<object><name>bus</name><difficult>0</difficult></object>
<object><name>bus</name><difficult>1</difficult></object>
<object><name>person</name><difficult>1</difficult><part><name>head</name></part></object>
<object><name>car</name></object>
</annotation>"""


def write_devkit(year: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    for number, id_ in enumerate(sorted({*STATES, *MASKED})):
        height, width = SIZES.get(id_, (20, 24))
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(year / "JPEGImages" / f"{id_}.jpg")
        if id_ in MASKED:
            write_mask(year / "SegmentationClass" / f"{id_}.png", mask_of(id_))
    (year / "Annotations/2007_000010.xml").write_text(ANNOTATION)
    write_lists(year / "ImageSets/Main", MAIN)
    write_lists(year / "ImageSets/Segmentation", SEGMENTATION)
    for name in VOC.names:
        for split, ids in MAIN.items():
            rows = [f"{id_} {STATES[id_].get(name, -1):2d}\n" for id_ in ids]
            (year / "ImageSets/Main" / f"{name}_{split}.txt").write_text("".join(rows))


def mask_of(id_: str) -> np.ndarray:
    """A rectangle of the class with a void border of one pixel."""
    mask = np.zeros(SIZES.get(id_, (20, 24)), np.uint8)
    mask[3:12, 4:16] = 255
    mask[4:11, 5:15] = 1 + VOC.names.index(MASKED[id_])
    return mask


def write_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    image.save(path)


def write_lists(folder: Path, members: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, ids in members.items():
        (folder / f"{split}.txt").write_text("".join(f"{id_}\n" for id_ in ids))


@pytest.fixture(scope="session")
def good_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder VOC2009 of a good devkit, to be read and not changed."""
    folder = tmp_path_factory.mktemp("devkit") / "VOC2009"
    write_devkit(folder)
    return folder


@pytest.fixture
def year(good_year: Path, tmp_path: Path) -> Path:
    """A copy of it, VOCdevkit/VOC2009, to be broken."""
    return shutil.copytree(good_year, tmp_path / "VOCdevkit/VOC2009")


@pytest.fixture(scope="session")
def prepared_year(good_year: Path, tmp_path_factory: pytest.TempPathFactory) -> voc.Prepared:
    """`good_year` as a prepared data set, to be read and not changed."""
    return voc.prepare("voc2009", tmp_path_factory.mktemp("data"), devkit=good_year)
