"""Task 2: probabilities, losses, metrics, evidence and the simplest baseline, against NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.data.classes import VOC
from vocjax.errors import UserError
from vocjax.losses.table import CLASS_LOSSES
from vocjax.tasks import make_task
from vocjax.tasks.classification import by_class, counted, describe

STUDY, NAMES = "classifier_256", ("aeroplane", "dog")
COLUMNS = [VOC.names.index(name) for name in NAMES]
BASELINE = "majority class (frequency)"
JOINT = "classifier_joint"


def labelled(states):
    """A batch of images whose states of aeroplane and dog are given; all else is present."""
    labels = np.ones((len(states), 20), np.int8)
    labels[:, COLUMNS] = states
    images = jnp.zeros((len(states), 4, 4, 3))
    return {"image": images, "labels": jnp.asarray(labels), "valid": jnp.ones(len(states))}


STATES = [(1, -1), (-1, 1), (1, 1), (0, 1), (1, 0)]
LOGITS = [(2.0, -1.0), (0.5, 0.4), (1.0, -0.5), (3.0, 0.1), (-0.2, 4.0)]


def outputs_and_batch():
    logits = jnp.asarray(LOGITS)
    n = len(LOGITS)
    outputs = {"logits": logits, "code": jnp.zeros((n, 2, 2, 1)), "evidence": jnp.zeros((n, 2, 2))}
    return outputs, labelled(STATES)


def log_losses(probability, states):
    """Binary cross-entropy per image over the columns that aren't difficult."""
    states = np.asarray(states)
    truth, counted = states == 1, states != 0
    elements = -np.where(truth, np.log(probability), np.log1p(-probability))
    return (elements * counted).sum(axis=1) / counted.sum(axis=1)


@pytest.fixture
def task(tiny_config):
    return make_task(tiny_config(STUDY))


def test_loss_and_metrics_equal_numpys(task, measured, loss_of):
    outputs, batch = outputs_and_batch()
    expected = log_losses(1 / (1 + np.exp(-np.array(LOGITS))), STATES)
    loss = loss_of(task, outputs, batch)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert measured(task, outputs, batch) == pytest.approx(
        {
            "log_loss": expected.mean(),
            # Right columns of those that count: 2 of 2, 1 of 2, 1 of 2, 1 of 1, 0 of 1.
            "elementwise_accuracy": (1 + 0.5 + 0.5 + 1 + 0) / 5,
            "exact_match": (1 + 0 + 0 + 1 + 0) / 5,
            # The largest logit stands at a present class; difficult columns are passed over.
            "argmax_accuracy": (1 + 0 + 1 + 1 + 1) / 5,
        },
        rel=1e-5,
    )


def test_difficult_labels_change_nothing(task, measured, loss_of):
    outputs, batch = outputs_and_batch()
    difficult = np.asarray(STATES) == 0
    others = outputs | {"logits": jnp.where(difficult, -outputs["logits"], outputs["logits"])}
    np.testing.assert_array_equal(loss_of(task, others, batch), loss_of(task, outputs, batch))
    assert measured(task, others, batch) == measured(task, outputs, batch)


def test_padding_changes_nothing(task, measured, padded, loss_of):
    outputs, batch = outputs_and_batch()
    wider = padded(outputs, batch)
    np.testing.assert_array_equal(
        loss_of(task, *wider)[: len(STATES)], loss_of(task, outputs, batch)
    )
    assert measured(task, *wider) == pytest.approx(measured(task, outputs, batch), rel=1e-6)


def test_class_frequency_baseline(task, baseline_measured):
    """Its probability of a class is (present + 1/2) / (counted + 1) of the training images."""
    train = [labelled(STATES), labelled([(1, -1), (1, -1), (1, 1), (1, -1)])]
    states = np.array([*STATES, (1, -1), (1, -1), (1, 1), (1, -1)])
    p = ((states == 1).sum(axis=0) + 0.5) / ((states != 0).sum(axis=0) + 1)
    values = baseline_measured(task, BASELINE, train, [labelled(STATES)])
    assert values["log_loss"] == pytest.approx(log_losses(p, STATES).mean(), rel=1e-5)
    np.testing.assert_array_equal(p, [7.5 / 9, 4.5 / 9])
    assert values["argmax_accuracy"] == pytest.approx(4 / 5)


