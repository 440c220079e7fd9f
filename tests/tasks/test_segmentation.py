"""Task 3: losses and metrics without the void, the all-foreground baseline, against NumPy."""

import functools
import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.data.classes import VOID
from vocjax.data.pipeline import resize_mask
from vocjax.data.splits import select
from vocjax.errors import UserError
from vocjax.metrics import streaming
from vocjax.tasks import make_task
from vocjax.tasks.segmentation import describe
from vocjax.tasks.segmentation_eval import THRESHOLDS

STUDY = "segmentation_dice"
LOSSES = {
    "bce": {"loss.name": "cross_entropy", "loss.reduction": "image"},
    "dice of the batch": {"loss.name": "soft_dice", "loss.reduction": "batch"},
    "dice of each image, smoothed": {
        "loss.name": "soft_dice",
        "loss.reduction": "image",
        "loss.smoothing": 1.0,
    },
}
# At the end of a run masks of the images' own size are scored; hand-made batches have none.
CLASSES = {"model.target": "softmax", "data.classes": ("aeroplane", "tvmonitor")}


def draw(n=4, size=6, seed=0, outputs=1):
    """Outputs and a batch; one mask in four is empty but for void."""
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 0, 1, 20, VOID], np.uint8), (n, size, size))
    mask[3::4] = rng.choice(np.array([0, VOID], np.uint8), (size, size))
    logits = 3 * rng.standard_normal((n, size, size, outputs)).astype(np.float32)
    batch = {
        "image": jnp.asarray(rng.random((n, size, size, 1)), jnp.float32),
        "mask": jnp.asarray(mask),
        "labels": jnp.ones((n, 20), jnp.int8),
        "valid": jnp.ones(n),
    }
    return {"logits": jnp.asarray(logits), "code": jnp.zeros((n, 2))}, batch


def counted_pixels(outputs, batch):
    """For each image the (probability, truth) of the pixels that aren't void, float64."""
    for logits, mask in zip(outputs["logits"][..., 0], batch["mask"], strict=True):
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
def test_loss_equals_numpys(task_with, name, loss_of):
    outputs, batch = draw()
    pixels = list(counted_pixels(outputs, batch))
    every_p, every_t = (np.concatenate(part) for part in zip(*pixels, strict=True))
    expected = {
        "bce": [-np.mean(t * np.log(p) + (1 - t) * np.log1p(-p)) for p, t in pixels],
        "dice of the batch": [1 - dice(every_p, every_t)] * len(pixels),
        "dice of each image, smoothed": [1 - dice(p, t, 1.0) for p, t in pixels],
    }[name]
    loss = loss_of(task_with(name), outputs, batch)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_metrics_equal_numpys(task, measured):
    outputs, batch = draw()
    pixels = list(counted_pixels(outputs, batch))
    soft = np.array([dice(p, t) for p, t in pixels])
    hard = np.array([dice((p > 0.5).astype(float), t) for p, t in pixels])
    p, t = (np.concatenate(part) for part in zip(*pixels, strict=True))
    decided, truth = p > 0.5, t > 0
    ious = [(d & t).sum() / (d | t).sum() for d, t in ((~decided, ~truth), (decided, truth))]
    assert measured(task, outputs, batch) == pytest.approx(
        {
            "soft_dice_per_image": soft.mean(),
            "soft_iou_per_image": (soft / (2 - soft)).mean(),  # of each image, then averaged
            "hard_dice_per_image": hard.mean(),
            "soft_dice_of_set": dice(p, t),
            "hard_dice_of_set": dice(decided.astype(float), t),
            "iou_of_set": ious[1],
            "mean_iou": np.mean(ious),
            "frequency_weighted_iou": ious[0] * (~truth).mean() + ious[1] * truth.mean(),
            "pixel_accuracy": (decided == truth).mean(),
        },
        rel=1e-5,
    )


