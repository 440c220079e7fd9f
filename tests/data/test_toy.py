"""The toy devkit: what it holds, that it is reproducible, and how hard it is."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from skimage.feature import hog
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from vocjax.data import devkit
from vocjax.data.classes import PALETTE, VOC, VOID
from vocjax.data.toy import write_devkit
from vocjax.errors import UserError

SPLITS = ("train", "val", "trainval")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy")
    write_devkit(directory, images=(30, 12), segmentation=(20, 8))
    return directory


@pytest.fixture(scope="module")
def default_kit(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy_default")
    write_devkit(directory)
    return directory


def ids(kit: Path, image_set: str, split: str) -> list[str]:
    return (kit / "ImageSets" / image_set / f"{split}.txt").read_text().split()


def states(kit: Path, name: str, split: str) -> dict[str, int]:
    lines = (kit / "ImageSets" / "Main" / f"{name}_{split}.txt").read_text().splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def annotation(kit: Path, id_: str) -> ElementTree.Element:
    return ElementTree.parse(kit / "Annotations" / f"{id_}.xml").getroot()


def numbers(element: ElementTree.Element, *paths: str) -> list[int]:
    return [int(element.findtext(path, "missing")) for path in paths]


def objects(kit: Path, id_: str, difficult: bool) -> list[tuple[str, list[int]]]:
    """Class and box [left, top, right, bottom], from 1, of an image's objects."""
    corners = [f"bndbox/{corner}" for corner in ("xmin", "ymin", "xmax", "ymax")]
    return [
        (one.findtext("name", "missing"), numbers(one, *corners))
        for one in annotation(kit, id_).iter("object")
        if numbers(one, "difficult") == [difficult]
    ]


def mask(kit: Path, id_: str) -> np.ndarray:
    return np.asarray(Image.open(kit / "SegmentationClass" / f"{id_}.png"))


def drawn_files(kit: Path) -> dict[str, bytes]:
    folders = ("JPEGImages", "SegmentationClass")
    return {path.name: path.read_bytes() for name in folders for path in (kit / name).iterdir()}


def test_seed_split_and_index_alone_decide_an_image(kit, tmp_path):
    many = drawn_files(kit)
    write_devkit(tmp_path / "same", images=(3, 4), segmentation=(2, 4))
    few = drawn_files(tmp_path / "same")
    assert len(few) == 3 + 4 + 2 + 4 and few.items() <= many.items()
    write_devkit(tmp_path / "other", seed=1, images=(3, 3), segmentation=(3, 3))
    assert not drawn_files(tmp_path / "other").items() & many.items()
    images = [content for name, content in many.items() if name.endswith(".jpg")]
    assert len(set(images)) == len(images) == 42


def test_lists_name_the_splits(kit):
    main = {split: ids(kit, "Main", split) for split in SPLITS}
    masked = {split: ids(kit, "Segmentation", split) for split in SPLITS}
    assert [len(main[split]) for split in SPLITS] == [30, 12, 42]
    assert [len(masked[split]) for split in SPLITS] == [20, 8, 28]
    for split in SPLITS:
        assert set(masked[split]) <= set(main[split])
        assert all(list(states(kit, name, split)) == main[split] for name in VOC.names)
    for lists in (main, masked):
        assert lists["trainval"] == lists["train"] + lists["val"]
        assert not set(lists["train"]) & set(lists["val"])
    files = {"JPEGImages": main, "Annotations": main, "SegmentationClass": masked}
    for folder, expected in files.items():
        assert {path.stem for path in (kit / folder).iterdir()} == set(expected["trainval"])


def test_class_lists_agree_with_the_annotations(kit):
    listed = {name: states(kit, name, "trainval") for name in VOC.names}
    records = {
        record.id: record for record in devkit.read(kit).records
    }  # the reader of real devkits
    assert list(records) == sorted(ids(kit, "Main", "trainval"))
    masked = [id_ for id_, record in records.items() if record.mask]
    assert masked == sorted(ids(kit, "Segmentation", "trainval"))
    for id_, record in records.items():
        expected = dict.fromkeys(VOC.names, -1)
        for state in (0, 1):  # a class that is present and difficult is present
            expected |= {name: state for name, _ in objects(kit, id_, difficult=state == 0)}
        assert {name: listed[name][id_] for name in VOC.names} == expected
        assert record.labels.tolist() == list(expected.values())
    assert {state for one in listed.values() for state in one.values()} == {1, 0, -1}
    # Thirty images show every class.
    assert all(1 in states(kit, name, "train").values() for name in VOC.names)


def test_sizes_and_boxes_agree(kit):
    masked = set(ids(kit, "Segmentation", "trainval"))
    for id_ in ids(kit, "Main", "trainval"):
        root = annotation(kit, id_)
        with Image.open(kit / "JPEGImages" / f"{id_}.jpg") as image:
            assert image.mode == "RGB"
            width, height = image.size
        assert 84 <= min(width, height) <= max(width, height) <= 160
        written = numbers(root, "size/width", "size/height", "size/depth", "segmented")
        assert written == [width, height, 3, id_ in masked]
        if id_ in masked:
            assert mask(kit, id_).shape == (height, width)
        for _, (left, top, right, bottom) in objects(kit, id_, True) + objects(kit, id_, False):
            assert 1 <= left < right <= width and 1 <= top < bottom <= height


