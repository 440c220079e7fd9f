"""Which rows a task gets, on indices written by hand."""

import numpy as np
import pytest

from vocjax.config import base_config
from vocjax.data.classes import VOC, class_columns
from vocjax.data.devkit import ABSENT, DIFFICULT, PRESENT
from vocjax.data.index import Index
from vocjax.data.splits import LEGACY, choose, is_held_out, select
from vocjax.errors import UserError

CLASSES = VOC.names
STUDY = ("aeroplane", "dog")
IMAGES = [  # main, segmentation, states; classes left out are absent
    ("train", "none", {"dog": PRESENT}),
    ("train", "train", {"aeroplane": PRESENT, "dog": PRESENT}),
    ("val", "val", {"dog": PRESENT}),
    ("train", "val", {"dog": DIFFICULT}),
    ("train", "none", {"cat": PRESENT, "dog": DIFFICULT}),
    ("none", "train", {"aeroplane": PRESENT}),
    ("train", "none", {"aeroplane": PRESENT, "dog": DIFFICULT}),
]


def data_of(**fields):
    data = base_config().data
    data.update({"classes": STUDY} | fields)
    return data


def make_index(labels, main, segmentation=None, ids=None):
    n = len(labels)
    ids = [f"2008_{row:06d}" for row in range(n)] if ids is None else ids
    segmentation = ["none"] * n if segmentation is None else segmentation
    sizes = np.full((n, 2), 100, np.int32)
    return Index(np.array(ids), sizes, labels, np.array(main), np.array(segmentation))


@pytest.fixture(scope="module")
def index():
    main, segmentation, states = zip(*IMAGES, strict=True)
    rows = [[of.get(name, ABSENT) for name in CLASSES] for of in states]
    return make_index(np.array(rows, np.int8), main, segmentation)


@pytest.mark.parametrize(
    ("image_set", "split", "classes", "rows"),
    [
        ("Main", "train", (), [0, 1, 3, 4, 6]),  # difficult images are kept
        ("Main", "val", (), [2]),
        ("Segmentation", "train", (), [1, 5]),
        ("Segmentation", "val", (), [2, 3]),
        ("Main", "train", ("dog",), [0, 1]),  # a difficult dog does not count
        ("Main", "train", ("aeroplane", "dog"), [0, 1, 6]),  # an image with both is there once
        ("Main", "train", ("dog", "aeroplane"), [0, 1, 6]),
        ("Segmentation", "train", ("aeroplane",), [1, 5]),
    ],
)
def test_select(index, image_set, split, classes, rows):
    data = data_of(image_set=image_set, classes=classes)
    assert select(index, data, split).tolist() == rows
    assert [CLASSES[column] for column in class_columns(data)] == list(classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Main", "train", ("Cat",)), "data.classes is 'Cat'; .*aeroplane.* Did you mean 'cat'"),
        (("Main", "train", ("dog", "dog")), "names a class twice: dog, dog"),
        (("Segmentation", "val", ("cow", "bus")), "no Segmentation val images with cow or bus. "),
        (("Segmentation", "val", ("sheep",)), "data.data_dir is the folder that was read"),
        (("Segmentation", "val", ("dog",), 1e-9), "data.held_out=1e-09 leaves no val images"),
    ],
)
def test_a_selection_that_leaves_nothing_is_refused(index, arguments, message):
    with pytest.raises(UserError, match=message):
        image_set, split, classes, *held_out = arguments
        share = {"held_out": held_out[0]} if held_out else {}
        select(index, data_of(image_set=image_set, classes=classes, **share), split)


