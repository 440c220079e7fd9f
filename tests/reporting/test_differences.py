"""Paired differences between runs: which pairs, whose images, and what the interval says."""

import numpy as np
import pytest
from example_runs import run_of
from figure_texts import ticks

from vocjax.reporting import differences

IDS = np.array([f"2008_{i // 2:06d}_{i % 2}" for i in range(40)])  # two crops of each photograph
TARGET = np.eye(2)[np.arange(40) % 2]


def run(name, wrong, seed=0, ids=IDS, weight=TARGET + 1, **fields):
    """A run that is sure of every image, and wrong about those named."""
    is_wrong = np.isin(np.arange(len(ids)), wrong)[:, None]
    probability = np.where((TARGET > 0) ^ is_wrong, 0.9, 0.1)
    arrays = {"probability": probability, "target": TARGET, "weight": weight, "ids": ids}
    samples = {f"val/{key}": value for key, value in arrays.items()}
    return run_of("classification", name, {"val": {}}, samples, seed=seed, **fields)


def test_code_sizes_are_compared_and_every_name_with_the_first():
    deep, shallow = {"model.encoder": [8, 4, 2]}, {"model.encoder": [8, 4]}
    fields = {
        "frozen 2048": {"optimizer.name": "none", **shallow},
        "frozen 256": {"optimizer.name": "none", **deep},
        "tuned 256": {"init_from": "runs/a", **deep},
        "tuned 2048": {"init_from": "runs/b", **shallow},
        "from scratch 256": {"init_from": "", **deep},
    }
    runs = [run(name, [i], **config) for i, (name, config) in enumerate(fields.items())]
    first, *others = fields
    assert list(differences.differences(runs)) == [
        ("frozen 256", "frozen 2048"),
        ("tuned 256", "tuned 2048"),
        ("tuned 256", "from scratch 256"),
        *((name, first) for name in others[1:]),
    ]


def test_difference_is_that_of_the_accuracies_with_an_interval_around_it():
    better, worse = run("A", [0]), run("B", list(range(10)), epochs=3)
    ((interval, seeds),) = differences.differences([worse, better]).values()
    assert seeds == 1
    assert interval.difference == pytest.approx(9 / 40)
    assert 0 < interval.low < interval.difference < interval.high < 0.5
    same = differences.difference([better], [run("C", [0])])
    assert same == ((0, 0, 0), 1)


def test_crops_of_a_photograph_are_drawn_together():
    alone = np.array([f"2008_{i:06d}" for i in range(40)])
    together, apart = (
        differences.difference([run("B", [], ids=ids)], [run("A", list(range(8)), ids=ids)])[0]
        for ids in (IDS, alone)
    )
    assert together.difference == apart.difference == pytest.approx(0.2)
    assert together.high - together.low > 1.2 * (apart.high - apart.low)


def test_seeds_are_paired_with_themselves_and_other_images_with_nothing():
    a = [run("A", [], seed) for seed in (0, 1)]
    b = [run("B", [0], 0), run("B", [0, 1, 2], 1)]
    interval, seeds = differences.difference(a, b)
    assert (interval.difference, seeds) == (pytest.approx((1 + 3) / 80), 2)
    assert differences.difference(a[:1], b[1:]) is None
    assert differences.difference(a[:1], [run("B", [], 0, IDS[::-1])]) is None


def test_classes_without_weight_do_not_count_nor_images_without_a_class():
    weight = np.ones((40, 2))
    weight[0, 1] = weight[1] = 0
    of_one = run("A", [0, 2], weight=weight)
    of_one.samples["val/probability"][0, 0] = 0.9  # wrong about the one without weight alone
    np.testing.assert_array_equal(differences.shares_right(of_one)[:4], [1, np.nan, 0, 1])
    (found,) = differences.differences([of_one, run("B", [0, 2], weight=weight)]).values()
    assert found.interval.difference == pytest.approx(-1 / 39)


def test_picture_has_a_row_for_each_pair():
    runs = [run("A", [0]), run("B", [1, 2], epochs=1), run("C", list(range(20)), epochs=2)]
    found = differences.differences(runs)
    (axis,) = differences.forest(found).axes
    assert ticks(axis) == ["B\nagainst A\n(1 seed)", "C\nagainst A\n(1 seed)"]
    middles = [line.get_xdata()[0] for line in axis.get_lines()[1:-1:2]]
    np.testing.assert_allclose(middles, [-100 / 40, -1900 / 40])


# Segmenters --------------------------------------------------------------------------------------


def segmenter(name, dice, seed=0, threshold=0.3, **fields):
    """A run whose images have these values of hard Dice at its threshold, and none elsewhere."""
    by_threshold = np.zeros((len(IDS), 3))
    by_threshold[:, [0.3, 0.5, 0.7].index(threshold)] = dice
    samples = {
        "val/ids": IDS,
        "val/hard_dice_by_threshold": by_threshold,
        "thresholds": np.array([0.3, 0.5, 0.7]),
    }
    results = {"val": {}, "threshold": threshold}
    return run_of("segmentation", name, results, samples, seed=seed, **fields)


def test_segmenters_are_compared_by_the_dice_of_each_image_at_their_own_thresholds():
    dice = np.linspace(0.2, 0.8, 40)
    runs = [
        segmenter("scratch", dice),
        segmenter("from an encoder", dice + 0.1, threshold=0.7, init_from="runs/a"),
        segmenter("from another", dice + 0.05 * (-1) ** np.arange(40), init_from="runs/b"),
    ]
    found = differences.differences(runs)
    assert list(found) == [
        ("from an encoder", "scratch"),
        ("from another", "scratch"),
        ("from another", "from an encoder"),
    ]
    # The same gain of every image is certain; one that takes turns, within a photograph, is 0.
    np.testing.assert_allclose(found["from an encoder", "scratch"].interval, 0.1)
    np.testing.assert_allclose(found["from another", "scratch"].interval, 0, atol=1e-9)
    (axis,) = differences.forest(found, "segmentation").axes
    assert axis.get_xlabel() == "points of hard Dice"


def test_masks_of_another_kind_are_compared_with_their_own():
    dice, legacy = np.full(40, 0.5), {"data.masks": "legacy_sampled"}
    runs = [
        segmenter("A", dice, epochs=1, **{"data.masks": "nearest"}),
        segmenter("A", dice, epochs=1, **legacy),
        segmenter("B", dice, **{"data.masks": "nearest"}),
        segmenter("B", dice, **legacy),
    ]
    assert list(differences.differences(runs)) == [
        ("B", "A"),
        ("B, legacy, sampled", "A, legacy, sampled"),
    ]


def test_a_softmax_has_no_threshold_and_is_left_out():
    runs = [segmenter("A", 0.5), segmenter("B", 0.6, epochs=1)]
    del runs[1].results["threshold"]
    assert differences.differences(runs) == {}