def test_masks_hold_the_annotated_objects_and_difficult_ones_are_void(kit):
    seen = 0
    for id_ in ids(kit, "Segmentation", "trainval"):
        pixels, annotated = mask(kit, id_), objects(kit, id_, difficult=False)
        shown = set(np.unique(pixels)) - {0, VOID}
        assert shown == {VOC.names.index(name) + 1 for name, _ in annotated}
        for value in shown:
            boxed = np.zeros_like(pixels, bool)
            for name, (left, top, right, bottom) in annotated:
                if name == VOC.names[value - 1]:
                    boxed[top - 1 : bottom, left - 1 : right] = True
            assert boxed[pixels == value].all()
        for name, (left, top, right, bottom) in objects(kit, id_, difficult=True):
            seen += 1
            inside = pixels[top - 1 : bottom, left - 1 : right]
            assert name in dict(annotated) or VOC.names.index(name) + 1 not in inside
            assert VOID in inside
    assert seen > 0


def test_void_separates_all_regions(kit):
    """Neighbouring pixels never have two different values unless one is void."""
    for id_ in ids(kit, "Segmentation", "trainval"):
        pixels = mask(kit, id_)
        for a, b in ((pixels[1:], pixels[:-1]), (pixels[:, 1:], pixels[:, :-1])):
            assert not ((a != b) & (a != VOID) & (b != VOID)).any()
        assert 0 < (pixels == VOID).mean() < 0.3


def test_masks_have_vocs_palette(kit):
    with Image.open(kit / "SegmentationClass" / "train_000000.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.reshape(image.getpalette(), (-1, 3)), PALETTE)


def test_counts_that_do_not_fit_and_a_folder_with_something_in_it_are_refused(tmp_path):
    for segmentation in ((5, 2), (4, 3), (0, 2)):
        with pytest.raises(UserError, match=r"images=\(4, 2\).*at least one.*Raise `images`"):
            write_devkit(tmp_path, images=(4, 2), segmentation=segmentation)
    assert not list(tmp_path.iterdir())
    (tmp_path / "train.txt").write_text("2009_000001\n")
    with pytest.raises(UserError, match=r"is not empty.*Give a new"):
        write_devkit(tmp_path, images=(1, 1), segmentation=(1, 1))
    assert [path.read_text() for path in tmp_path.rglob("*")] == ["2009_000001\n"]


@pytest.mark.slow
def test_default_counts_and_foreground(default_kit):
    for split in ("train", "val"):
        present = {
            name: {id_ for id_, state in states(default_kit, name, split).items() if state == 1}
            for name in VOC.names
        }
        assert 70 <= len(present["dog"]) <= 85 and 70 <= len(present["aeroplane"]) <= 85
        assert min(map(len, present.values())) >= 12
        assert len(present["dog"] & present["aeroplane"]) <= 3
    masks = [mask(default_kit, id_) for id_ in ids(default_kit, "Segmentation", "trainval")]
    fractions = [(one[one != VOID] > 0).mean() for one in masks]
    assert 0.2 < np.mean(fractions) < 0.33


@pytest.mark.slow
def test_a_better_model_scores_better(default_kit):
    """Dog or aeroplane at 64 pixels: neither colours nor principal components give it away."""
    images, labels = {}, {}
    for split in ("train", "val"):
        dogs, planes = (states(default_kit, name, split) for name in ("dog", "aeroplane"))
        chosen = [id_ for id_ in dogs if (dogs[id_] == 1) != (planes[id_] == 1)]
        files = [Image.open(default_kit / "JPEGImages" / f"{id_}.jpg") for id_ in chosen]
        small = [np.asarray(file.resize((64, 64), Image.Resampling.BILINEAR)) for file in files]
        images[split] = np.stack(small) / 255
        labels[split] = np.array([dogs[id_] == 1 for id_ in chosen])

    def accuracy(model, features) -> float:
        model = make_pipeline(*model).fit(features(images["train"]), labels["train"])
        return model.score(features(images["val"]), labels["val"])

    def flat(x):
        return x.reshape(len(x), -1)

    colour = accuracy([LogisticRegression()], lambda x: x.mean((1, 2)))
    components = accuracy([PCA(16, random_state=0), StandardScaler(), LogisticRegression()], flat)
    edges = accuracy([StandardScaler(), SVC(C=3)], orientations)
    assert colour < 0.7
    assert components < 0.75
    assert edges > max(colour, components) + 0.05


def orientations(images: np.ndarray) -> np.ndarray:
    """Histograms of gradient orientation in cells of 8x8 pixels (Dalal and Triggs, 2005)."""
    cells = {"orientations": 8, "pixels_per_cell": (8, 8), "cells_per_block": (8, 8)}
    return np.stack([hog(image.mean(-1), block_norm="L1-sqrt", **cells) for image in images])
