"""Which rows a task gets, on an index written by hand."""

import numpy as np
import pytest

from vocjax.data.devkit import CLASSES
from vocjax.data.index import Index
from vocjax.data.splits import class_columns, select
from vocjax.errors import UserError

PRESENT, DIFFICULT = 1, 0
IMAGES = [  # main, segmentation, states; classes left out are absent
    ("train", "none", {"dog": PRESENT}),
    ("train", "train", {"aeroplane": PRESENT, "dog": PRESENT}),
    ("val", "val", {"dog": PRESENT}),
    ("train", "val", {"dog": DIFFICULT}),
    ("train", "none", {"cat": PRESENT, "dog": DIFFICULT}),
    ("none", "train", {"aeroplane": PRESENT}),
    ("train", "none", {"aeroplane": PRESENT, "dog": DIFFICULT}),
]


@pytest.fixture(scope="module")
def index():
    labels = np.full((len(IMAGES), 20), -1, np.int8)
    for row, (_, _, states) in enumerate(IMAGES):
        for name, state in states.items():
            labels[row, CLASSES.index(name)] = state
    return Index(
        ids=np.array([f"{row:06d}" for row in range(len(IMAGES))]),
        sizes=np.full((len(IMAGES), 2), 100, np.int32),
        labels=labels,
        main=np.array([main for main, _, _ in IMAGES]),
        segmentation=np.array([segmentation for _, segmentation, _ in IMAGES]),
    )


@pytest.mark.parametrize(
    ("image_set", "split", "classes", "rows"),
    [
        ("Main", "train", (), [0, 1, 3, 4, 6]),
        ("Main", "val", (), [2]),
        ("Segmentation", "train", (), [1, 5]),
        ("Segmentation", "val", (), [2, 3]),
        ("Main", "train", ("dog",), [0, 1]),  # a difficult one does not count
        ("Main", "train", ("aeroplane", "dog"), [0, 1, 6]),  # one with both stands once
        ("Main", "train", ("dog", "aeroplane"), [0, 1, 6]),
        ("Segmentation", "train", ("aeroplane",), [1, 5]),
    ],
)
def test_select(index, image_set, split, classes, rows):
    assert select(index, image_set, split, classes).tolist() == rows


def test_difficult_images_are_kept_where_no_class_is_asked_for(index):
    assert 3 in select(index, "Main", "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("main", "train"), r"'main'; it is one of Main, Segmentation"),
        (("Main", "test"), r"no split 'test'; there are train and val"),
        (("Main", "train", ("dog", "Cat")), r"'Cat', which VOC does not know.*aeroplane, bicycle"),
        (("Main", "train", ("dog", "dog")), r"names a class twice: dog, dog"),
        (
            ("Segmentation", "val", ("cow", "bus")),
            r"no Segmentation val images with cow or bus; `vocjax data info` shows",
        ),
    ],
)
def test_mistakes_are_named(index, arguments, message):
    with pytest.raises(UserError, match=message):
        select(index, *arguments)


def test_an_empty_split_is_named(index):
    nothing = index._replace(main=np.full(len(IMAGES), "none"))
    with pytest.raises(UserError, match=r"no Main train images; .*data.data_dir says which copy"):
        select(nothing, "Main", "train")


def test_columns_are_vocs():
    assert class_columns(("aeroplane", "tvmonitor", "dog")) == (0, 19, 11)
    assert class_columns(()) == ()
