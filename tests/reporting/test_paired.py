"""Paired differences between classifiers: which pairs, whose images, and what the interval says."""

from pathlib import Path

import numpy as np
import pytest

from vocjax.data.devkit import CLASSES
from vocjax.reporting import paired
from vocjax.runs.reader import Run

CHOSEN = ("aeroplane", "dog")
IDS = np.array([f"2008_{i // 2:06d}_{i % 2}" for i in range(40)])  # two crops of each photograph
STATES = np.full((40, 20), -1, np.int8)
STATES[np.arange(40), [CLASSES.index(CHOSEN[i % 2]) for i in range(40)]] = 1


def run(name, wrong, seed=0, ids=IDS, states=STATES, loss="binary_cross_entropy"):
    """A run that is sure of every image, and wrong about those of which it is said."""
    truth = states[:, [CLASSES.index(c) for c in CHOSEN]] == 1
    probability = np.where(truth ^ np.isin(np.arange(len(ids)), wrong)[:, None], 0.9, 0.1)
    samples = {"val/probability": probability, "val/labels": states, "val/ids": ids}
    config = {
        "name": name,
        "seed": seed,
        "data": {"classes": list(CHOSEN)},
        "loss": {"name": loss},
    }
    return Run(Path(f"{name}_{seed}"), config, {}, [], {"val": {}}, samples)


def test_code_sizes_are_compared_and_every_name_with_the_first():
    names = ["AE 256, frozen", "AE 2048, frozen", "From AE 256, sgd", "Other"]
    found = paired.differences([run(name, [i]) for i, name in enumerate(names)])
    first = names[0]
    assert list(found) == [
        (first, names[1]),
        (names[2], first),
        ("Other", first),
    ]


def test_difference_is_that_of_the_accuracies_with_an_interval_around_it():
    better, worse = run("A", [0]), run("B", list(range(10)))
    ((interval, seeds),) = paired.differences([worse, better]).values()
    assert seeds == 1
    assert interval.difference == pytest.approx(9 / 40)
    assert 0 < interval.low < interval.difference < interval.high < 0.5
    same = paired.difference([better], [run("C", [0])])
    assert same == ((0, 0, 0), 1)


def test_crops_of_a_photograph_are_drawn_together():
    worse, better = run("A", list(range(8))), run("B", [])
    alone = np.array([f"2008_{i:06d}" for i in range(40)])
    other, _ = paired.difference([run("B", [], ids=alone)], [run("A", list(range(8)), ids=alone)])
    together, _ = paired.difference([better], [worse])
    assert together.difference == other.difference == pytest.approx(0.2)
    assert together.high - together.low > 1.2 * (other.high - other.low)


def test_seeds_are_paired_with_themselves_and_other_images_with_nothing():
    a = [run("A", [], seed) for seed in (0, 1)]
    b = [run("B", [0], 0), run("B", [0, 1, 2], 1)]
    interval, seeds = paired.difference(a, b)
    assert (interval.difference, seeds) == (pytest.approx((1 + 3) / 80), 2)
    assert paired.difference(a[:1], b[1:]) is None
    assert paired.difference(a[:1], [run("B", [], 0, IDS[::-1])]) is None


def test_difficult_classes_do_not_count():
    states = STATES.copy()
    states[0, CLASSES.index("dog")] = 0  # image 0 shows an aeroplane
    np.testing.assert_allclose(paired.shares_right(run("A", [0, 1], states=states))[:3], [0, 0, 1])
    half = run("A", [], states=states)
    half.samples["val/probability"][0] = [0.9, 0.9]  # wrong about the difficult one alone
    assert paired.shares_right(half)[0] == 1
    # Of two exclusive classes one is left, and nothing to decide.
    softmax = [run(n, [0, 1], states=states, loss="softmax_cross_entropy") for n in ("A", "B")]
    np.testing.assert_array_equal(paired.shares_right(softmax[0])[:3], [np.nan, 0, 1])
    (found,) = paired.differences(softmax).values()
    assert found.interval == (0, 0, 0)


def test_picture_has_a_row_for_each_pair():
    found = paired.differences([run("A", [0]), run("B", [1, 2]), run("C", list(range(20)))])
    (axis,) = paired.forest(found).axes
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == ["B\nagainst A\n(1 seed)", "C\nagainst A\n(1 seed)"]
    middles = [line.get_xdata()[0] for line in axis.get_lines()[1:-1:2]]
    np.testing.assert_allclose(middles, [-100 / 40, -1900 / 40])
