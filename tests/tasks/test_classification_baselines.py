"""The baselines of task 2: against scikit-learn, an explicit loop and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vocjax.tasks import classification_baselines
from vocjax.tasks.classification_baselines import STRENGTHS, logistic_regression, ridge_probe

IMAGES, NUMBERS = 60, 5
FREQUENCY, COLOUR, CODES, RIDGE = (
    "majority class (frequency)",
    "logistic regression on mean colour",
    "logistic regression on 16 PCA codes",
    "ridge probe on the codes before training",
)


@pytest.fixture
def features():
    """Features of unequal scale and far from zero, [images, numbers]; the last one is constant."""
    x = np.random.default_rng(0).normal(size=(IMAGES, NUMBERS))
    return x * [1, 100, 0.01, 3, 0] + [5, -300, 0, 1, 2]


@pytest.fixture
def classes(features):
    """`classes(n)`: the class of each image, which the features tell in part, [images]."""

    def of(n):
        scaled = StandardScaler().fit_transform(features)[:, :n]
        return np.argmax(scaled + np.random.default_rng(1).normal(size=scaled.shape), axis=1)

    return of


def one_hot(classes, n):
    return np.eye(n)[classes]


def ones(truth):
    return np.ones(truth.shape)


def sklearns(x, y):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)


def sigmoid(fitted, x):
    return np.asarray(jax.nn.sigmoid(fitted(jnp.asarray(x, jnp.float32))))


def softmax(fitted, x):
    return np.asarray(jax.nn.softmax(fitted(jnp.asarray(x, jnp.float32))))


# Logistic regression -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_exclusive_classes_have_scikit_learns_probabilities(features, classes, n):
    truth = one_hot(classes(n), n)
    fitted = logistic_regression(features, truth, ones(truth), exclusive=True)
    assert (fitted.kernel.shape, fitted.bias.shape) == ((NUMBERS, n), (n,))
    assert fitted.kernel.dtype == fitted.bias.dtype == jnp.float32
    expected = sklearns(features, classes(n)).predict_proba(features)
    assert expected.max() - expected.min() > 0.5
    np.testing.assert_allclose(softmax(fitted, features), expected, atol=2e-4)


def test_a_sigmoid_each_has_scikit_learns_probabilities(features, classes):
    truth = np.stack([classes(2), features[:, 3] > 1, classes(3) == 1], axis=1).astype(float)
    fitted = logistic_regression(features, truth, ones(truth), exclusive=False)
    for column, states in enumerate(truth.T):
        expected = sklearns(features, states).predict_proba(features)[:, 1]
        np.testing.assert_allclose(sigmoid(fitted, features)[:, column], expected, atol=2e-4)


def test_excluded_elements_are_left_out(features, classes):
    """Whatever stands there: another image list for each column, or for all of them at once."""
    truth, weight = one_hot(classes(2), 2), np.ones((IMAGES, 2))
    weight[:20, 0], weight[50:, 1] = 0, 0
    wrong = np.where(weight > 0, truth, 1 - truth)
    fitted = logistic_regression(features, wrong, weight, exclusive=False)
    # Standardised over all of the images.
    scaled = StandardScaler().fit_transform(features)
    for column in (0, 1):
        rows = weight[:, column] > 0
        model = LogisticRegression().fit(scaled[rows], truth[rows, column])
        expected = model.predict_proba(scaled)[:, 1]
        np.testing.assert_allclose(sigmoid(fitted, features)[:, column], expected, atol=2e-4)

    # An image whose class is excluded has none, and tells nothing.
    weight = np.ones((IMAGES, 3))
    truth = one_hot(classes(3), 3)
    weight[:20] = 1 - truth[:20]
    fitted = logistic_regression(features, truth, weight, exclusive=True)
    model = LogisticRegression().fit(scaled[20:], classes(3)[20:])
    np.testing.assert_allclose(softmax(fitted, features), model.predict_proba(scaled), atol=2e-4)


def test_a_class_that_never_occurs_is_improbable(features, classes):
    """And the others keep their odds."""
    for n, occurring in ((4, [0, 2, 3]), (3, [0, 2])):
        kinds = classes(len(occurring))
        truth = one_hot(np.array(occurring)[kinds], n)
        p = softmax(logistic_regression(features, truth, ones(truth), exclusive=True), features)
        expected = sklearns(features, kinds).predict_proba(features)
        assert (p[:, 1] < 0.1).all()
        others = np.delete(p, 1, axis=1)
        np.testing.assert_allclose(others / others.sum(axis=1)[:, None], expected, atol=2e-4)
    truth = np.stack([classes(2), 0 * classes(2), 0 * classes(2) + 1], axis=1).astype(float)
    p = sigmoid(logistic_regression(features, truth, ones(truth), exclusive=False), features)
    np.testing.assert_allclose(p[:, 1], 0.5 / (IMAGES + 1), rtol=1e-5)  # (present + 1/2) / (n + 1)
    np.testing.assert_allclose(p[:, 2], (IMAGES + 0.5) / (IMAGES + 1), rtol=1e-5)


def test_a_single_class_is_its_frequency(features):
    truth = one_hot(np.ones(IMAGES, int), 2)
    p = softmax(logistic_regression(features, truth, ones(truth), exclusive=True), features)
    np.testing.assert_allclose(p[:, 1], (IMAGES + 0.5) / (IMAGES + 1), rtol=1e-5)


def test_features_that_never_vary_do_not_matter(classes):
    truth = one_hot(classes(2), 2)
    fitted = logistic_regression(np.full((IMAGES, 3), 7.0), truth, ones(truth), exclusive=True)
    np.testing.assert_array_equal(fitted.kernel, 0)
    np.testing.assert_allclose(
        softmax(fitted, np.full((1, 3), 7.0))[0], truth.mean(axis=0), rtol=1e-3
    )


# Ridge -------------------------------------------------------------------------------------------


def strengths(x):
    """The strengths to choose from, absolute."""
    centred = x - x.mean(axis=0)
    return STRENGTHS * (centred**2).sum() / len(x)


def left_out_scores(x, y, strength):
    """Each image's score from the others alone."""
    rows = np.arange(len(x))
    models = (Ridge(alpha=strength).fit(x[rows != i], y[rows != i]) for i in rows)
    return np.concatenate([model.predict(x[[i]]) for i, model in enumerate(models)])