def test_metrics_of_classes_equal_numpys(tiny_config, measured):
    task, (outputs, batch) = make_task(tiny_config(STUDY, **CLASSES)), draw(outputs=3)
    mask = np.asarray(batch["mask"])
    truth, decided = np.select([mask == 1, mask == 20], [1, 2]), np.argmax(outputs["logits"], -1)
    truth, decided = truth[mask != VOID], decided[mask != VOID]
    pairs = [((decided == k), (truth == k)) for k in range(3)]
    ious = [(d & t).sum() / (d | t).sum() for d, t in pairs]
    values = measured(task, outputs, batch)
    assert values["mean_iou"] == pytest.approx(np.mean(ious))
    assert values["pixel_accuracy"] == pytest.approx((truth == decided).mean())
    assert values["frequency_weighted_iou"] == pytest.approx(
        sum(iou * (truth == k).mean() for k, iou in enumerate(ious))
    )
    both, either = (decided > 0) & (truth > 0), (decided > 0) | (truth > 0)
    assert values["iou_of_set"] == pytest.approx(both.sum() / either.sum())


def test_metrics_are_the_same_whatever_the_batch_size(task, measures, measured):
    outputs, batch = draw(n=6)
    whole = measured(task, outputs, batch)
    for size in (1, 4):
        parts = [
            measures(
                task, *jax.tree.map(operator.itemgetter(slice(i, i + size)), (outputs, batch))
            ).sums
            for i in range(0, 6, size)
        ]
        total = functools.reduce(streaming.add, parts)
        assert task.summary(jax.device_get(total), {}) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("there", [100.0, -100.0, np.nan])
def test_void_pixels_change_nothing(task_with, measured, name, there, loss_of):
    task, (outputs, batch) = task_with(name), draw()
    void = (batch["mask"] == VOID)[..., None]
    others = outputs | {"logits": jnp.where(void, there, outputs["logits"])}
    np.testing.assert_array_equal(loss_of(task, others, batch), loss_of(task, outputs, batch))
    assert measured(task, others, batch) == measured(task, outputs, batch)
    gradient = jax.grad(lambda x: loss_of(task, {"logits": x}, batch).sum())(others["logits"])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[np.asarray(void)] == 0)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_changes_nothing(task_with, measured, padded, name, loss_of):
    task, (outputs, batch) = task_with(name), draw()
    wider = padded(outputs, batch)
    np.testing.assert_allclose(loss_of(task, *wider)[:4], loss_of(task, outputs, batch), rtol=1e-6)
    assert measured(task, *wider) == pytest.approx(measured(task, outputs, batch), rel=1e-6)


def test_all_foreground_scores_the_foreground_share(task, padded, baseline_measured):
    _, batch = draw(n=6)
    (_, wider) = padded({}, batch)
    mask = np.asarray(batch["mask"])
    share = (mask[mask != VOID] > 0).mean()
    values = baseline_measured(task, "all foreground", [wider], [wider])
    assert values["iou_of_set"] == pytest.approx(share, rel=1e-6)
    assert values["pixel_accuracy"] == pytest.approx(share, rel=1e-6)
    shares = np.array([(one[one != VOID] > 0).mean() for one in mask])
    # An image's Dice of all foreground is 2 s / (1 + s), its IoU the share s itself.
    assert values["soft_iou_per_image"] == pytest.approx(shares.mean(), rel=1e-6)
    assert values["soft_dice_per_image"] == values["hard_dice_per_image"]
    assert values["soft_dice_per_image"] == pytest.approx(
        (2 * shares / (1 + shares)).mean(), rel=1e-6
    )


def test_one_mask_for_all_is_where_training_objects_stand(task, baseline_measured):
    _, train = draw(n=6)
    _, val = draw(n=3, seed=1)
    masks = np.asarray(train["mask"])
    counted, shown = masks != VOID, (masks > 0) & (masks != VOID)
    share = shown.sum(axis=0) / np.maximum(counted.sum(axis=0), 1)

    def dice(prediction, mask):
        seen, there = mask != VOID, (mask > 0) & (mask != VOID)
        total = (prediction & seen).sum() + there.sum()
        return 2 * (prediction & there).sum() / total if total else 1.0

    of_cut = [np.mean([dice(share > t / 100, mask) for mask in masks]) for t in range(1, 100)]
    best = share > (1 + int(np.argmax(of_cut))) / 100
    assert not best.all() and best.any()
    for batch in (train, val):
        values = baseline_measured(task, "one mask for all", [train], [batch])
        expected = np.mean([dice(best, mask) for mask in np.asarray(batch["mask"])])
        assert values["hard_dice_per_image"] == pytest.approx(expected, rel=1e-6)
        assert values["soft_dice_per_image"] == pytest.approx(expected, rel=1e-6)


