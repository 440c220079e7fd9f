"""Which rows a task gets, on an index written by hand."""

import re
from pathlib import Path

import numpy as np
import pytest

from vocjax.config import base_config
from vocjax.data import voc
from vocjax.data.devkit import CLASSES
from vocjax.data.index import Index
from vocjax.data.splits import LEGACY, choose, class_columns, is_held_out, select
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Main", "train", ("Cat",)), "data.classes is 'Cat'; .*aeroplane.* Did you mean 'cat'"),
        (("Main", "train", ("dog", "dog")), "names a class twice: dog, dog"),
        (("Segmentation", "val", ("cow", "bus")), "no Segmentation val images with cow or bus. "),
        (("Segmentation", "val", ("dog",), 1e-9), "data.held_out=1e-09 leaves no val images"),
    ],
)
def test_a_selection_that_leaves_nothing_is_refused(index, arguments, message):
    with pytest.raises(UserError, match=message):
        select(index, *arguments)


def test_columns_are_vocs():
    assert class_columns(("aeroplane", "tvmonitor", "dog")) == (0, 19, 11)
    assert class_columns(()) == ()


# choose -------------------------------------------------------------------------------------------

STUDY = ("aeroplane", "dog")
AEROPLANE, DOG = class_columns(STUDY)
CAT, PERSON = class_columns(("cat", "person"))
OF_THE_STUDY = (517, 539)


def data_of(**fields):
    data = base_config().data
    data.update({"classes": STUDY} | fields)
    return data


def study_index(train, val, both=0):
    """Images of an aeroplane or a dog in turn, the first `both` of each split with the two of them.

    Another image of each split shows a cat; a person is difficult everywhere.
    """
    main = np.array(["train"] * (train + 1) + ["val"] * (val + 1))
    labels = np.full((len(main), 20), -1, np.int8)
    labels[0::2, AEROPLANE] = labels[1::2, DOG] = PRESENT
    labels[:, PERSON] = DIFFICULT
    for first, n in ((0, train), (train + 1, val)):
        labels[first : first + both, [AEROPLANE, DOG]] = PRESENT
        labels[first + n] = -1
        labels[first + n, CAT] = PRESENT
    ids = np.array([f"2008_{row:06d}" for row in range(len(main))])
    none = np.full(len(main), "none")
    return Index(ids, np.full((len(main), 2), 100, np.int32), labels, main, none)


def chosen(index, **fields):
    return tuple(choose(index, data_of(**fields), split) for split in ("train", "val"))


def shows_both(index):
    return (index.labels[:, [AEROPLANE, DOG]] == PRESENT).all(axis=1)


def of_the_study(index):
    """Every row that shows one of the study's classes."""
    return np.flatnonzero((index.labels[:, [AEROPLANE, DOG]] == PRESENT).any(axis=1))


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
    assert sorted([*train.rows, *val.rows]) == of_the_study(index).tolist()  # all, and each once
    vocs_train = chosen(index)[0].rows
    assert np.isin(vocs_train, train.rows).all()
    for selection in (train, val):
        assert (np.diff(selection.rows) > 0).all()
        np.testing.assert_array_equal(selection.labels, index.labels[selection.rows])
        assert selection.several == 0


