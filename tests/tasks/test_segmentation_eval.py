"""The score at the images' own size, on predictions whose score is known."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from vocjax.data.classes import VOID
from vocjax.data.dataset import from_arrays
from vocjax.mesh import make_mesh
from vocjax.metrics.names import absent
from vocjax.tasks import make_task
from vocjax.tasks.pixel_classes import PixelClasses
from vocjax.tasks.segmentation_eval import THRESHOLDS, finish
from vocjax.tasks.task import Trained
from vocjax.training.loop import train_and_evaluate

FOREGROUND = PixelClasses("foreground", ("foreground",), (1,))
PETS = PixelClasses("softmax", ("cat", "dog"), (8, 12))
CAT, DOG = 8, 12


def logit(probability):
    return np.log(probability / (1 - probability)).astype(np.float32)


def curves(best):
    """Hard Dice of three images at each threshold, with its maximum at one of them."""
    dice = np.stack([1 - abs(THRESHOLDS - best)] * 3)
    return {"hard_dice_by_threshold": dice, "object": np.ones(3, bool)}


def score(classes, kept, originals, split="val"):
    return finish(
        classes, Trained({}, {}, lambda _: kept, {}, {}, originals, split, None, artifacts=True)
    )


def test_a_threshold_of_train_decides_and_void_is_left_out():
    mask = np.array([[1, 1, 0, 0], [1, VOID, 0, 0]], np.uint8)
    probability = np.array([[0.9, 0.6, 0.6, 0.1], [0.9, 0.1, 0.75, 0.1]])
    example = {"image": np.zeros((2, 2, 1), np.uint8), "mask": mask}
    outputs = {"logits": logit(probability)[..., None]}
    scored = score(FOREGROUND, curves(0.7), lambda split: iter([(outputs, example)]))
    assert scored.values["threshold"] == pytest.approx(0.7)
    truth, decided = (mask > 0)[mask != VOID], (probability > 0.7)[mask != VOID]
    expected = confusion_matrix(truth, decided)
    np.testing.assert_array_equal(scored.arrays["full_size/confusion"], expected)
    val = scored.splits["val"]
    assert val["hard_dice_per_image_full_size"] == pytest.approx(f1_score(truth, decided))
    assert val["hard_dice_of_set_full_size"] == pytest.approx(f1_score(truth, decided))
    assert val["pixel_accuracy_full_size"] == pytest.approx((truth == decided).mean())
    assert scored.splits["train"]["hard_dice_per_image_at_threshold"] == pytest.approx(1)
    background = scored.baselines["all background"]["val"]
    assert background["pixel_accuracy_full_size"] == pytest.approx((~truth).mean())
    foreground = scored.baselines["all foreground"]["val"]
    assert foreground["iou_of_set_full_size"] == pytest.approx(truth.mean())
    whole = f1_score(truth, np.ones_like(truth))
    assert foreground["hard_dice_per_image_full_size"] == pytest.approx(whole)
    assert background["hard_dice_per_image_full_size"] == 0
    assert background["boundary_f_full_size"] == 0


def test_an_image_that_is_all_void_is_passed_over():
    mask = np.array([[1, 0]], np.uint8)
    example = {"image": np.zeros((1, 2, 1), np.uint8), "mask": mask}
    void = example | {"mask": np.full_like(mask, VOID)}
    outputs = {"logits": logit(np.array([[[0.9], [0.1]]]))}
    pairs = [(outputs, example), (outputs, void)]
    both = score(FOREGROUND, curves(0.5), lambda split: iter(pairs))
    alone = score(FOREGROUND, curves(0.5), lambda split: iter(pairs[:1]))
    assert both.splits == alone.splits
    assert both.baselines == alone.baselines


def test_the_training_images_can_be_scored_too():
    mask = np.array([[1, 0]], np.uint8)
    example = {"image": np.zeros((1, 2, 1), np.uint8), "mask": mask}
    outputs = {"logits": logit(np.array([[[0.9], [0.1]]]))}
    of_split = {"train": [(outputs, example)], "val": []}
    scored = score(FOREGROUND, curves(0.5), lambda split: iter(of_split[split]), "train")
    assert scored.splits["train"]["mean_iou_full_size"] == 1
    assert "mean_iou_full_size" not in scored.splits["val"]


def test_predictions_are_resized_to_the_mask():
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 1
    logits = np.full((2, 2, 1), -9, np.float32)
    logits[:, 1] = 9
    example = {"image": np.zeros((2, 2, 3), np.uint8), "mask": mask}
    scored = score(FOREGROUND, curves(0.5), lambda split: iter([({"logits": logits}, example)]))
    assert scored.values["iou_by_class"] == {"background": 1, "foreground": 1}
    assert scored.splits["val"]["boundary_f_full_size"] == 1


def test_classes_that_occur_nowhere_are_named_and_left_out_of_the_mean():
    mask = np.array([[0, 0, CAT, 20]], np.uint8)  # VOC's tvmonitor is background here
    logits = np.eye(3, dtype=np.float32)[[[0, 1, 1, 0]]]
    example = {"image": np.zeros((1, 1, 3), np.uint8), "mask": mask}
    scored = score(PETS, {}, lambda split: iter([({"logits": logits}, example)]))
    assert "threshold" not in scored.values
    assert scored.values["iou_by_class"] == {
        "background": pytest.approx(2 / 3),
        "cat": pytest.approx(1 / 2),
        "dog": None,
    }
    assert scored.splits["val"]["mean_iou_full_size"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_best_and_the_worst_images_are_kept():
    def originals(split):
        for number in range(10):
            mask = np.zeros((10, 10), np.uint8)
            mask[: number + 1] = 1
            image = np.full((10, 10, 3), number, np.uint8)
            yield {"logits": np.full((10, 10, 1), 5, np.float32)}, {"image": image, "mask": mask}

    arrays = score(FOREGROUND, curves(0.5), originals).arrays
    assert arrays["best/number"].tolist() == [9, 8, 7, 6]
    assert arrays["worst/number"].tolist() == [0, 1, 2, 3]
    # All foreground: IoU of the foreground is its share, that of the background 0.
    np.testing.assert_allclose(arrays["best/value"], [1, 0.45, 0.4, 0.35])
    np.testing.assert_array_equal(arrays["best/image"][1], np.full((10, 10, 3), 8))
    assert arrays["worst/truth"][0].sum() == 10
    assert np.all(arrays["worst/prediction"] == 1)


@pytest.mark.parametrize("predicted", [-5, 5])
@pytest.mark.parametrize("void", [False, True])
def test_without_an_object_only_the_accuracy_of_pixels_is_defined(predicted, void):
    """Whatever is predicted: there is nothing to be found, so nothing is found well."""
    mask = np.full((4, 4), VOID if void else 0, np.uint8)
    outputs = {"logits": np.full((2, 2, 1), predicted, np.float32)}
    example = {"image": np.zeros((2, 2, 1), np.uint8), "mask": mask}
    kept = curves(0.5) | {"object": np.zeros(3, bool)}
    scored = score(FOREGROUND, kept, lambda split: iter([(outputs, example)] * 2))
    for metrics in (scored.splits["val"], scored.baselines["all background"]["val"]):
        reasons = absent(metrics)
        accuracy = reasons.pop("pixel_accuracy_full_size", None)
        assert accuracy == ("all pixels are void" if void else None)
        assert set(reasons.values()) == {"no image shows an object"}
        assert len(reasons) >= len(metrics) - 1
    assert ("best/value" in scored.arrays) == (predicted > 0 and not void)


def test_a_run_without_objects_in_val_writes_json(tiny_config, tmp_path):
    rng = np.random.default_rng(0)
    images = {"image": rng.integers(0, 256, (8, 16, 16, 1), np.uint8)}
    mask = np.zeros((8, 16, 16), np.uint8)
    drawn = mask.copy()
    drawn[:, 4:9, 4:9] = 1
    splits = {"train": images | {"mask": drawn}, "val": images | {"mask": mask}}
    data = from_arrays(splits, make_mesh())
    config = tiny_config("segmentation_dice", epochs=1)
    results = train_and_evaluate(config, tmp_path / "run", data=data)

    def refuse(constant):
        raise AssertionError(constant)

    files = [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.jsonl")]
    assert {"results.json", "metrics.jsonl", "baselines.json"} <= {file.name for file in files}
    for file in files:
        for text in (
            file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        ):
            json.loads(text, parse_constant=refuse)
    assert results == json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["val"].keys() == {"loss", "pixel_accuracy", "pixel_accuracy_full_size"}
    assert results["absent"].keys() == {"val"}
    assert "mean_iou" in results["train"] and "mean_iou" in results["absent"]["val"]


def test_a_run_scores_its_masks(finished_run):
    run = finished_run("segmentation_dice")
    results = json.loads((run / "results.json").read_text())
    assert results["threshold"] in THRESHOLDS
    assert results["iou_by_class"].keys() == {"background", "foreground"}
    with np.load(run / "samples.npz") as samples:
        counts = samples["full_size/confusion"]
    share = counts[1].sum() / counts.sum()
    trivial = results["baselines"]["all foreground"]["val"]["iou_of_set_full_size"]
    assert trivial == pytest.approx(share)
    own = results["val"]["iou_of_set_full_size"]
    assert own == pytest.approx(counts[1, 1] / (counts.sum() - counts[0, 0]))


def test_a_task_without_baselines_is_scored_too(tiny_config, tmp_path):
    config = tiny_config("segmentation_dice", epochs=1)
    task = make_task(config)._replace(baselines={})
    results = train_and_evaluate(config, tmp_path / "run", task)
    assert results["baselines"] == {}
    assert "mean_iou_full_size" in results["val"]
