"""Logistic regression and the ridge probe: against scikit-learn, a loop and NumPy."""

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
