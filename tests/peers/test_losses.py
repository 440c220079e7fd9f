"""Losses of pixels against segmentation_models_pytorch and MONAI, at settings that match.

Values and gradients. What both take as an index of void has weight 0 here. The last tests say where
they differ: on classes without truth, and in what a multi-class focal loss is.
"""

from functools import partial

import jax
import numpy as np
import pytest

from vocjax import losses

torch = pytest.importorskip("torch")
smp = pytest.importorskip("segmentation_models_pytorch.losses")
monai = pytest.importorskip("monai.losses")

SHAPE = (3, 5, 6, 4)
VOID = 255


def draw(classes=SHAPE[-1]):
    """Logits, the index of each pixel's class, every one in every image, and where void is."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (*SHAPE[:3], classes)).astype(np.float32)
    index = rng.integers(0, classes, SHAPE[:3])
    void = rng.random(SHAPE[:3]) < 0.2
    index[:, 0, :classes], void[:, 0] = np.arange(classes), False
    return logits, index, void


def one_hot(index):
    return np.eye(SHAPE[-1], dtype=np.float32)[index]


def marked_index():
    """(one-hot classes, torch's index, in which void is `VOID`)."""
    _, index, void = draw()
    return one_hot(index), torch.from_numpy(np.where(void, VOID, index))


def marked_labels():
    """(labels of overlapping classes, torch's, in which void is `VOID`)."""
    void = draw()[2][..., None]
    target = (np.random.default_rng(1).random(SHAPE) < 0.4).astype(np.float32)
    return target, channels_first(np.where(void, VOID, target).astype(np.float32))


def channels_first(array):
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy())


def assert_same(ours, theirs, target, their_target):
    """Of ours the mean over the batch, of theirs the value, and their gradients."""
    logits, _, void = draw()
    weight = (~void)[..., None].astype(np.float32)
    value, slope = jax.jit(jax.value_and_grad(lambda x: ours(x, target, weight).mean()))(logits)
    x = channels_first(logits).requires_grad_()
    expected = theirs(x, their_target)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(slope, np.moveaxis(x.grad.numpy(), 1, -1), rtol=1e-4, atol=1e-7)
    assert value > 0.1


# Their name, its settings, ours. smp sums over the batch, MONAI over each image unless told
# otherwise; of several classes both take the mean. A smoothing s is Dice's (2 I + s) / (S + s) in
# MONAI and here, half of that in smp; Jaccard's (I + s) / (U + s) in smp and here, twice in MONAI.
SMP = [
    ("DiceLoss", {"smooth": 0.5}, partial(losses.soft_dice, smoothing=1.0)),
    ("JaccardLoss", {"smooth": 1.0}, partial(losses.soft_jaccard, smoothing=1.0)),
    ("TverskyLoss", {"alpha": 0.3, "beta": 0.7}, partial(losses.tversky, alpha=0.3, beta=0.7)),
]
MONAI = [
    ("DiceLoss", {"smooth_nr": 1.0, "smooth_dr": 1.0}, partial(losses.soft_dice, smoothing=1.0)),
    (
        "DiceLoss",
        {"jaccard": True, "smooth_nr": 2.0, "smooth_dr": 2.0},
        partial(losses.soft_jaccard, smoothing=1.0),
    ),
    (
        "TverskyLoss",
        {"alpha": 0.3, "beta": 0.7, "smooth_nr": 0.5, "smooth_dr": 0.5},
        partial(losses.tversky, alpha=0.3, beta=0.7, smoothing=0.5),
    ),
]


@pytest.mark.parametrize(("name", "settings", "ours"), SMP)
def test_overlap_equals_smp(name, settings, ours):
    theirs = partial(getattr(smp, name), ignore_index=VOID, **settings)
    mean = partial(ours, exclusive=True, classes="all")
    assert_same(mean, theirs("multiclass"), *marked_index())
    assert_same(partial(ours, classes="all"), theirs("multilabel"), *marked_labels())
    assert_same(ours, theirs("binary"), *marked_labels())


@pytest.mark.parametrize(("name", "settings", "ours"), MONAI)
@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_overlap_equals_monai(name, settings, ours, reduction):
    target, marked = marked_index()
    how = {"to_onehot_y": True, "batch": reduction == "batch", "ignore_index": VOID}
    theirs = partial(getattr(monai, name), **how, **settings)
    ours = partial(ours, reduction=reduction, classes="all")
    assert_same(ours, theirs(sigmoid=True), target, marked[:, None])
    assert_same(partial(ours, exclusive=True), theirs(softmax=True), target, marked[:, None])


@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_lovasz_equals_smp(reduction):
    theirs = partial(smp.LovaszLoss, per_image=reduction == "image", ignore_index=VOID)
    ours = partial(losses.lovasz, reduction=reduction)
    present = partial(ours, exclusive=True, classes="present")
    assert_same(present, theirs("multiclass"), *marked_index())
    assert_same(ours, theirs("multilabel"), *marked_labels())


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_equals_smp_and_monai(gamma):
    target, marked = marked_index()
    ours = partial(losses.focal, gamma=gamma, reduction="batch")
    # smp's focal loss of exclusive classes is that of sigmoids, each class against the others.
    theirs = smp.FocalLoss("multiclass", gamma=gamma, ignore_index=VOID)
    assert_same(ours, theirs, target, marked)
    theirs = monai.FocalLoss(to_onehot_y=True, gamma=gamma, use_softmax=True, ignore_index=VOID)
    assert_same(partial(ours, exclusive=True), theirs, target, marked[:, None])


def test_a_class_without_truth_is_no_error_to_smp_and_a_full_one_to_monai():
    logits, index, _ = draw()
    target, ones = one_hot(np.where(index == 3, 0, index)), np.ones((*SHAPE[:3], 1), np.float32)
    dice = {c: losses.soft_dice(logits, target, ones, classes=c) for c in ("all", "present")}
    x, t = channels_first(logits), channels_first(target)
    # smp's mean divides the losses of those present by all.
    theirs = smp.DiceLoss("multilabel")(x, t).item()
    np.testing.assert_allclose(dice["present"] * 3 / 4, theirs, rtol=1e-5)
    theirs = monai.DiceLoss(sigmoid=True, batch=True, smooth_nr=0.0)(x, t).item()
    np.testing.assert_allclose(dice["all"], theirs, rtol=1e-5)
    empty = losses.soft_dice(logits, 0 * target, ones)
    np.testing.assert_array_equal(empty, 1)
    assert smp.DiceLoss("binary")(x, 0 * t).item() == 0
    assert monai.DiceLoss(sigmoid=True)(x, 0 * t).item() == pytest.approx(1, abs=1e-5)


def test_empty_truth_and_prediction_are_no_error_to_smp_and_monai_either():
    logits, zeros = torch.full((1, 1, 4, 4), -300.0), np.zeros((1, 4, 4), np.float32)
    for theirs in (smp.DiceLoss("binary"), monai.DiceLoss(sigmoid=True)):
        assert theirs(logits, torch.zeros_like(logits)).item() == 0
    assert losses.soft_dice(zeros - 300, zeros, zeros + 1) == 0
    # Of an empty truth the Lovász hinge is the largest error.
    x = np.linspace(-2, 0.5, 16, dtype=np.float32).reshape(1, 4, 4)
    theirs = smp.LovaszLoss("binary")(torch.from_numpy(x), torch.zeros((1, 4, 4))).item()
    assert theirs == losses.lovasz(x, zeros, zeros + 1) == 1.5