def test_a_run_measures_all_foreground_on_its_masks(tiny_config, finished_run, toy_dir):
    prepared, data = voc.load("toy", toy_dir), tiny_config(STUDY).data
    results = json.loads((finished_run(STUDY) / "results.json").read_text())
    for split in ("train", "val"):
        rows = select(prepared.index, data, split)
        masks = [resize_mask(prepared.examples[int(row)]["mask"][..., 0], 16) for row in rows]
        mask = np.stack(masks)
        share = (mask[mask != VOID] > 0).mean()
        assert results["baselines"]["all foreground"][split]["iou_of_set"] == pytest.approx(share)


def test_all_background_scores_the_backgrounds_share(task, baseline_measured):
    _, batch = draw(n=6)
    mask = np.asarray(batch["mask"])
    share = (mask[mask != VOID] == 0).mean()
    values = baseline_measured(task, "all background", [batch], [batch])
    assert values["pixel_accuracy"] == pytest.approx(share, rel=1e-6)
    assert values["mean_iou"] == pytest.approx(share / 2, rel=1e-6)
    assert values["hard_dice_of_set"] == 0


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_of_classes_the_baseline_is_background(tiny_config, baseline_measured, kind):
    task, (_, batch) = make_task(tiny_config(STUDY, **CLASSES | {"model.target": kind})), draw()
    assert list(task.baselines) == ["all background"]
    mask = np.asarray(batch["mask"])
    truth = np.select([mask == 1, mask == 20], [1, 2])[mask != VOID]
    values = baseline_measured(task, "all background", [batch], [batch])
    # Two classes of the three are never predicted.
    assert values["mean_iou"] == pytest.approx((truth == 0).mean() / 3, rel=1e-6)


def test_keep_gives_dice_of_every_image(task, measured, measures):
    outputs, batch = draw()
    _, _, every, some = measures(task, outputs, batch)
    expected = measured(task, outputs, batch)
    soft = np.mean(every["soft_dice_per_image"])
    assert soft == pytest.approx(expected["soft_dice_per_image"], rel=1e-6)
    hard = every["hard_dice_by_threshold"].mean(axis=0)[np.searchsorted(THRESHOLDS, 0.5)]
    assert hard == pytest.approx(expected["hard_dice_per_image"], rel=1e-6)
    void = batch["mask"] == VOID
    np.testing.assert_array_equal(some["mask"], np.where(void, VOID, batch["mask"] > 0))
    np.testing.assert_allclose(some["probability"], jax.nn.sigmoid(outputs["logits"][..., 0]))


@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_an_image_that_is_all_void_changes_nothing(tiny_config, measured, reduction, mean_loss_of):
    task = make_task(tiny_config(STUDY, **{"loss.reduction": reduction}))
    outputs, batch = draw(n=3)
    mask = np.array(batch["mask"])
    mask[1] = VOID
    void, rows = batch | {"mask": jnp.asarray(mask)}, np.array([0, 2])
    alone = {name: array[rows] for name, array in batch.items()}
    few = {name: array[rows] for name, array in outputs.items()}
    expected = measured(task, few, alone)
    for name, value in measured(task, outputs, void).items():
        assert value == pytest.approx(expected[name], rel=1e-5), name
    loss = mean_loss_of(task, outputs, void)
    assert loss == pytest.approx(mean_loss_of(task, few, alone))