@pytest.fixture(scope="module")
def photographs():
    """600 photographs of VOC's ids, cropped one to three times each; the last 100 are val's."""
    ids = [f"{2008 + n % 2}_{n:06d}_{crop}" for n in range(600) for crop in range(1 + n % 3)]
    labels = np.full((len(ids), 20), ABSENT, np.int8)
    labels[::4, CLASSES.index("dog")] = PRESENT
    main = ["val" if int(i[5:11]) >= 500 else "train" for i in ids]
    return make_index(labels, main, ids=ids)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_held_out_images_take_the_place_of_val(photographs, share):
    data = data_of(classes=(), held_out=share)
    train, val = (select(photographs, data, s) for s in ("train", "val"))
    vocs_train = select(photographs, data_of(classes=()), "train")
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), vocs_train)
    assert len(val) / len(vocs_train) == pytest.approx(share, abs=0.06)  # 3 standard errors
    dogs = select(photographs, data_of(classes=("dog",), held_out=share), "val")
    np.testing.assert_array_equal(dogs, val[val % 4 == 0])


def test_the_photograph_alone_decides_what_is_held_out(photographs):
    """Its crops stay together, order and other images change nothing, and shares are nested."""
    ids = photographs.ids
    held_out = is_held_out(ids, 0.3)
    assert len({(i[:11], bool(h)) for i, h in zip(ids, held_out, strict=True)}) == 600
    np.testing.assert_array_equal(is_held_out(np.array([i[:11] for i in ids]), 0.3), held_out)
    np.testing.assert_array_equal(is_held_out(ids[::-3], 0.3), held_out[::-3])
    assert np.all(is_held_out(ids, 0.4)[held_out])
    # The choice itself, or figures of other versions could not be compared.
    some = [f"2008_{n:06d}" for n in range(12)]
    assert np.flatnonzero(is_held_out(np.array(some), 0.3)).tolist() == [4, 5, 6, 11]
    inside = np.array([f"dog/{id_}" for id_ in ids])
    np.testing.assert_array_equal(is_held_out(inside, 0.3), held_out)
    others = np.array([f"dog_{n}" for n in range(200)])  # no ids of VOC: each its own photograph
    assert 0.3 < is_held_out(others, 0.5).mean() < 0.7


# choose -------------------------------------------------------------------------------------------

BOTH = AEROPLANE, DOG = list(class_columns(data_of()))
CAT, PERSON = class_columns(data_of(classes=("cat", "person")))
OF_THE_STUDY = (517, 539)


def study_index(train, val, both=0):
    """Images of an aeroplane or a dog in turn, the first `both` of each split with the two of them.

    Another image of each split shows a cat; a person is difficult everywhere.
    """
    main = ["train"] * (train + 1) + ["val"] * (val + 1)
    labels = np.full((len(main), 20), ABSENT, np.int8)
    labels[0::2, AEROPLANE] = labels[1::2, DOG] = PRESENT
    labels[:, PERSON] = DIFFICULT
    for first, n in ((0, train), (train + 1, val)):
        labels[first : first + both, BOTH] = PRESENT
        labels[first + n] = ABSENT
        labels[first + n, CAT] = PRESENT
    return make_index(labels, main)


def chosen(index, **fields):
    return tuple(choose(index, data_of(**fields), split) for split in ("train", "val"))


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        (OF_THE_STUDY, (917, 139)),
        ((100, 539), (500, 139)),
        ((517, 100), (517 + 74, 26)),  # 74.2 moved
        ((3, 10), (10, 3)),
        ((3, 2), (4, 1)),
    ],
)
def test_the_legacy_split_moves_400_of_539(counts, sizes):
    index = study_index(*counts)
    assert tuple(len(s.rows) for s in chosen(index)) == counts
    train, val = chosen(index, split=LEGACY)
    assert (len(train.rows), len(val.rows)) == sizes
    every = np.concatenate([select(index, data_of(), split) for split in ("train", "val")])
    assert sorted([*train.rows, *val.rows]) == every.tolist()  # all, and each once
    assert np.isin(chosen(index)[0].rows, train.rows).all()
    for rows, labels, several in (train, val):
        assert (np.diff(rows) > 0).all() and several == 0
        np.testing.assert_array_equal(labels, index.labels[rows])


