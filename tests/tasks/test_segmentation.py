"""Task 3: losses and metrics without the void, the all-foreground baseline, against NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.data.devkit import VOID
from vocjax.data.pipeline import resize_mask
from vocjax.data.splits import select
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.tasks.segmentation import describe

STUDY = "segmentation_dice"
LOSSES = {
    "bce": {"loss.name": "binary_cross_entropy"},
    "dice of the batch": {"loss.name": "soft_dice", "loss.reduction": "batch"},
    "dice of each image, smoothed": {
        "loss.name": "soft_dice",
        "loss.reduction": "image",
        "loss.smoothing": 1.0,
    },
}


def draw(n=4, size=6, seed=0):
    """Outputs and a batch; one mask in four is empty but for void."""
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 0, 1, 20, VOID], np.uint8), (n, size, size))
    mask[3::4] = rng.choice(np.array([0, VOID], np.uint8), (size, size))
    logits = 3 * rng.standard_normal((n, size, size)).astype(np.float32)
    batch = {
        "image": jnp.asarray(rng.random((n, size, size, 1)), jnp.float32),
        "mask": jnp.asarray(mask),
        "labels": jnp.ones((n, 20), jnp.int8),
        "valid": jnp.ones(n),
    }
    return {"logits": jnp.asarray(logits), "code": jnp.zeros((n, 2))}, batch


def counted_pixels(outputs, batch):
    """For each image the (probability, truth) of the pixels that aren't void, float64."""
    for logits, mask in zip(outputs["logits"], batch["mask"], strict=True):
        inside = np.asarray(mask) != VOID
        probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)[inside]))
        yield probability, (np.asarray(mask)[inside] > 0).astype(np.float64)


def dice(p, t, smoothing=0.0):
    total = p.sum() + t.sum() + smoothing
    return (2 * (p * t).sum() + smoothing) / total if total else 1.0


@pytest.fixture
def task(tiny_config):
    return make_task(tiny_config(STUDY))


@pytest.fixture
def task_with(tiny_config):
    return lambda name: make_task(tiny_config(STUDY, **LOSSES[name]))


