"""Confusion matrices: counted and added exactly, and read as scikit-learn and Keras read them."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import sklearn.metrics

from vocjax.metrics import confusion, streaming

CLASSES = 6
VOID = 255
ONE, FLAT = jnp.ones((1, 2, 2)), np.zeros((2, 3), int)
THRESHOLDS = np.arange(1, 20) / 20
READINGS = (
    confusion.iou,
    confusion.mean_iou,
    confusion.frequency_weighted_iou,
    confusion.pixel_accuracy,
    confusion.dice,
    confusion.present,
)

on_host = partial(confusion.count_on_host, weight=FLAT + 1, classes=3)
by_threshold_of = partial(confusion.count_by_threshold, ONE, ONE, ONE)
# Jitted, as the training step has them.
count = jax.jit(confusion.count, static_argnames="classes")
add = jax.jit(streaming.add)
hard_dice_per_image = jax.jit(streaming.hard_dice_per_image)


by_threshold, dice_by_threshold = (
    jax.jit(partial(function, thresholds=THRESHOLDS))
    for function in (confusion.count_by_threshold, streaming.hard_dice_by_threshold)
)


def draw_classes(seed=0, shape=(9, 6, 5)):
    """Prediction, truth and weight. 255 is void; of 6 classes 3 is only predicted, 5 nowhere."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 0, 0, 1, 2, 4, VOID], shape)
    prediction = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, 5, shape))
    prediction = np.where(prediction == VOID, rng.integers(0, 5, shape), prediction)
    return prediction, truth, (truth != VOID).astype(np.float32)


def draw_masks(seed=0, shape=(7, 6, 5)):
    """Probabilities, many of them thresholds, a 0 / 1 target, a 0 / 1 weight; NaN where void."""
    rng = np.random.default_rng(seed)
    any_value = rng.random(shape) < 0.5
    probability = np.where(any_value, rng.random(shape), rng.integers(0, 21, shape) / 20)
    target = (rng.random(shape) < 0.4).astype(np.float32)
    weight = (rng.random(shape) < 0.8).astype(np.float32)
    return np.where(weight > 0, probability, np.nan).astype(np.float32), target, weight


def counted(prediction, truth, weight):
    """Truth and prediction where they count, as scikit-learn takes them."""
    return truth[weight > 0], prediction[weight > 0]


@pytest.mark.parametrize("at_once", [7, confusion.AT_ONCE])
def test_counts_on_device_and_host_equal_scikit_learn(at_once, monkeypatch):
    monkeypatch.setattr(confusion, "AT_ONCE", at_once)
    images = draw_classes()
    theirs = sklearn.metrics.confusion_matrix(*counted(*images), labels=range(CLASSES))
    for ours, dtype in ((count, jnp.int32), (confusion.count_on_host, np.int64)):
        counts = ours(*images, CLASSES)
        assert counts.dtype == dtype
        np.testing.assert_array_equal(counts, theirs)


@pytest.mark.parametrize("there", [0, 4, 200, VOID])
def test_void_is_not_counted_whatever_it_holds(there):
    prediction, truth, weight = draw_classes()
    expected = count(prediction, truth, weight, CLASSES)
    others = np.where(weight > 0, prediction, there), np.where(weight > 0, truth, there)
    for ours in (count, confusion.count_on_host):
        np.testing.assert_array_equal(ours(*others, weight, CLASSES), expected)


@pytest.mark.parametrize(("batch_size", "backwards"), [(4, True), (16, False)])
def test_counts_are_the_same_however_the_set_is_cut(batch_size, backwards):
    """Batches in either order, the last one padded with invalid rows."""
    images = draw_classes()
    whole = count(*images, CLASSES)
    merged = np.zeros((CLASSES, CLASSES), jnp.int32)
    starts = range(0, 9, batch_size)
    for start in reversed(starts) if backwards else starts:
        prediction, truth, weight = (x[start : start + batch_size] for x in images)
        padding = [(0, batch_size - len(weight)), (0, 0), (0, 0)]
        rows = [np.pad(x, padding, constant_values=1) for x in (prediction, truth)]
        merged = add(merged, count(*rows, np.pad(weight, padding), CLASSES))
    np.testing.assert_array_equal(merged, whole)
    for read in READINGS:
        np.testing.assert_array_equal(read(merged), read(whole))