def test_a_run_measures_the_baseline_on_its_training_labels(finished_run):
    workdir = finished_run(STUDY)
    with np.load(workdir / "samples.npz") as samples:
        states = {split: samples[f"{split}/labels"] for split in ("train", "val")}
    present, counted = (states["train"] == 1).sum(axis=0), (states["train"] != 0).sum(axis=0)
    p = (present + 0.5) / (counted + 1)
    results = json.loads((workdir / "results.json").read_text())
    for split in ("train", "val"):
        expected = log_losses(p, states[split]).mean()
        assert results["baselines"][BASELINE][split]["log_loss"] == pytest.approx(
            expected, rel=1e-5
        )


# Losses ------------------------------------------------------------------------------------------

TRUTH, COUNTED = np.equal(STATES, 1).astype(float), np.not_equal(STATES, 0).astype(float)


def softmax_of_counted():
    """A softmax over the columns that aren't difficult; 1 where an excluded one stands."""
    e = np.exp(LOGITS) * COUNTED
    return np.where(COUNTED > 0, e / e.sum(axis=1, keepdims=True), 1)


def shares():
    """What a softmax is to give: an image with both classes shares itself."""
    return TRUTH / TRUTH.sum(axis=1, keepdims=True)


def class_loss(tiny_config, **fields):
    config = tiny_config(STUDY, **{f"loss.{name}": value for name, value in fields.items()})
    task, (outputs, batch) = make_task(config), outputs_and_batch()
    return task.loss(outputs, task.targets(batch))


def test_softmax_targets_and_probabilities(tiny_config, measured, loss_of, mean_loss_of, measures):
    task = make_task(tiny_config(STUDY, **{"loss.name": "softmax_cross_entropy"}))
    outputs, batch = outputs_and_batch()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(measures(task, outputs, batch).kept["probability"], p, rtol=1e-5)
    expected = -(shares() * np.log(softmax_of_counted())).sum(axis=1)
    assert expected[3] == expected[4] == 0  # only the present class is left to choose
    np.testing.assert_allclose(loss_of(task, outputs, batch), expected, rtol=1e-5, atol=1e-7)
    values = measured(task, outputs, batch)
    # And so those two are nothing to be measured by.
    assert values["log_loss"] == pytest.approx(expected[:3].mean(), rel=1e-5)
    assert values["argmax_accuracy"] == pytest.approx(2 / 3)
    loss = mean_loss_of(task, outputs, batch)
    assert loss == pytest.approx(expected[:3].mean(), rel=1e-5)
    # The gradient of an image with one class is p - y.
    gradient = jax.grad(lambda x: loss_of(task, outputs | {"logits": x}, batch).sum())(
        outputs["logits"]
    )
    np.testing.assert_allclose(gradient[:2], (p - TRUTH)[:2], atol=1e-6)