def test_describe_paints_the_photo_at_its_own_size(tiny_config):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (30, 44, 3), np.uint8)
    logits = np.full((8, 8, 1), -800, np.float32)  # no overflow
    logits[:, :4] = 9  # the left half
    config = tiny_config(STUDY)
    numbers, pictures = describe({"logits": logits}, np.zeros((8, 8, 1)), photo, config, {})
    assert numbers == {"background": 0.5, "foreground": 0.5}
    whole, mask = np.asarray(pictures[""]), pictures["_mask"]
    picture = whole[:30, :44]  # the legend's strip is below
    assert (picture.shape, picture.dtype) == (photo.shape, np.uint8)
    assert (whole[30:] == (128, 0, 0)).all(axis=-1).any()
    assert np.any(picture[:, :20] != photo[:, :20])
    np.testing.assert_array_equal(picture[:, 24:], photo[:, 24:])
    assert (mask.mode, mask.size) == ("P", (44, 30))
    np.testing.assert_array_equal(np.asarray(mask), [[1] * 22 + [0] * 22] * 30)
    assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]  # VOC's black and maroon


def test_describe_decides_at_the_threshold_of_the_run(tiny_config):
    outputs = {"logits": np.full((4, 4, 1), 1, np.float32)}  # a probability of .73
    photo = np.zeros((4, 4, 3), np.uint8)
    for threshold, share in ((0.7, 1), (0.8, 0)):
        results = {"threshold": threshold}
        numbers, _ = describe(outputs, np.zeros((4, 4, 1)), photo, tiny_config(STUDY), results)
        assert numbers["foreground"] == share


def test_describe_names_found_classes_and_writes_vocs_indices(tiny_config):
    logits = np.zeros((4, 4, 3), np.float32)
    logits[:2, :, 2] = 5  # tvmonitor above background
    logits[2:, :, 0] = 5
    photo = np.zeros((4, 4, 3), np.uint8)
    config = tiny_config(STUDY, **CLASSES)
    numbers, pictures = describe({"logits": logits}, np.zeros((4, 4, 1)), photo, config, {})
    assert numbers == {"background": 0.5, "tvmonitor": 0.5}
    np.testing.assert_array_equal(np.unique(pictures["_mask"]), [0, 20])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.image_set": "Main"}, "image_set is 'Main'; segmentation needs Segmentation"),
        ({"loss.name": "hinge"}, "loss.name is 'hinge'; it is one of cross_entropy, focal, soft_d"),
        ({"loss.name": "soft_dice + -1 focal"}, "a sum of them with positive factors"),
        ({"loss.name": "soft_dice +"}, r"loss.name is 'soft_dice \+'; it is one of"),
        ({"loss.reduction": "pixel"}, "loss.reduction is 'pixel'; it is one of batch, image"),
        ({"loss.classes": "some"}, "loss.classes is 'some'; it is one of together, all, present"),
        ({"model.name": "segnet"}, "model.name is 'segnet'; it is one of mirror"),
        ({"model.target": "cats"}, "model.target is 'cats'; it is one of foreground, sigmoid"),
        ({"model.target": "softmax", "data.masks": "legacy"}, "data.masks is 'legacy', which merg"),
        ({"model.decoder": (4, 4, 4)}, "has 3 widths; the encoder halves .* takes 2"),
        ({"model.encoder": (4, 0, 4)}, r"model.encoder is \(4, 0, 4\); it is a tuple of positive"),
        ({"model.dropout": 1.0}, r"model.dropout is 1.0; it must be at least 0 and less than 1"),
        ({"loss.smoothing": -1.0}, "loss.smoothing is -1.0; it must be at least 0"),
        ({"data.size": 6}, "data.size=6 can't be halved 2 times; .* are 4 or 8"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(STUDY, **overrides))


@pytest.mark.parametrize("name", ["fcn", "deeplab"])
def test_ways_to_enlarge_that_a_decoder_does_not_know_are_refused(tiny_config, name):
    config = tiny_config(f"segmentation_{name}", **{"model.upsample": "transposed"})
    message = f"model.upsample is 'transposed'; {name} enlarges scores by linear interpolation"
    with pytest.raises(UserError, match=message):
        make_task(config)
