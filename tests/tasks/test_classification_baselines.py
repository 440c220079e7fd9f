"""The baselines of task 2 as a task has them: against scikit-learn and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from vocjax.tasks import classification_baselines
from vocjax.tasks.classification_baselines import logistic_regression, ridge_probe

FREQUENCY, COLOUR, CODES, RIDGE = (
    "majority class (frequency)",
    "logistic regression on mean colour",
    "logistic regression on 16 PCA codes",
    "ridge probe on the codes before training",
)


def target(batch):
    """Two classes that exclude each other."""
    truth = jnp.eye(2)[batch["kind"]]
    return truth, jnp.ones(truth.shape).at[:, 0].set(batch["counted"])


def targets(batch):
    return dict(zip(("present", "known"), target(batch), strict=True))


@pytest.fixture
def batches():
    """Three batches of images whose first channel, and whose code, tell their class."""
    rng = np.random.default_rng(5)
    result = []
    for n in (20, 20, 13):
        kind = rng.integers(0, 2, n)
        image = rng.random((n, 4, 4, 3)) * 0.5
        image[..., 0] += 0.3 * kind[:, None, None]
        result.append(
            {
                "image": jnp.asarray(image, jnp.float32),
                "code": jnp.asarray(image[:, :2, :2] + 1, jnp.float32),
                "kind": jnp.asarray(kind),
                "counted": jnp.ones(n).at[0].set(0),  # the first is difficult where it is class 0
                "valid": jnp.ones(n),
            }
        )
    return result


def whole(batches):
    return {name: jnp.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def codes(batch):
    return batch["code"].reshape(len(batch["code"]), -1)


def outputs_of(name, batches, *, exclusive, joint=False):
    baseline = classification_baselines.baselines(targets, exclusive, codes, joint=joint)[name]
    return baseline.outputs(baseline.fit(iter(batches)), whole(batches))


def test_names_begin_with_the_most_trivial_one():
    assert list(classification_baselines.baselines(targets, True, codes, joint=False)) == [
        FREQUENCY,
        COLOUR,
        CODES,
        RIDGE,
    ]


def test_frequency(batches):
    every = whole(batches)
    truth, weight = map(np.asarray, target(every))
    present, counted = (truth * weight).sum(axis=0), weight.sum(axis=0)
    exclusive = outputs_of(FREQUENCY, batches, exclusive=True)["logits"]
    p = np.asarray(jax.nn.softmax(exclusive))
    np.testing.assert_allclose(p[0], (present + 0.5) / (present + 0.5).sum(), rtol=1e-5)
    np.testing.assert_array_equal(p, np.broadcast_to(p[0], (53, 2)))
    each = jax.nn.sigmoid(outputs_of(FREQUENCY, batches, exclusive=False)["logits"])
    np.testing.assert_allclose(each[0], (present + 0.5) / (counted + 1), rtol=1e-5)


def test_padding_counts_nothing_in_the_frequency(batches):
    wider = {name: jnp.concatenate([array, array[:7]]) for name, array in batches[0].items()}
    wider["valid"] = wider["valid"].at[20:].set(0)
    fits = [
        classification_baselines.baselines(targets, True, codes, joint=False)[FREQUENCY].fit(
            iter([batch])
        )
        for batch in (batches[0], wider)
    ]
    for ours, theirs in zip(*fits, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        (COLOUR, lambda batch: batch["image"].mean(axis=(1, 2))),
        (RIDGE, lambda batch: batch["code"].reshape(len(batch["code"]), -1)),
    ],
)
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_fit_to_batches_is_one_to_all_of_them(batches, name, features, exclusive):
    every = whole(batches)
    fit = logistic_regression if name == COLOUR else ridge_probe
    x = np.float64(features(every))
    fitted = fit(x, *map(np.float64, target(every)), exclusive)
    logits = outputs_of(name, batches, exclusive=exclusive)["logits"]
    np.testing.assert_allclose(logits, fitted(jnp.float32(x)), rtol=1e-4, atol=1e-4)
    right = np.argmax(logits, axis=1) == np.asarray(every["kind"])
    assert right.mean() > 0.8


def test_pca_codes(batches):
    """In whatever coordinates: standardised principal axes, which scikit-learn has, too."""
    from sklearn.decomposition import PCA

    every = whole(batches)
    points, kinds = np.float64(every["image"].reshape(53, -1)), np.asarray(every["kind"])
    codes = PCA(16, svd_solver="full").fit_transform(points)
    rows = np.asarray(target(every)[1])[np.arange(53), kinds] > 0
    model = LogisticRegression().fit(
        StandardScaler().fit(codes).transform(codes)[rows], kinds[rows]
    )
    expected = model.predict_proba(StandardScaler().fit_transform(codes))
    logits = outputs_of(CODES, batches, exclusive=True)["logits"]
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=2e-3)


def test_fewer_images_than_components(batches):
    few = [{name: array[:6] for name, array in batches[0].items()}]
    assert np.isfinite(outputs_of(CODES, few, exclusive=True)["logits"]).all()


@pytest.mark.parametrize("name", [FREQUENCY, COLOUR, CODES, RIDGE])
def test_a_joint_models_baselines_reconstruct_the_mean_colour(batches, name):
    outputs = outputs_of(name, batches, exclusive=True, joint=True)
    image = np.asarray(whole(batches)["image"])
    mean = np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape)
    np.testing.assert_allclose(outputs["reconstruction"], mean, rtol=1e-5)
    assert "reconstruction" not in outputs_of(name, batches, exclusive=True)


def test_pca_codes_of_large_images_are_those_of_small_ones():
    large = jax.random.uniform(jax.random.key(0), (2, 96, 96, 3))
    small = classification_baselines.small(large)
    assert small.shape == (2, classification_baselines.SIDE, classification_baselines.SIDE, 3)
    np.testing.assert_allclose(small.mean((1, 2)), large.mean((1, 2)), atol=2e-3)
    assert classification_baselines.small(small) is small
