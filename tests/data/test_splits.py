"""Which rows a task gets, on an index written by hand."""

import numpy as np
import pytest

from vocjax.data.devkit import CLASSES
from vocjax.data.index import Index
from vocjax.data.splits import class_columns, is_held_out, select
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


@pytest.fixture(scope="module")
def photographs():
    """600 photographs of VOC's ids, cropped one to three times each; the last 100 are val's."""
    ids = [f"{2008 + n % 2}_{n:06d}_{crop}" for n in range(600) for crop in range(1 + n % 3)]
    main = np.array(["val" if int(i[5:11]) >= 500 else "train" for i in ids])
    labels = np.full((len(ids), 20), -1, np.int8)
    labels[::4, CLASSES.index("dog")] = PRESENT
    none = np.full(len(ids), "none")
    return Index(np.array(ids), np.full((len(ids), 2), 100, np.int32), labels, main, none)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_held_out_images_stand_in_for_val(photographs, share):
    train, val = (select(photographs, "Main", s, (), share) for s in ("train", "val"))
    vocs_train = select(photographs, "Main", "train")
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), vocs_train)
    assert len(val) / len(vocs_train) == pytest.approx(share, abs=0.06)  # 3 standard errors


def test_crops_of_one_photograph_stay_together(photographs):
    ids = photographs.ids
    held_out = is_held_out(ids, 0.3)
    sides = {(i[:11], bool(h)) for i, h in zip(ids, held_out, strict=True)}
    assert len(sides) == 600
    whole = is_held_out(np.array([i[:11] for i in ids]), 0.3)
    np.testing.assert_array_equal(whole, held_out)


def test_what_is_held_out_depends_on_the_id_alone(photographs):
    """Of more images, and in another order; and a larger share holds out all of a smaller one."""
    ids = photographs.ids
    held_out = is_held_out(ids, 0.3)
    np.testing.assert_array_equal(is_held_out(ids[::-3], 0.3), held_out[::-3])
    assert np.all(is_held_out(ids, 0.4)[held_out])
    # The choice itself, or figures of other versions could not be compared.
    some = [f"2008_{n:06d}" for n in range(12)]
    assert np.flatnonzero(is_held_out(np.array(some), 0.3)).tolist() == [4, 5, 6, 11]


def test_any_other_id_stands_for_itself():
    ids = np.array([f"dog_{n}" for n in range(200)])
    assert 0.3 < is_held_out(ids, 0.5).mean() < 0.7


def test_the_classes_of_held_out_images_are_selected_as_well(photographs):
    dogs = select(photographs, "Main", "val", ("dog",), 0.3)
    every = select(photographs, "Main", "val", (), 0.3)
    np.testing.assert_array_equal(dogs, every[every % 4 == 0])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_leaves_no_training_is_refused(index, share):
    with pytest.raises(UserError, match=rf"held_out is {share}; it must be in \[0, 1\), 0 for"):
        select(index, "Main", "train", (), share)


def test_an_empty_split_is_named(index):
    nothing = index._replace(main=np.full(len(IMAGES), "none"))
    with pytest.raises(UserError, match=r"no Main train images; .*data.data_dir says which copy"):
        select(nothing, "Main", "train")


def test_columns_are_vocs():
    assert class_columns(("aeroplane", "tvmonitor", "dog")) == (0, 19, 11)
    assert class_columns(()) == ()
