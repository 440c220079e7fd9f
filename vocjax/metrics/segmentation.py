"""Segmentation metrics at the images' original size, as VOC has them: NumPy on the host.

`prediction` and `truth` [height, width] are integers, the classes of an image's pixels; 0 is the
background. 255 in `truth` is void and never counted. Shapes that do not fit are a `ValueError`.
SciPy is imported inside the functions because its import takes a second.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

VOID = 255
SCORES_AT_ONCE = 2**22  # 16 MiB; an image of VOC with 21 classes is one band


def resized_bands(
    scores: np.ndarray, height: int, width: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Resize scores [h, w, K] to [height, width, K] float32, a band of rows at a time.

    Yields the rows of each band and its scores [rows, width, K], so that memory does not grow with
    the classes of a large photo. Bilinear with half-pixel centres: output pixel i is at
    (i + 1/2) h / height - 1/2 of the input; beyond the centres of the outer pixels their values are
    repeated. Along an axis that shrinks, the triangle is as wide as the output's pixels
    (antialiasing). `jax.image.resize` does the same with float32 coordinates.
    """
    h, w, classes = scores.shape
    columns = np.ascontiguousarray(np.moveaxis(scores, -1, 0), np.float32)
    planes = [Image.fromarray(plane) for plane in columns]
    step = max(1, SCORES_AT_ONCE // (width * classes))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        box = (0, top * h / height, w, bottom * h / height)  # Pillow also looks beyond it
        resized = [p.resize((width, bottom - top), Image.Resampling.BILINEAR, box) for p in planes]
        yield slice(top, bottom), np.moveaxis(np.stack(list(map(np.asarray, resized))), 0, -1)


def hard_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice of an image's foreground, all classes merged, in [0, 1]; 1 where neither has any."""
    _check_alike(prediction, truth)
    counted = truth != VOID
    true, predicted = (truth > 0) & counted, (prediction > 0) & counted
    total = np.count_nonzero(true) + np.count_nonzero(predicted)
    return float(2 * np.count_nonzero(true & predicted) / total) if total else 1.0


def boundary_f_score(prediction: np.ndarray, truth: np.ndarray, tolerance: float = 0.0075) -> float:
    """Mean over an image's classes of F = 2 P R / (P + R) of their boundaries' pixels, in [0, 1].

    The boundary of a class is its pixels with a neighbour (left, right, above, below) of another
    class; the image's frame is no boundary. P is the share of predicted boundary pixels that have a
    true one within `tolerance` times the image's diagonal, R the share of true ones that have a
    predicted one there (Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", 2013).

    VOC surrounds objects by void, so that no two classes touch: void first takes the class of the
    nearest labelled pixel. The boundary in the middle of the void counts as true, but predicted
    boundary pixels in void that match nothing are not counted.

    The classes are those of truth or prediction at labelled pixels, without background. A class
    that only one of them has scores 0, one that fills the frame in both, and so has no boundary, 1.
    The result is 1 where both have background only, or where all is void.
    """
    from scipy import ndimage

    _check_alike(prediction, truth)
    labelled = truth != VOID
    in_prediction, in_truth = (
        set(np.unique(classes[labelled]).tolist()) - {0} for classes in (prediction, truth)
    )
    if not in_prediction | in_truth:
        return 1.0
    if not in_prediction & in_truth:
        return 0.0
    filled = truth.copy()
    if not labelled.all():  # void has the class of the nearest labelled pixel
        nearest = ndimage.distance_transform_edt(
            ~labelled, return_distances=False, return_indices=True
        )
        filled[~labelled] = truth[tuple(nearest[:, ~labelled])]
    predicted, true = _boundary(prediction), _boundary(filled)
    distance = tolerance * np.hypot(*truth.shape)
    scores = [
        _f_score(predicted & (prediction == index), true & (filled == index), labelled, distance)
        for index in in_prediction & in_truth
    ]
    return sum(scores) / len(in_prediction | in_truth)


def _boundary(classes: np.ndarray) -> np.ndarray:
    """Return which pixels have a neighbour of another class, bool [height, width]."""
    boundary = np.zeros(classes.shape, bool)
    for ours, view in ((classes, boundary), (classes.T, boundary.T)):
        differ = ours[1:] != ours[:-1]
        view[1:] |= differ
        view[:-1] |= differ
    return boundary


def _f_score(
    predicted: np.ndarray, true: np.ndarray, labelled: np.ndarray, distance: float
) -> float:
    """F of one class's boundaries, bool [height, width], matched within a distance in pixels."""
    predicted_points, true_points = np.argwhere(predicted), np.argwhere(true)
    matched = _near(predicted_points, true_points, distance)
    precision = _share(matched[matched | labelled[predicted]])
    recall = _share(_near(true_points, predicted_points, distance))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(points: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Return which points [n, 2] have one of the others [m, 2] within a distance, bool [n]."""
    from scipy.spatial import KDTree

    if not len(others):
        return np.zeros(len(points), bool)
    return KDTree(others).query(points)[0] <= distance


def _share(found: np.ndarray) -> float:
    return float(found.mean()) if found.size else 1.0


def _check_alike(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape or prediction.ndim != 2:
        raise ValueError(
            f"prediction {prediction.shape} and truth {truth.shape} must be [height, width] alike"
        )