def test_the_legacy_split_depends_on_its_seed_alone():
    index = study_index(*OF_THE_STUDY)
    first, again, other = (chosen(index, split=LEGACY, split_seed=s)[1].rows for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert 10 < len(np.intersect1d(first, other)) < 70  # 36 of 139 by chance
    # The shuffle itself, or figures of other versions could not be compared.
    (_, val) = chosen(study_index(20, 20), split=LEGACY)
    assert val.rows.tolist() == [21, 24, 32, 33, 36]


@pytest.mark.parametrize("split", ["official", LEGACY])
@pytest.mark.parametrize("rule", ["keep", "drop", "repeat"])
def test_the_multi_label_rule(split, rule):
    """Images with several classes are kept with all labels, left out, or repeated for each class.

    A repeated image is labelled with one class alone, as if VOC's lists by class were joined.
    """
    index = study_index(40, 40, both=5)
    shows_both = (index.labels[:, BOTH] == PRESENT).all(axis=1)
    train, val = chosen(index, split=split, several=rule)
    rows = np.concatenate([train.rows, val.rows])
    labels = np.concatenate([train.labels, val.labels])
    multi = shows_both[rows]
    np.testing.assert_array_equal(labels[~multi], index.labels[rows][~multi])
    expected = np.concatenate([select(index, data_of(), s) for s in ("train", "val")])
    if rule == "keep":
        np.testing.assert_array_equal(labels, index.labels[rows])
    if rule == "drop":
        expected = expected[~shows_both[expected]]
    if rule == "repeat":
        expected = np.sort([*expected, *np.flatnonzero(shows_both)])
        assert sorted(zip(rows[multi], labels[multi][:, BOTH].tolist(), strict=True)) == [
            (row, alone) for row in np.flatnonzero(shows_both) for alone in ([-1, 1], [1, -1])
        ]
        others = np.delete(labels, BOTH, axis=1)  # the difficult person among them
        np.testing.assert_array_equal(others, np.delete(index.labels[rows], BOTH, axis=1))
        assert (index.labels[shows_both][:, BOTH] == PRESENT).all()  # is not changed itself
    np.testing.assert_array_equal(np.sort(rows), expected)
    if split == LEGACY:  # 400 of 539 have moved, of the 40, 35 or 45 that val's lists have
        assert len(train.rows) == {"keep": 40 + 30, "drop": 35 + 26, "repeat": 45 + 33}[rule]
    for selection in (train, val):
        own = np.unique(selection.rows[shows_both[selection.rows]])
        moved = split == LEGACY and rule != "drop"  # dropped ones are counted where VOC had them
        assert selection.several == (len(own) if moved else 5)


def test_a_difficult_class_makes_no_second_one(index):
    """Row 6 shows an aeroplane and a difficult dog; row 1 both."""
    selection = choose(index, data_of(several="repeat"), "train")
    assert selection.rows.tolist() == [0, 1, 1, 6]
    states = selection.labels[:, BOTH].tolist()
    assert states == [[-1, 1], [1, -1], [-1, 1], [PRESENT, DIFFICULT]] and selection.several == 1
    assert choose(index, data_of(several="drop"), "train").rows.tolist() == [0, 6]


def test_three_classes_make_three_copies_and_no_classes_none(index):
    three = study_index(4, 4)
    three.labels[0, [AEROPLANE, DOG, CAT]] = PRESENT
    train = choose(three, data_of(classes=("dog", "cat", "aeroplane"), several="repeat"), "train")
    copies = train.labels[train.rows == 0][:, [AEROPLANE, DOG, CAT]]
    assert sorted(copies.tolist()) == [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]]
    selection = choose(index, data_of(classes=(), several="repeat"), "train")
    assert selection.rows.tolist() == [0, 1, 3, 4, 6] and selection.several == 0


@pytest.mark.parametrize(
    ("counts", "both", "fields", "split", "message"),
    [
        ((4, 1), 0, {"split": LEGACY}, "val", r"leave no val images\. .*data\.several"),  # moved
        ((4, 3), 3, {"several": "drop"}, "val", r"leave no val images\. .*data\.several"),
        ((4, 3), 0, {}, "test", "the split is 'test'; it is one of train, val"),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(counts, both, fields, split, message):
    with pytest.raises(UserError, match=message):
        choose(study_index(*counts, both=both), data_of(**fields), split)
