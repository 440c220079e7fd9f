"""The classifier of task 2: codes, evidence, heads, and metrics of a whole split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from vocjax.data.classes import VOC
from vocjax.mesh import make_mesh
from vocjax.metrics.classification import classification_metrics
from vocjax.tasks import make_task
from vocjax.tasks.classification import describe
from vocjax.training.evaluation import evaluate_split, make_evaluator, whole_batches

STUDY, JOINT, NAMES = "classifier_256", "classifier_joint", ("aeroplane", "dog")
COLUMNS = [VOC.names.index(name) for name in NAMES]


@pytest.fixture
def applied(tiny_config):
    """`applied(name, code, train, **overrides)`: task, variables, batch and outputs."""

    def apply(name=STUDY, code=None, train=False, **overrides):
        config = tiny_config(name, **overrides)
        task = make_task(config)
        variables = task.init(jax.random.key(0))
        images = np.random.default_rng(0).random((6, 16, 16, 3), np.float32)
        labels = jnp.ones((6, 20), jnp.int8)
        batch = {"image": jnp.asarray(images), "labels": labels, "valid": jnp.ones(6)}
        known = batch if code is None else batch | {"code": code}
        run = jax.jit(lambda v, b: task.apply(v, b, train, jax.random.key(1))[0])
        return task, variables, batch, run(variables, known)

    return apply


@pytest.mark.parametrize("name", [STUDY, JOINT])
def test_a_code_in_the_batch_stands_in_for_the_encoder(applied, name):
    task, variables, batch, outputs = applied(name)
    code = task.features.of(frozenset({"encoder"}))(variables, batch)
    np.testing.assert_allclose(code, outputs["code"], rtol=1e-5, atol=1e-6)
    assert task.features.of(frozenset({"encoder/ConvBlock_0"})) is None
    flipped = outputs["code"][::-1]
    known = applied(name, code=flipped)[-1]
    np.testing.assert_array_equal(known["code"], flipped)
    assert known.keys() == outputs.keys()
    for key, value in outputs.items():
        np.testing.assert_allclose(known[key], value[::-1], rtol=1e-5, atol=1e-6, err_msg=key)
    assert np.abs(outputs["logits"] - outputs["logits"][::-1]).min() > 1e-5


@pytest.mark.parametrize("pooling", ["flatten", "mean", "rms"])
def test_evidence_of_one_layer_sums_to_the_likeliest_logit(applied, pooling):
    _, variables, _, outputs = applied(**{"model.pooling": pooling})
    dense = variables["params"]["head"]["Dense_0"]
    likeliest = np.argmax(outputs["logits"], axis=1)
    assert outputs["evidence"].shape == (6, 4, 4)
    assert outputs["evidence"].dtype == jnp.float32
    np.testing.assert_allclose(
        outputs["evidence"].sum(axis=(1, 2)) + dense["bias"][likeliest],
        outputs["logits"].max(axis=1),
        rtol=1e-4,
        atol=1e-6,
    )
    kernel = np.asarray(dense["kernel"])
    weights = kernel.reshape(4, 4, 4, 2) if pooling == "flatten" else kernel / 16
    code = np.asarray(outputs["code"])
    if pooling == "rms":
        code = code**2 / np.sqrt((code**2).mean(axis=(1, 2), keepdims=True) + 1e-12)
    terms = (code[..., None] * weights).sum(axis=3)
    places = [terms[i, ..., k] for i, k in enumerate(likeliest)]
    np.testing.assert_allclose(outputs["evidence"], places, rtol=1e-4, atol=1e-6)


def test_evidence_is_for_evaluation_alone(applied):
    assert "evidence" not in applied(train=True)[-1]
    hidden = applied(**{"model.hidden": (5,)})[-1]  # its linear part
    assert np.isfinite(hidden["evidence"]).all()
    assert np.abs(hidden["evidence"]).max() > 0


def test_bfloat16_gives_numbers_that_numpy_can_keep(applied, measures):
    task, _, batch, outputs = applied(precision="bfloat16")
    assert outputs["code"].dtype == jnp.bfloat16
    _, _, every, some = measures(task, outputs, batch)
    kept = {name: x.dtype for name, x in (every | some).items() if name != "thumbnail"}
    assert set(kept.values()) == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_metrics_of_a_split_do_not_depend_on_the_batches(tiny_config, begun, name):
    config = tiny_config("classifier_frozen", **{"loss.name": name})
    start, measured, arrays = begun(config), [], []

    def summary(sums, rows):
        arrays.append(rows)
        return start.task.summary(sums, rows)

    variables = {"params": start.state.params, "batch_stats": start.state.batch_stats}
    task = start.task._replace(summary=summary)
    for batch_size in (3, 8):
        evaluator = make_evaluator(task, start.valid.sums, batch_size, make_mesh())
        measured.append(evaluate_split(evaluator, start.train, variables).metrics)
    assert measured[0] == pytest.approx(measured[1], rel=1e-5)
    exclusive = name == "softmax_cross_entropy"
    alone = classification_metrics(**arrays[0], exclusive=exclusive)
    assert measured[0].items() >= alone.items()
    (every,) = whole_batches(start.train, 10, make_mesh())
    states = np.asarray(every["labels"])[:, COLUMNS]
    np.testing.assert_array_equal(arrays[0]["target"], states == 1)
    np.testing.assert_array_equal(arrays[0]["weight"], states != 0)
    logits = task.apply(variables, every, False, jax.random.key(0))[0]["logits"]
    p = jax.nn.softmax(logits) if exclusive else jax.nn.sigmoid(logits)
    np.testing.assert_allclose(arrays[0]["probability"], p, rtol=1e-4)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_describe_names_the_classes(name):
    evidence = np.float32([[0, 2], [-2, 0]])
    outputs = {"logits": np.array([2.0, -800.0], np.float32), "evidence": evidence}  # no overflow
    photo = np.full((40, 60, 3), 128, np.uint8)
    config = ConfigDict({"data": {"classes": NAMES}, "loss": {"name": name}})
    image = np.zeros((4, 4, 3), np.float32)
    numbers, pictures = describe(outputs, image, photo, config, {})
    picture = np.asarray(pictures[""])
    sure = 1.0 if name == "softmax_cross_entropy" else 1 / (1 + np.exp(-2))
    assert numbers == pytest.approx({"aeroplane": sure, "dog": 0})
    assert (picture.shape, picture.dtype) == (photo.shape, np.uint8)
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    assert red[0, -1] > blue[0, -1]  # for the class at the top right, against it at the bottom left
    assert red[-1, 0] < blue[-1, 0]


def test_classes_are_the_configs(tiny_config):
    task = make_task(tiny_config(STUDY, **{"data.classes": VOC.names}))
    variables = jax.eval_shape(task.init, jax.random.key(0))
    assert variables["params"]["head"]["Dense_0"]["bias"].shape == (20,)


def test_the_lectures_head_has_two_layers(tiny_config):
    config = tiny_config("classifier_lecture", **{"model.hidden": (7, 5)})
    head = jax.eval_shape(make_task(config).init, jax.random.key(0))["params"]["head"]
    assert {name: layer["kernel"].shape for name, layer in head.items()} == {
        "Dense_0": (64, 7),
        "Dense_1": (7, 5),
        "Dense_2": (5, 2),
    }
