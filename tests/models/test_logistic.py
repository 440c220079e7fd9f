"""Logistic regression on the device, against scikit-learn's at the same C."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from vocjax.models import logistic

N, NUMBERS, CLASSES = 120, 30, 3
FITTED = {"max_iter": 5000, "tol": 1e-9}


@pytest.fixture(scope="module")
def problem():
    """Noisy classes [n] of features [n, numbers], not centred and of different scales."""
    rng = np.random.default_rng(0)
    features = rng.normal(2, rng.uniform(0.2, 3, NUMBERS), (N, NUMBERS))
    scores = features @ rng.normal(size=(NUMBERS, CLASSES)) + rng.normal(0, 8, (N, CLASSES))
    return features, scores.argmax(axis=1)


def examples_of(features, labels, weight=None):
    present = np.eye(CLASSES, dtype=np.float32)[labels]
    weight = np.ones_like(present) if weight is None else weight
    return logistic.Examples(*map(jnp.asarray, (features.astype(np.float32), present, weight)))


def begin(value=0.0):
    return logistic.Linear(jnp.full((NUMBERS, CLASSES), value), jnp.full(CLASSES, value))


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_exclusive_classes_equal_a_multinomial_fit(problem, strength):
    features, labels = problem
    ours = logistic.fit(begin(), examples_of(*problem), strength, exclusive=True)
    theirs = LogisticRegression(C=strength, **FITTED).fit(features, labels)
    np.testing.assert_allclose(
        jax.nn.softmax(ours(features.astype(np.float32))), theirs.predict_proba(features), atol=1e-3
    )
    np.testing.assert_allclose(ours.kernel.T, theirs.coef_, atol=2e-3)


def test_two_exclusive_classes_equal_a_fit_of_one_logit(problem):
    features, labels = problem
    present = jnp.eye(2)[(labels == 1).astype(int)]
    examples = logistic.Examples(jnp.asarray(features, jnp.float32), present, jnp.ones((N, 2)))
    zero = logistic.Linear(jnp.zeros((NUMBERS, 2)), jnp.zeros(2))
    ours = logistic.fit(zero, examples, 0.1, exclusive=True)
    theirs = LogisticRegression(C=0.1, **FITTED).fit(features, labels == 1)
    np.testing.assert_allclose(ours.kernel[:, 1] - ours.kernel[:, 0], theirs.coef_[0], atol=2e-3)


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_sigmoids_equal_a_fit_of_each_class(problem, strength):
    """Rows of weight 0 are left out, and the start does not matter."""
    features, labels = problem
    weight = np.random.default_rng(1).integers(0, 2, (N, CLASSES)).astype(np.float32)
    ours = logistic.fit(begin(0.3), examples_of(*problem, weight), strength)
    for column in range(CLASSES):
        rows = weight[:, column] > 0
        model = LogisticRegression(C=strength, **FITTED)
        theirs = model.fit(features[rows], labels[rows] == column)
        expected = theirs.decision_function(features)
        np.testing.assert_allclose(
            ours(features.astype(np.float32))[:, column], expected, atol=0.02, rtol=2e-3
        )


def test_a_class_that_does_not_count_has_no_part_in_a_softmax(problem):
    features, labels = problem
    weight = np.ones((N, CLASSES), np.float32)
    weight[:, 2] = 0
    ours = logistic.fit(begin(), examples_of(*problem, weight), 0.1, exclusive=True)
    rows = labels < 2
    # One kernel, and ours are its halves: half the penalty.
    theirs = LogisticRegression(C=0.2, **FITTED).fit(features[rows], labels[rows])
    difference = ours.kernel[:, 1] - ours.kernel[:, 0]
    np.testing.assert_allclose(difference, theirs.coef_[0], atol=2e-3)


def test_the_strength_has_the_least_loss_on_groups_held_out(problem):
    """Of pairs of equal images, one held out alone would be known from the other."""
    features, labels = (np.repeat(x, 2, axis=0) for x in problem)
    groups = np.repeat(np.arange(N), 2)
    fit, strength, losses = logistic.cross_validated(
        examples_of(features, labels), groups, exclusive=True
    )
    assert strength == logistic.STRENGTHS[losses.argmin()]
    again = logistic.fit(begin(), examples_of(features, labels), strength, exclusive=True)
    np.testing.assert_allclose(fit.kernel, again.kernel, atol=1e-4)
    expected = []
    for train, val in GroupKFold(logistic.FOLDS).split(features, groups=groups):
        model = LogisticRegression(C=strength, **FITTED).fit(features[train], labels[train])
        expected += np.log(
            model.predict_proba(features[val])[range(len(val)), labels[val]]
        ).tolist()
    assert losses.min() == pytest.approx(-np.mean(expected), rel=0.1)  # of other folds
    _, alone, _ = logistic.cross_validated(
        examples_of(features, labels), np.arange(2 * N), exclusive=True
    )
    assert alone > strength