def test_counts_beyond_the_integers_of_float32_stay_exact():
    million = np.asarray([[1_000_000_007, 1], [3, 1_000_000_009]], jnp.int32)
    one = np.asarray([[1, 0], [0, 1]], jnp.int32)
    merged = add(million, one)
    np.testing.assert_array_equal(merged, [[1_000_000_008, 1], [3, 1_000_000_010]])
    # In float64, and the sum of all no longer fits into int32 once two such are added.
    twice = np.asarray(merged, np.int64) * 2
    assert confusion.pixel_accuracy(twice) == 4_000_000_036 / 4_000_000_044
    np.testing.assert_array_equal(
        confusion.iou(twice), [1_000_000_008 / 1_000_000_012, 1_000_000_010 / 1_000_000_014]
    )


def test_readings_by_class_equal_scikit_learn():
    images = draw_classes()
    counts, labels = count(*images, CLASSES), range(CLASSES - 1)
    for read, theirs in (
        (confusion.iou, sklearn.metrics.jaccard_score),
        (confusion.dice, sklearn.metrics.f1_score),
    ):
        ours = read(counts)
        assert (ours.dtype, ours.shape) == (np.float64, (CLASSES,))
        expected = theirs(*counted(*images), labels=labels, average=None, zero_division=0)
        np.testing.assert_allclose(ours[:-1], expected, rtol=1e-14)
        assert np.isnan(ours[-1])
        assert ours[3] == 0
    np.testing.assert_array_equal(confusion.present(counts), [True] * 5 + [False])


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # by Keras
def test_readings_over_classes_equal_scikit_learn_and_keras():
    images = draw_classes()
    counts = count(*images, CLASSES)
    pixels, jaccard = counted(*images), sklearn.metrics.jaccard_score
    for read, expected in (
        (confusion.mean_iou, jaccard(*pixels, average="macro")),
        (confusion.frequency_weighted_iou, jaccard(*pixels, average="weighted")),
        (confusion.pixel_accuracy, sklearn.metrics.accuracy_score(*pixels)),
    ):
        assert read(counts) == pytest.approx(expected, rel=1e-14)
    peer = keras.metrics.MeanIoU(num_classes=CLASSES, ignore_class=VOID)
    peer.update_state(images[1], images[0])
    assert confusion.mean_iou(counts) == pytest.approx(float(peer.result()), rel=1e-6)