def test_metrics_agree_where_a_class_is_difficult(tiny_config, measured, measures):
    """An excluded class has no part in the softmax, whatever its logit is."""
    classes = {
        "data.classes": ("aeroplane", "bicycle", "dog"),
        "loss.name": "softmax_cross_entropy",
    }
    task = make_task(tiny_config(STUDY, **classes))
    labels = np.full((2, 20), -1)
    labels[:, [0, 1, 11]] = [(1, -1, 0), (-1, 1, -1)]
    batch = {
        "image": jnp.zeros((2, 4, 4, 3)),
        "labels": jnp.asarray(labels),
        "valid": jnp.ones(2),
    }
    logits = jnp.array([(2.0, 0.0, 9.0), (0.0, 2.0, -1.0)])
    outputs = {"logits": logits, "code": jnp.zeros((2, 2, 2, 1)), "evidence": jnp.zeros((2, 2, 2))}
    values = measured(task, outputs, batch)
    for name in ("argmax_accuracy", "elementwise_accuracy", "exact_match"):
        assert values[name] == 1, name
    arrays = {k: np.asarray(v) for k, v in measures(task, outputs, batch).rows.items()}
    np.testing.assert_allclose(arrays["probability"].sum(axis=1), 1, rtol=1e-6)
    whole = task.summary(jax.device_get(measures(task, outputs, batch).sums), arrays)
    assert whole["balanced_accuracy"] == whole["map_every_point"] == 1
    first, second = 1 / (1 + np.exp(-2)), np.exp(2) / (1 + np.exp(2) + np.exp(-1))
    assert whole["ece"] == pytest.approx(1 - (first + second) / 2, rel=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "focal", "gamma": 2.0},
        {"name": "binary_cross_entropy", "label_smoothing": 0.2, "class_weights": (3.0, 0.5)},
        {"name": "softmax_cross_entropy", "label_smoothing": 0.2, "class_weights": (3.0, 0.5)},
    ],
)
def test_the_loss_is_the_one_that_the_config_describes(tiny_config, fields):
    """`tests/losses` compares it with others'."""
    loss = losses.make_class_loss(fields)(*map(jnp.float32, (LOGITS, TRUTH, COUNTED)))
    np.testing.assert_allclose(class_loss(tiny_config, **fields), loss, rtol=1e-5, atol=1e-7)


def test_the_log_loss_is_not_the_loss_that_trains(tiny_config, measured):
    """Smoothed, weighed or focal: what is reported stays comparable."""
    plain = measured(make_task(tiny_config(STUDY)), *outputs_and_batch())
    for fields in ({"name": "focal"}, {"label_smoothing": 0.3}, {"class_weights": (3.0, 0.5)}):
        config = tiny_config(STUDY, **{f"loss.{name}": value for name, value in fields.items()})
        assert measured(make_task(config), *outputs_and_batch()) == plain


def test_a_joint_networks_loss_adds_its_weighted_squared_error(
    tiny_config, measured, loss_of, measures
):
    joint, plain = make_task(tiny_config(JOINT)), make_task(tiny_config(STUDY))
    outputs, batch = outputs_and_batch()
    drawn = np.random.default_rng(0).random(batch["image"].shape, np.float32)
    outputs = outputs | {"reconstruction": jnp.asarray(drawn)}
    error = (drawn**2).mean(axis=(1, 2, 3))  # the images are black
    expected = (
        np.asarray(loss_of(plain, outputs, batch)) + tiny_config(JOINT).loss.reconstruction * error
    )
    np.testing.assert_allclose(loss_of(joint, outputs, batch), expected, rtol=1e-5)
    values = measured(joint, outputs, batch)
    assert values["mse"] == pytest.approx(error.mean(), rel=1e-5)
    assert values["log_loss"] == measured(plain, outputs, batch)["log_loss"]
    np.testing.assert_array_equal(measures(joint, outputs, batch).shown["reconstruction"], drawn)


def test_keep_gives_probabilities(task, measures):
    outputs, batch = outputs_and_batch()
    _, _, every, some = measures(task, outputs, batch)
    np.testing.assert_allclose(every["probability"], 1 / (1 + np.exp(-np.array(LOGITS))), rtol=1e-6)
    assert {"target", "weight"} <= every.keys()  # the report draws no image without them
    np.testing.assert_array_equal(some["image"], batch["image"])
    np.testing.assert_array_equal(some["evidence"], outputs["evidence"])
    assert every["code"].shape == (len(LOGITS), 4)
    assert every["thumbnail"].dtype == jnp.uint8


