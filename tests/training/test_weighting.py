"""Class weights from the training split, against scikit-learn and the formulas."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from vocjax.data import voc
from vocjax.data.classes import VOID
from vocjax.data.dataset import from_arrays
from vocjax.data.splits import select
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.training.loop import completed
from vocjax.training.weighting import Counts, factors_of, notes, with_class_weights

SOFTMAX = "segmentation_fcn"


def test_inverse_frequency_is_scikit_learns_balanced(tiny_config, toy_dir, tmp_path):
    """Of pixels with background; a class that train does not show has 1."""
    config = tiny_config(SOFTMAX, **{"loss.weighting": "inverse_frequency"})
    found = completed(config, tmp_path).loss.class_weights
    prepared = voc.load("toy", toy_dir)
    masks = [
        prepared.examples[int(r)]["mask"] for r in select(prepared.index, config.data, "train")
    ]
    pixels = np.concatenate([mask[mask != VOID] for mask in masks])
    seen = np.unique(pixels)
    weights = compute_class_weight("balanced", classes=seen, y=pixels) * len(seen)
    assert notes(completed(config, tmp_path))[0].split(": ")[1].startswith("background 0.")
    expected = np.ones(21)
    expected[seen] = weights / len(seen)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(make_task(config).baselines) > 0  # the task takes them


def test_effective_number_counts_images(tiny_config):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 3), np.uint8)
    mask = np.zeros((30, 8, 8), np.uint8)
    mask[:10, :2] = 1
    mask[5:8, 4:] = 2
    data = from_arrays({s: {"image": images, "mask": mask} for s in ("train", "val")}, make_mesh())
    config = tiny_config(SOFTMAX, **{"loss.weighting": "effective_number"})
    found = np.array(with_class_weights(config, data).loss.class_weights)

    def effective(n):
        return (1 - 0.999**n) / (1 - 0.999)

    expected = 1 / np.array([effective(n) for n in (30, 10, 3)])
    np.testing.assert_allclose(found[:3] / found[0], expected / expected[0], rtol=1e-4)
    pixels = np.bincount(mask.ravel(), minlength=21)
    assert (pixels * found).sum() / pixels.sum() == pytest.approx(1, rel=1e-4)


def test_questions_weigh_what_is_absent_against_what_is_present(tiny_config, toy_dir, tmp_path):
    config = tiny_config("classifier_256", **{"loss.weighting": "inverse_frequency"})
    config = completed(config, tmp_path)
    prepared = voc.load("toy", toy_dir)
    labels = prepared.index.labels[select(prepared.index, config.data, "train")][:, [0, 11]]
    expected = (labels == -1).sum(axis=0) / (labels == 1).sum(axis=0)
    np.testing.assert_allclose(config.loss.class_weights, expected, rtol=1e-5)
    first, second = config.loss.class_weights
    line = f"class weights of inverse_frequency: aeroplane {first:.4g}, dog {second:.4g}"
    assert notes(config) == [line]
    never = Counts(*(np.array([0.0, 5.0]) for _ in range(4)))
    np.testing.assert_array_equal(factors_of(never, "inverse_frequency", False), [1, 1])
    assert completed(config, tmp_path) == config  # as it is read from a run
    config.loss.class_weights = (1.0, 2.0)
    with pytest.raises(
        UserError, match=r"class_weights is \(1.0, 2.0\), and loss.weighting 'inver"
    ):
        completed(config, tmp_path)
    config.loss.weighting = "frequency"
    with pytest.raises(UserError, match=r"loss.weighting is 'frequency'"):
        completed(config, tmp_path)