def test_readings_equal_what_is_counted_by_hand():
    counts = np.asarray([[6, 2, 0, 1], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(confusion.present(counts), [True, True, False, True])
    np.testing.assert_array_equal(confusion.iou(counts), [6 / 10, 3 / 6, np.nan, 0])
    np.testing.assert_array_equal(confusion.dice(counts), [12 / 16, 6 / 9, np.nan, 0])
    assert confusion.mean_iou(counts) == pytest.approx((0.6 + 0.5 + 0) / 3)
    assert confusion.frequency_weighted_iou(counts) == pytest.approx((9 * 0.6 + 4 * 0.5) / 13)
    assert confusion.pixel_accuracy(counts) == pytest.approx(9 / 13)
    np.testing.assert_array_equal(confusion.foreground(counts), [[6, 3], [1, 3]])


def test_merged_foreground_equals_counts_of_merged_masks():
    prediction, truth, weight = draw_classes()
    ours = confusion.foreground(count(prediction, truth, weight, CLASSES))
    merged = (prediction > 0).astype(int), (truth > 0).astype(int), weight
    np.testing.assert_array_equal(ours, count(*merged, 2))
    assert np.issubdtype(ours.dtype, np.integer)


def test_readings_of_nothing_are_nan():
    empty = np.zeros((3, 3), jnp.int32)
    for read in READINGS[:-1]:
        assert np.isnan(read(empty)).all()
    assert not confusion.present(empty).any()


def test_leading_axes_stay():
    counts = np.stack([count(*draw_classes(seed), CLASSES) for seed in range(6)])
    stacked = counts.reshape(2, 3, CLASSES, CLASSES)
    for read in (*READINGS, confusion.foreground):
        expected = np.stack([read(c) for c in counts])
        ours = read(stacked)
        np.testing.assert_array_equal(ours, expected.reshape(2, 3, *expected.shape[1:]))


def test_counts_by_threshold_equal_scikit_learn():
    probability, target, weight = draw_masks()
    ours = by_threshold(probability, target, weight)
    assert (ours.shape, ours.dtype) == ((7, 19, 2, 2), jnp.int32)
    for row, p, t, w in zip(np.asarray(ours), probability, target, weight, strict=True):
        for counts, threshold in zip(row[::4], THRESHOLDS[::4], strict=True):
            theirs = sklearn.metrics.confusion_matrix(
                t[w > 0], p[w > 0] > np.float32(threshold), labels=[0, 1]
            )
            np.testing.assert_array_equal(counts, theirs)


def test_hard_dice_by_threshold_is_hard_dice_at_each():
    """Also of probabilities that are thresholds: they don't exceed them; and of empty masks."""
    images = draw_masks()
    images[1][0], images[2][1] = 0, 0
    images[0][0], images[0][1] = 0, np.nan
    ours = dice_by_threshold(*images)
    assert (ours.shape, ours.dtype) == ((7, 19), jnp.float32)
    assert np.isin(images[0], THRESHOLDS.astype(np.float32)).any()
    for column, threshold in zip(np.asarray(ours).T, THRESHOLDS, strict=True):
        np.testing.assert_array_equal(column, hard_dice_per_image(*images, threshold))


def test_thresholds_take_no_array_of_pixels_by_thresholds():
    thresholds = np.arange(1, 200) / 200
    pixels = jax.ShapeDtypeStruct((2, 20, 20), np.float32)
    program = jax.jit(partial(streaming.hard_dice_by_threshold, thresholds=thresholds))
    memory = program.lower(*[pixels] * 3).compile().memory_analysis()
    assert memory.temp_size_in_bytes < pixels.size * len(thresholds)


EIGHT = """
import jax, numpy as np
from vocjax.metrics import confusion, streaming
from vocjax.mesh import make_mesh, split_by_example

@jax.jit
def sums(probability, prediction, truth, weight):
    target, thresholds = (truth > 0).astype(np.float32), np.arange(1, 100) / 100
    foreground = probability, target, weight
    return {
        "confusion": confusion.count(prediction, truth, weight, 5),
        "by_threshold": confusion.count_by_threshold(*foreground, thresholds).sum(axis=0),
        "dice": streaming.hard_dice_by_threshold(*foreground, thresholds),
    }

rng, shape = np.random.default_rng(0), (16, 6, 5)
images = (
    rng.random(shape, np.float32), rng.integers(0, 5, shape), rng.integers(0, 5, shape),
    (rng.random(shape) < 0.8).astype(np.float32),
)
split = jax.device_put(images, split_by_example(make_mesh()))
assert all(x.sharding.num_devices == 8 and len(x.addressable_shards) == 8 for x in split)
jax.tree.map(np.testing.assert_array_equal, sums(*split), sums(*images))
"""


def test_eight_devices_count_as_one():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    process = subprocess.run(
        [sys.executable, "-c", EIGHT],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count(FLAT, FLAT, np.ones((2, 1)), 4), "must be alike"),
        (lambda: by_threshold(FLAT, FLAT, np.ones((2, 1))), "must be alike"),
        (lambda: confusion.count_on_host(FLAT, FLAT, np.ones((2, 1)), 4), "must be alike"),
        (lambda: on_host(FLAT, FLAT + 3), "the truth holds 3 to 3: expected 0 to 2"),
        (lambda: on_host(FLAT + 4, FLAT), "the prediction holds 4 to 4"),
        (lambda: on_host(FLAT - 1, FLAT), "the prediction holds -1 to -1"),
        (lambda: by_threshold_of(np.array([2, 1])), r"\[2 1\] must ascend"),
        (lambda: confusion.iou(np.zeros((2, 3), int)), r"counts \(2, 3\) are no confusion matrix"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