@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_numpys(task_with, name):
    outputs, batch = draw()
    pixels = list(counted_pixels(outputs, batch))
    every_p, every_t = (np.concatenate(part) for part in zip(*pixels, strict=True))
    expected = {
        "bce": [-np.mean(t * np.log(p) + (1 - t) * np.log1p(-p)) for p, t in pixels],
        "dice of the batch": [1 - dice(every_p, every_t)] * len(pixels),
        "dice of each image, smoothed": [1 - dice(p, t, 1.0) for p, t in pixels],
    }[name]
    loss = task_with(name).loss(outputs, batch)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_metrics_equal_numpys(task, measured):
    outputs, batch = draw()
    pixels = list(counted_pixels(outputs, batch))
    soft = np.array([dice(p, t) for p, t in pixels])
    hard = np.array([dice((p > 0.5).astype(float), t) for p, t in pixels])
    p, t = (np.concatenate(part) for part in zip(*pixels, strict=True))
    decided, truth = p > 0.5, t > 0
    assert measured(task, outputs, batch) == pytest.approx(
        {
            "soft_dice": soft.mean(),
            "soft_iou": (soft / (2 - soft)).mean(),  # of each image, then averaged
            "hard_dice": hard.mean(),
            "iou": (decided & truth).sum() / (decided | truth).sum(),
            "pixel_accuracy": (decided == truth).mean(),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("there", [100.0, -100.0, np.nan])
def test_void_pixels_change_nothing(task_with, measured, name, there):
    task, (outputs, batch) = task_with(name), draw()
    others = outputs | {"logits": jnp.where(batch["mask"] == VOID, there, outputs["logits"])}
    np.testing.assert_array_equal(task.loss(others, batch), task.loss(outputs, batch))
    assert measured(task, others, batch) == measured(task, outputs, batch)
    gradient = jax.grad(lambda x: task.loss({"logits": x}, batch).sum())(others["logits"])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[np.asarray(batch["mask"]) == VOID] == 0)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_changes_nothing(task_with, measured, padded, name):
    task, (outputs, batch) = task_with(name), draw()
    wider = padded(outputs, batch)
    np.testing.assert_allclose(task.loss(*wider)[:4], task.loss(outputs, batch), rtol=1e-6)
    assert measured(task, *wider) == pytest.approx(measured(task, outputs, batch), rel=1e-6)


def test_all_foreground_scores_the_foreground_share(task, padded, baseline_measured):
    _, batch = draw(n=6)
    (_, wider) = padded({}, batch)
    mask = np.asarray(batch["mask"])
    share = (mask[mask != VOID] > 0).mean()
    values = baseline_measured(task, "all foreground", [wider], [wider])
    assert values["iou"] == pytest.approx(share, rel=1e-6)
    assert values["pixel_accuracy"] == pytest.approx(share, rel=1e-6)
    shares = np.array([(one[one != VOID] > 0).mean() for one in mask])
    # An image's Dice of all foreground is 2 s / (1 + s), its IoU the share s itself.
    assert values["soft_iou"] == pytest.approx(shares.mean(), rel=1e-6)
    assert values["soft_dice"] == values["hard_dice"]
    assert values["soft_dice"] == pytest.approx((2 * shares / (1 + shares)).mean(), rel=1e-6)


def test_a_run_measures_all_foreground_on_its_masks(finished_run, toy_dir):
    prepared = voc.load("toy", toy_dir)
    results = json.loads((finished_run(STUDY) / "results.json").read_text())
    for split in ("train", "val"):
        rows = select(prepared.index, "Segmentation", split)
        masks = [resize_mask(prepared.examples[int(row)]["mask"][..., 0], 16) for row in rows]
        mask = np.stack(masks)
        share = (mask[mask != VOID] > 0).mean()
        assert results["baselines"]["all foreground"][split]["iou"] == pytest.approx(share)


def test_keep_gives_dice_of_every_image(task, measured):
    outputs, batch = draw()
    every, some = task.keep(outputs, batch)
    expected = measured(task, outputs, batch)["soft_dice"]
    assert np.mean(every["soft_dice"]) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(some["mask"], batch["mask"])
    np.testing.assert_allclose(some["probability"], jax.nn.sigmoid(outputs["logits"]))


def test_describe_paints_the_photo_at_its_own_size():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (30, 44, 3), np.uint8)
    logits = np.full((8, 8), -800, np.float32)  # no overflow
    logits[:, :4] = 9  # the left half
    numbers, picture = describe({"logits": logits}, np.zeros((8, 8, 1)), photo, {})
    assert (picture.shape, picture.dtype) == (photo.shape, np.uint8)
    assert numbers == {"foreground": 0.5}
    assert np.any(picture[:, :20] != photo[:, :20])
    np.testing.assert_array_equal(picture[:, 24:], photo[:, 24:])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.image_set": "Main"}, "image_set is 'Main'; segmentation needs Segmentation"),
        ({"loss.name": "hinge"}, "loss.name is 'hinge'; it is one of binary_cross_entropy, soft_d"),
        ({"model.name": "unet"}, "model.name is 'unet'; segmentation has segmenter"),
        ({"model.decoder": (4, 4, 4)}, "has 3 widths; an encoder of 3 halves .* takes 2"),
        ({"model.encoder": (4, 0, 4)}, r"model.encoder is \(4, 0, 4\); it is a tuple of positive"),
        ({"model.dropout": 1.0}, r"model.dropout is 1.0; it must be in \[0, 1\)"),
        ({"loss.smoothing": -1.0}, "loss.smoothing is -1.0; it must be at least 0"),
        ({"data.size": 6}, "data.size=6 can't be halved 2 times; .* are 4 or 8"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(STUDY, **overrides))


def test_an_unknown_reduction_is_named(tiny_config):
    task = make_task(tiny_config(STUDY, **{"loss.reduction": "pixel"}))
    with pytest.raises(UserError, match="'pixel' of the soft Dice loss: expected 'batch'"):
        task.loss(*draw())