def test_the_legacy_split_depends_on_its_seed_alone():
    index = study_index(*OF_THE_STUDY)
    first, again, other = (chosen(index, split=LEGACY, split_seed=s)[1].rows for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert 10 < len(np.intersect1d(first, other)) < 70  # 36 of 139 by chance
    # The shuffle itself, or figures of other versions could not be compared.
    (_, val) = chosen(study_index(20, 20), split=LEGACY)
    assert val.rows.tolist() == [21, 24, 32, 33, 36]


@pytest.mark.parametrize("split", ["official", LEGACY])
def test_an_image_with_several_classes_is_kept_with_all_its_labels(split):
    index = study_index(40, 40, both=5)
    train, val = chosen(index, split=split, several="keep")
    assert sorted([*train.rows, *val.rows]) == of_the_study(index).tolist()
    for selection in (train, val):
        np.testing.assert_array_equal(selection.labels, index.labels[selection.rows])
        assert selection.several == shows_both(index)[selection.rows].sum()
    if split == "official":
        assert (train.several, val.several) == (5, 5)


@pytest.mark.parametrize("split", ["official", LEGACY])
def test_an_image_with_several_classes_is_dropped_and_counted(split):
    index = study_index(40, 40, both=5)
    train, val = chosen(index, split=split, several="drop")
    rows = of_the_study(index)
    assert sorted([*train.rows, *val.rows]) == rows[~shows_both(index)[rows]].tolist()
    assert (train.several, val.several) == (5, 5)  # where VOC had them
    if split == LEGACY:
        assert len(train.rows) == 35 + 26  # of the 35 that are left, 400 of 539


@pytest.mark.parametrize("split", ["official", LEGACY])
def test_an_image_with_several_classes_is_repeated_for_each(split):
    """As it stands in a concatenation of VOC's lists by class: labelled with that class alone."""
    index = study_index(40, 40, both=5)
    train, val = chosen(index, split=split, several="repeat")
    rows = np.concatenate([train.rows, val.rows])
    labels = np.concatenate([train.labels, val.labels])
    both = shows_both(index)
    assert len(rows) == 80 + 10
    states = labels[both[rows]][:, [AEROPLANE, DOG]].tolist()
    assert sorted(zip(rows[both[rows]], states, strict=True)) == [
        (row, alone) for row in np.flatnonzero(both) for alone in ([-1, 1], [1, -1])
    ]
    others = np.delete(labels, [AEROPLANE, DOG], axis=1)  # the difficult person among them
    np.testing.assert_array_equal(others, np.delete(index.labels[rows], [AEROPLANE, DOG], axis=1))
    np.testing.assert_array_equal(labels[~both[rows]], index.labels[rows][~both[rows]])
    assert (index.labels[both][:, [AEROPLANE, DOG]] == PRESENT).all()  # is not touched itself
    if split == "official":
        assert (train.several, val.several) == (5, 5)
    else:
        assert len(train.rows) == 45 + 33  # of the 45 of val's lists, 400 of 539
        for selection in (train, val):
            assert selection.several == len(np.unique(selection.rows[both[selection.rows]]))


def test_a_difficult_class_makes_no_second_one(index):
    """Row 6 shows an aeroplane and a difficult dog; row 1 both."""
    selection = choose(index, data_of(several="repeat"), "train")
    assert selection.rows.tolist() == [0, 1, 1, 6]
    states = selection.labels[:, [AEROPLANE, DOG]].tolist()
    assert states == [[-1, 1], [1, -1], [-1, 1], [PRESENT, DIFFICULT]]
    assert selection.several == 1
    assert choose(index, data_of(several="drop"), "train").rows.tolist() == [0, 6]


def test_three_classes_make_three_copies():
    index = study_index(4, 4)
    index.labels[0, [AEROPLANE, DOG, CAT]] = PRESENT
    train = choose(index, data_of(classes=("dog", "cat", "aeroplane"), several="repeat"), "train")
    copies = train.labels[train.rows == 0][:, [AEROPLANE, DOG, CAT]]
    assert sorted(copies.tolist()) == [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]]


def test_without_classes_nothing_is_several(index):
    selection = choose(index, data_of(classes=(), several="repeat"), "train")
    assert selection.rows.tolist() == [0, 1, 3, 4, 6]
    assert selection.several == 0


@pytest.mark.parametrize("split", ["official", LEGACY])
def test_an_unknown_split_is_refused(index, split):
    with pytest.raises(UserError, match="the split is 'test'; it is one of train, val"):
        choose(index, data_of(split=split), "test")


@pytest.mark.parametrize(
    ("counts", "fields"),
    [
        ((4, 1), {"split": LEGACY}),  # the only one is moved
        ((4, 3), {"several": "drop"}),  # each shows both
    ],
)
def test_a_choice_that_leaves_nothing_is_named(counts, fields):
    index = study_index(*counts, both=3 if "several" in fields else 0)
    with pytest.raises(UserError, match=r"leave no val images\. .*data\.several"):
        choose(index, data_of(**fields), "val")


def test_a_run_on_the_legacy_split_with_repeated_images_trains(tiny_config, tmp_path, capsys):
    classes = ("dog", "person")  # toy images show both
    fields = {"data.split": LEGACY, "data.several": "repeat", "data.classes": classes}
    config = tiny_config("classifier_frozen", **fields, **{"model.encoder": (4,)})
    task = make_task(config)._replace(baselines={}, features=None)
    results = train_and_evaluate(config, tmp_path, task)
    assert np.isfinite([results[split]["loss"] for split in ("train", "val")]).all()
    index = voc.load("toy", Path(config.data.data_dir)).index
    with np.load(tmp_path / "samples.npz") as samples:
        for split in ("train", "val"):
            selection = choose(index, config.data, split)
            np.testing.assert_array_equal(samples[f"{split}/ids"], index.ids[selection.rows])
            np.testing.assert_array_equal(samples[f"{split}/labels"], selection.labels)
            states = selection.labels[:, list(class_columns(classes))]
            assert ((states == PRESENT).sum(axis=1) == 1).all()
            assert len(np.unique(selection.rows)) < len(selection.rows) or split == "val"
    said = capsys.readouterr().err
    assert re.search(r"[1-9]\d* train and \d+ val images show several of the classes", said)