@pytest.mark.parametrize("numbers", [4, 200])  # fewer than images, and more
def test_ridge_equals_scikit_learns_at_the_strength_of_the_smallest_error(numbers, monkeypatch):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(IMAGES, numbers)) + 3
    kinds = np.argmax(x[:, :3] + rng.normal(size=(IMAGES, 3)), axis=1)
    truth = one_hot(kinds, 3)
    scores = {}

    def keep(kernel, offset, left_out, *_):
        scores.update(kernel=kernel, offset=offset, left_out=left_out)

    monkeypatch.setattr(classification_baselines, "_as_logits", keep)
    ridge_probe(x, truth, ones(truth), exclusive=True)
    errors = [
        ((left_out_scores(x, truth, strength) - truth) ** 2).sum() for strength in strengths(x)
    ]
    best = strengths(x)[np.argmin(errors)]
    assert 0 < np.argmin(errors) < len(STRENGTHS) - 1
    assert RidgeCV(alphas=strengths(x)).fit(x, truth).alpha_ == pytest.approx(best)
    peer = Ridge(alpha=best).fit(x, truth)
    np.testing.assert_allclose(scores["kernel"], peer.coef_.T, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(scores["offset"], peer.intercept_, rtol=1e-6)
    np.testing.assert_allclose(scores["left_out"], left_out_scores(x, truth, best), rtol=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_ridge_probes_logits_are_its_scores_calibrated(exclusive):
    """Of two classes the softmax has the odds of either one's sigmoid."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(IMAGES, 8)) + 3
    kinds = (x[:, 0] + rng.normal(size=IMAGES) > 3).astype(int)
    truth = one_hot(kinds, 2)
    fitted = ridge_probe(x, truth, ones(truth), exclusive)
    best = RidgeCV(alphas=strengths(x)).fit(x, truth).alpha_
    score = Ridge(alpha=best).fit(x, truth[:, 1]).predict(x)
    calibrated = sklearns(left_out_scores(x, truth[:, 1], best)[:, None], truth[:, 1])
    expected = calibrated.predict_proba(score[:, None])[:, 1]
    p = (softmax if exclusive else sigmoid)(fitted, x)
    np.testing.assert_allclose(p[:, 1], expected, atol=1e-4)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-4)
    assert np.mean((p[:, 1] > 0.5) == kinds) > 0.7


def test_excluded_labels_count_as_their_classes_mean():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(IMAGES, 8))
    truth = (x[:, :2] + rng.normal(size=(IMAGES, 2)) > 0).astype(float)
    weight = np.ones(truth.shape)
    weight[:15, 0] = 0
    other = np.where(weight > 0, truth, 1 - truth)
    fitted, alike = (ridge_probe(x, labels, weight, exclusive=False) for labels in (truth, other))
    np.testing.assert_array_equal(fitted.kernel, alike.kernel)
    np.testing.assert_array_equal(fitted.bias, alike.bias)
    filled = truth[:, 0].copy()
    filled[:15] = truth[15:, 0].mean()
    directions = [Ridge(alpha=a).fit(x, filled).coef_ for a in strengths(x)]
    kernel = np.asarray(fitted.kernel[:, 0])
    cosines = [kernel @ d / np.linalg.norm(kernel) / np.linalg.norm(d) for d in directions]
    assert max(cosines) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_codes_that_tell_nothing_leave_the_frequency(exclusive):
    """Leaving an image out lowers its class's mean, so that the scores run against the labels."""
    truth = one_hot(np.int64(np.arange(IMAGES) % 3 > 0), 2)
    fitted = ridge_probe(np.ones((IMAGES, 4)), truth, ones(truth), exclusive)
    p = (softmax if exclusive else sigmoid)(fitted, np.ones((1, 4)))[0]
    np.testing.assert_allclose(p, (truth.sum(axis=0) + 0.5) / (IMAGES + 1), rtol=1e-5)


# As baselines of a task --------------------------------------------------------------------------


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
