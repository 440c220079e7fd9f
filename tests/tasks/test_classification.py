"""Task 2: loss, metrics, the class-frequency baseline, against NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data.devkit import CLASSES
from vocjax.data.splits import class_columns
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.tasks.classification import describe

STUDY, NAMES = "classifier_256", ("aeroplane", "dog")
COLUMNS = list(class_columns(NAMES))
BASELINE = "majority class (frequency)"


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
    return {"logits": logits, "code": jnp.zeros((len(LOGITS), 2, 2, 1))}, labelled(STATES)


def log_losses(probability, states):
    """Binary cross-entropy per image over the columns that aren't difficult."""
    states = np.asarray(states)
    truth, counted = states == 1, states != 0
    elements = -np.where(truth, np.log(probability), np.log1p(-probability))
    return (elements * counted).sum(axis=1) / counted.sum(axis=1)


@pytest.fixture
def task(tiny_config):
    return make_task(tiny_config(STUDY))


def test_loss_and_metrics_equal_numpys(task, measured):
    outputs, batch = outputs_and_batch()
    expected = log_losses(1 / (1 + np.exp(-np.array(LOGITS))), STATES)
    loss = task.loss(outputs, batch)
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


def test_difficult_labels_change_nothing(task, measured):
    outputs, batch = outputs_and_batch()
    difficult = np.asarray(STATES) == 0
    others = outputs | {"logits": jnp.where(difficult, -outputs["logits"], outputs["logits"])}
    np.testing.assert_array_equal(task.loss(others, batch), task.loss(outputs, batch))
    assert measured(task, others, batch) == measured(task, outputs, batch)


def test_padding_changes_nothing(task, measured, padded):
    outputs, batch = outputs_and_batch()
    wider = padded(outputs, batch)
    np.testing.assert_array_equal(task.loss(*wider)[: len(STATES)], task.loss(outputs, batch))
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


def test_class_frequency_is_the_entropy_where_the_frequency_is_the_truth(task, baseline_measured):
    states = [(1, -1)] * 6 + [(-1, 1)] * 10
    values = baseline_measured(task, BASELINE, [labelled(states)], [labelled(states)])
    frequency, smoothed = 6 / 16, 6.5 / 17
    entropy = -frequency * np.log(smoothed) - (1 - frequency) * np.log(1 - smoothed)
    assert values["log_loss"] == pytest.approx(entropy, rel=1e-5)
    assert values["elementwise_accuracy"] == values["argmax_accuracy"] == 10 / 16


@pytest.mark.parametrize("state", [1, -1])
def test_class_frequency_stays_finite_for_a_class_that_is_always_or_never_there(
    task, baseline_measured, state
):
    batch = labelled([(state, 1), (state, 1)])
    values = baseline_measured(task, BASELINE, [batch], [batch])
    assert values["log_loss"] == pytest.approx(-np.log(2.5 / 3), rel=1e-5)


def test_a_run_measures_the_baseline_on_its_training_labels(finished_run):
    workdir = finished_run(STUDY)
    with np.load(workdir / "samples.npz") as samples:
        states = {split: samples[f"{split}/labels"][:, COLUMNS] for split in ("train", "val")}
    present, counted = (states["train"] == 1).sum(axis=0), (states["train"] != 0).sum(axis=0)
    p = (present + 0.5) / (counted + 1)
    results = json.loads((workdir / "results.json").read_text())
    for split in ("train", "val"):
        expected = log_losses(p, states[split]).mean()
        assert results["baselines"][BASELINE][split]["log_loss"] == pytest.approx(
            expected, rel=1e-5
        )


def test_keep_gives_probabilities(task):
    outputs, batch = outputs_and_batch()
    every, some = task.keep(outputs, batch)
    np.testing.assert_allclose(every["probability"], 1 / (1 + np.exp(-np.array(LOGITS))), rtol=1e-6)
    np.testing.assert_array_equal(some["image"], batch["image"])


def test_describe_names_the_classes():
    outputs = {"logits": np.array([2.0, -800.0], np.float32)}  # no overflow
    nothing = np.zeros((4, 4, 3), np.uint8)
    config = {"data": {"classes": NAMES}}
    numbers, picture = describe(outputs, nothing, nothing, config)
    assert numbers == pytest.approx({"aeroplane": 1 / (1 + np.exp(-2)), "dog": 0})
    assert picture is None


def test_classes_are_the_configs(tiny_config):
    task = make_task(tiny_config(STUDY, **{"data.classes": CLASSES}))
    variables = jax.eval_shape(task.init, jax.random.key(0))
    assert variables["params"]["head"]["bias"].shape == (20,)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.classes": ("dog",)}, "data.classes must name at least two"),
        ({"data.classes": ()}, "data.classes must name at least two"),
        ({"data.classes": ("dog", "Dog")}, "'Dog', which VOC does not know"),
        ({"model.name": "resnet"}, "model.name is 'resnet'; classification has classifier"),
        ({"loss.name": "mse"}, "loss.name is 'mse'; classification has binary_cross_entropy"),
        ({"model.encoder": ()}, r"model.encoder is \(\); it is a tuple of positive integers"),
        ({"data.size": 30}, "data.size=30 can't be halved 2 times; .* are 28 or 32"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(STUDY, **overrides))
