"""Scores at the images' own size: against loops, jax.image, scikit-learn and scikit-image."""

import jax
import numpy as np
import pytest
import sklearn.metrics
from scipy.spatial.distance import cdist
from scipy.stats import hmean
from skimage.segmentation import find_boundaries

from vocjax.metrics import streaming
from vocjax.metrics.segmentation import boundary_f_score, hard_dice, resized_bands

VOID = 255
LARGER = [((5, 7), (11, 30)), ((4, 4), (4, 9)), ((1, 1), (3, 2)), ((6, 3), (6, 3))]
SIZES = [*LARGER, ((11, 30), (5, 7)), ((9, 4), (3, 10))]


def draw(seed=0, shape=(30, 40), classes=5, void=0.1):
    """Prediction and truth; the last class is only predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, classes, shape))
    truth[rng.random(shape) < void] = VOID
    return prediction.astype(np.uint8), truth


def draw_blobs(seed, shape=(25, 30), classes=4):
    """Classes in blobs, some of which touch each other and the frame."""
    scores = np.random.default_rng(seed).normal(size=(4, 5, classes))
    ((_, whole),) = resized_bands(scores, *shape)
    return whole.argmax(axis=-1).astype(np.uint8)


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize(("size", "other"), SIZES)
def test_resized_scores_equal_jax_in_bands_of_any_height(size, other, rows, monkeypatch):
    """Also where an axis or both shrink: both widen the triangle then."""
    monkeypatch.setattr("vocjax.metrics.segmentation.SCORES_AT_ONCE", rows * other[1] * 3 + 1)
    scores = np.random.default_rng(0).normal(size=(*size, 3)).astype(np.float32)
    bands = list(resized_bands(scores, *other))
    assert [band.stop - band.start for band, _ in bands[:-1]] == [rows] * (len(bands) - 1)
    ours = np.concatenate([of_band for _, of_band in bands])
    assert (ours.shape, ours.dtype) == ((*other, 3), np.float32)
    theirs = jax.image.resize(scores, (*other, 3), "bilinear")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)  # its coordinates are float32


def test_hard_dice_equals_scikit_learn_and_that_of_the_batches():
    prediction, truth = draw()
    weight = (truth != VOID).astype(np.float32)
    foreground, ours = (truth > 0).astype(np.float32), hard_dice(prediction, truth)
    expected = sklearn.metrics.f1_score(foreground[weight > 0], prediction[weight > 0] > 0)
    assert ours == pytest.approx(expected, rel=1e-14)
    assert ours == hard_dice(prediction > 0, truth)
    assert ours == hard_dice(np.where(truth == VOID, 250, prediction), truth)
    batch = ((prediction > 0).astype(np.float32), foreground, weight)
    theirs = jax.jit(streaming.hard_dice_per_image)(*(x[None] for x in batch), 0.5)
    assert ours == pytest.approx(float(theirs[0]), rel=1e-6)


def test_hard_dice_of_empty_masks():
    empty, full = np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)
    assert hard_dice(empty, empty) == hard_dice(full, np.full_like(full, VOID)) == 1
    assert hard_dice(full, empty) == hard_dice(empty, full) == 0


def reference(prediction, truth, filled, tolerance):
    """The same F score from all pairs of boundary pixels, found by scikit-image."""
    distance, scores = tolerance * np.hypot(*truth.shape), []
    for index in range(1, 250):
        shown = [np.any(c[truth != VOID] == index) for c in (prediction, truth)]
        if not any(shown):
            continue
        p, t = (
            find_boundaries(classes == index, connectivity=1, mode="inner")
            for classes in (prediction, filled)
        )
        if not (all(shown) and p.any() and t.any()):
            scores.append(float(all(shown) and p.any() == t.any()))
            continue
        near = cdist(np.argwhere(p), np.argwhere(t)) <= distance
        counted = near.any(axis=1) | (truth[p] != VOID)
        precision = near.any(axis=1)[counted].mean() if counted.any() else 1.0
        recall = near.any(axis=0).mean()
        scores.append(hmean([precision, recall]))
    return np.mean(scores) if scores else 1.0


def fill(truth):
    """Void by the nearest labelled pixels' class; the pixels where those disagree."""
    labelled = np.argwhere(truth != VOID)
    filled, tied = truth.copy(), np.zeros(truth.shape, bool)
    for place in np.argwhere(truth == VOID):
        squares = np.sum((labelled - place) ** 2, axis=1)
        found = {int(truth[tuple(i)]) for i in labelled[squares == squares.min()]}
        filled[tuple(place)], tied[tuple(place)] = min(found), len(found) > 1
    return filled, tied