def test_describe_gives_the_probabilities_that_a_run_keeps(tiny_config, measures):
    outputs, batch = outputs_and_batch()
    for name in CLASS_LOSSES:
        config = tiny_config(STUDY, **{"loss.name": name})
        kept = measures(make_task(config), outputs, batch).kept
        for i, p in enumerate(np.asarray(kept["probability"])):
            one = {key: np.asarray(value[i]) for key, value in outputs.items()}
            photo = np.zeros((4, 4, 3), np.uint8)
            numbers, _ = describe(one, np.float32(photo), photo, config, {})
            assert list(numbers.values()) == pytest.approx(p.tolist(), rel=1e-5)


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"data.classes": ("dog",)},
            "must name at least two classes .*, not dog: .*=all",
        ),
        ({"data.classes": ("cat",), "data.names": ("cat",)}, "has one class alone, .*segmentation"),
        ({"data.classes": ()}, "data.classes must name at least two classes .*, not none"),
        ({"data.classes": ("dog", "Dog")}, "data.classes is 'Dog'; .* Did you mean 'dog'?"),
        ({"model.name": "resnet"}, "model.name is 'resnet'; it is one of classifier"),
        ({"loss.name": "mse"}, "loss.name is 'mse'; it is one of softmax_cross_entropy, binary_"),
        ({"loss.reconstruction": 1.0}, r"reconstruction is 1.0 and model.decoder \(\): a joint"),
        ({"model.decoder": (4, 4)}, r"reconstruction is 0.0 and model.decoder \(4, 4\): a joint"),
        ({"loss.reconstruction": -1.0}, "loss.reconstruction is -1.0; it must be at least 0"),
        ({"loss.reconstruction": float("nan")}, "loss.reconstruction is nan; it must be at least"),
        ({"loss.reconstruction": 1.0, "model.decoder": (4,)}, "model.decoder has 1 widths"),
        (
            {"loss.reconstruction": 1.0, "model.decoder": (4, 4), "model.upsample": "unpool"},
            "model.upsample is 'unpool', which needs the encoder's switches",
        ),
        ({"model.pooling": "max"}, "model.pooling is 'max'; it is one of flatten, mean"),
        (
            {"model.head_dropout": 1.0},
            r"model.head_dropout is 1.0; it must be at least 0 and less than 1",
        ),
        ({"model.head_init": "zero"}, "model.head_init is 'zero'; it is one of .*, zeros"),
        ({"model.hidden": (8, 0)}, r"model.hidden is \(8, 0\); it is positive integers"),
        ({"model.hidden": (8.0,)}, r"model.hidden is \(8.0,\); it is positive integers"),
        ({"model.norm": "layer"}, "model.norm is 'layer'; it is one of none, batch, group"),
        ({"model.encoder": ()}, r"model.encoder is \(\); it is a tuple of positive integers"),
        ({"data.size": 30}, "data.size=30 can't be halved 2 times; .* are 28 or 32"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(STUDY, **overrides))


@pytest.mark.parametrize("part", ["loss", "model"])
def test_a_field_that_is_unknown_is_named(tiny_config, part):
    config = tiny_config(STUDY)
    config[part].alpha = 0.25
    with pytest.raises(UserError, match=r"config has loss\.alpha|model\.alpha, which class"):
        make_task(config)


def test_classes_that_are_common_in_train_have_a_mean_of_their_own():
    """Of 10 images and more; difficult ones are none, and a class without a positive has no AP."""
    train = {"target": np.ones((12, 4)), "weight": np.ones((12, 4))}
    train["target"][:3, 1] = 0
    train["weight"][:2, 3] = 0
    truth = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]])
    score = np.array([[0.9, 0.1, 0.5, 0.2], [0.8, 0.9, 0.5, 0.9], [0.7, 0.2, 0.5, 0.1]])
    measured = {"probability": score, "target": truth, "weight": np.ones((3, 4))}
    final = by_class(("a", "b", "c", "d"), counted(train), measured, "val")
    images = {name: of["images"] for name, of in final.values["by_class"].items()}
    assert images == {"a": 12, "b": 9, "c": 12, "d": 10}
    precision = [of["average_precision"] for of in final.values["by_class"].values()]
    first = (6 * 1 + 5 * 2 / 3) / 11  # recall to .5 at precision 1, all of it at 2 / 3
    assert precision == [pytest.approx(first), 1.0, None, 0.5]
    assert final.splits["val"]["map_of_common_classes"] == pytest.approx((first + 0.5) / 2)
    rare = by_class("abcd", counted({name: x[:5] for name, x in train.items()}), measured, "val")
    assert np.isnan(rare.splits["val"]["map_of_common_classes"])