@pytest.mark.parametrize(("seed", "tolerance"), [(0, 0.0075), (1, 0.03), (2, 0.06), (3, 0.2)])
def test_boundary_f_score_equals_all_pairs(seed, tolerance):
    prediction, truth = draw_blobs(seed), draw_blobs(seed + 10)
    ours = boundary_f_score(prediction, truth, tolerance)
    assert isinstance(ours, float)
    assert ours == pytest.approx(reference(prediction, truth, truth, tolerance), rel=1e-12)
    assert 0 < ours < 1


@pytest.mark.parametrize("seed", range(4))
def test_boundary_f_score_equals_all_pairs_with_void(seed):
    """Void around the objects and in a block; labelled where it could be filled in two ways."""
    prediction, whole = draw_blobs(seed), draw_blobs(seed + 10)
    truth = whole.copy()
    truth[find_boundaries(whole, mode="thick")] = VOID
    truth[5:12, 8:20] = VOID
    filled, tied = fill(truth)
    while tied.any():
        truth[tied] = filled[tied]
        filled, tied = fill(truth)
    assert np.mean(truth == VOID) > 0.1
    ours = boundary_f_score(prediction, truth, 0.03)
    assert ours == pytest.approx(reference(prediction, truth, filled, 0.03), rel=1e-12)
    assert ours != pytest.approx(boundary_f_score(prediction, filled, 0.03))


def square(top=100, left=100, index=1, side=80):
    """A square in 300 x 400, whose diagonal is 500: the tolerance is 3.75 pixels."""
    mask = np.zeros((300, 400), np.uint8)
    mask[top : top + side, left : left + side] = index
    return mask


def test_a_shift_within_the_tolerance_costs_nothing():
    assert boundary_f_score(square(), square()) == 1
    assert boundary_f_score(square(left=103), square()) == 1
    # Two sides of 80 pixels each are 4 away, but for their ends.
    assert 0.4 < boundary_f_score(square(left=104), square()) < 0.6
    assert boundary_f_score(square(left=104), square(), tolerance=4 / 500) == 1
    assert boundary_f_score(square(left=250), square()) == 0


def test_the_mean_is_over_classes_and_leaves_out_the_background():
    both = square() + square(top=10, left=300, index=7)
    assert boundary_f_score(square(), both) == 0.5  # class 7 was missed
    assert boundary_f_score(both, square()) == 0.5  # it isn't there
    assert boundary_f_score(np.where(both == 7, 9, both), both) == pytest.approx(1 / 3)


def test_boundary_f_score_where_something_is_empty():
    empty, full = np.zeros((300, 400), np.uint8), np.ones((300, 400), np.uint8)
    assert boundary_f_score(empty, empty) == 1
    assert boundary_f_score(square(), empty) == boundary_f_score(empty, square()) == 0
    # The frame is no boundary: a class that fills it has none.
    assert boundary_f_score(full, full) == 1
    assert boundary_f_score(full, empty) == boundary_f_score(empty, full) == 0
    assert boundary_f_score(full, square()) == boundary_f_score(square(), full) == 0
    assert boundary_f_score(square(), np.full_like(empty, VOID)) == 1


def banded(width):
    """A square whose outermost `width` pixels are void, on both sides of its edge."""
    truth = square()
    inner = square(100 + width, 100 + width, side=80 - 2 * width)
    outer = square(100 - width, 100 - width, side=80 + 2 * width)
    truth[(outer == 1) & (inner == 0)] = VOID
    return truth


def test_void_between_classes_is_split_in_the_middle():
    truth = banded(12)
    assert boundary_f_score(square(), truth) == 1
    # At the band's outer edge everything predicted is forgiven, and nothing true is found.
    grown = square(88, 88, side=104)
    assert boundary_f_score(grown, truth) == 0
    assert boundary_f_score(np.where(truth == VOID, 0, square()), truth) < 0.05


def test_predicted_boundaries_in_void_count_only_where_they_match():
    truth = square()
    truth[200:260, 250:350] = VOID
    inside = square() | square(210, 270, side=40)
    assert boundary_f_score(inside, truth) == 1
    assert boundary_f_score(inside, square()) < 0.9
    # A class that is predicted nowhere but in void isn't shown.
    assert boundary_f_score(np.maximum(square(), square(210, 270, 5, 40)), truth) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hard_dice(np.zeros((4, 4)), np.zeros((4, 5))), r"\(4, 4\) and truth"),
        (lambda: hard_dice(np.zeros(4, int), np.zeros(4, int)), r"must be \[height, width\] alike"),
        (lambda: boundary_f_score(np.zeros((4, 4), int), np.zeros((2, 8), int)), "alike"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
