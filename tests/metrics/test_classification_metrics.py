"""Metrics of a whole split against their definitions, known cases and scikit-learn."""

from fractions import Fraction
from math import isnan

import numpy as np
import pytest
import sklearn.metrics

from vocjax.metrics import classification
from vocjax.metrics.classification import average_precision, decisions, paired_bootstrap

EXCLUSIVE = pytest.mark.parametrize("exclusive", [True, False], ids=["softmax", "sigmoids"])


def draw(seed=0, n=80, classes=5):
    """Probabilities that know something, a 0 / 1 target and a weight that spares 1 in 8."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    target = np.eye(classes, dtype=int)[truth] | (rng.random((n, classes)) < 0.1)
    logits = 2.0 * target + rng.normal(0, 1.5, (n, classes))
    weight = (rng.random((n, classes)) < 0.875).astype(np.float32)
    return 1 / (1 + np.exp(-logits)), target, weight


def one_class_each(seed=0, n=80, classes=5):
    """Softmax probabilities, a one-hot target, and every weight 1."""
    probability, target, weight = draw(seed, n, classes)
    one_hot = np.eye(classes, dtype=int)[target.argmax(axis=1)]
    return probability / probability.sum(axis=1, keepdims=True), one_hot, np.ones_like(weight)


def by_definition(score, truth, rule):
    """The area under, or the mean of 11 points of: recall -> largest precision from there on."""
    points = []
    for threshold in set(score.tolist()):
        retrieved = [t for s, t in zip(score, truth, strict=True) if s >= threshold]
        hits = int(sum(retrieved))
        points.append((Fraction(hits, int(sum(truth))), Fraction(hits, len(retrieved))))

    def precision_from(recall):
        return max(p for r, p in points if r >= recall)

    if rule == "11 points":
        return float(sum(precision_from(Fraction(i, 10)) for i in range(11)) / 11)
    area, reached = Fraction(0), Fraction(0)
    for recall in sorted({r for r, _ in points if r > 0}):
        area += (recall - reached) * precision_from(recall)
        reached = recall
    return float(area)


class TestAveragePrecision:
    @pytest.mark.parametrize("rule", classification.RULES)
    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_that_of_the_definition(self, rule, seed):
        rng = np.random.default_rng(seed)
        truth = rng.random(50) < (0.1, 0.5)[seed % 2]
        truth[seed] = True
        score = rng.random(50) if seed < 2 else rng.integers(0, 8, 50) / 8  # with ties
        found = average_precision(score, truth, rule)
        assert found == pytest.approx(by_definition(score, truth, rule), abs=1e-14)

    @pytest.mark.parametrize(
        ("truth", "eleven", "every"),
        [
            ([1, 1, 0, 0], 1, 1),
            ([0, 0, 0, 1], 1 / 4, 1 / 4),
            # Recall 1/2 at precision 1, then recall 1 at 2/3.
            ([1, 0, 1, 0], (6 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3),
            # The second positive lifts the precision of the first from 1/2 to 2/3.
            ([0, 1, 1, 0], 2 / 3, 2 / 3),
        ],
    )
    def test_known_cases(self, truth, eleven, every):
        score, truth = np.array([0.9, 0.8, 0.3, 0.1]), np.array(truth)
        assert average_precision(score, truth, "11 points") == pytest.approx(eleven)
        assert average_precision(score, truth, "every point") == pytest.approx(every)

    def test_a_recall_of_exactly_three_tenths_counts_for_that_point(self):
        """0.1 + 0.1 + 0.1 > 0.3 in floating point."""
        truth, score = np.repeat([1, 0, 1], [3, 90, 7]), np.linspace(1, 0, 100)
        expected = by_definition(score, truth, "11 points")
        assert expected > 4 / 11
        assert average_precision(score, truth, "11 points") == pytest.approx(expected, abs=1e-14)

    @pytest.mark.parametrize("rule", classification.RULES)
    def test_it_is_nan_without_a_positive_and_an_error_by_another_rule(self, rule):
        assert isnan(average_precision(np.array([0.1, 0.9]), np.zeros(2), rule))
        assert isnan(average_precision(np.zeros(0), np.zeros(0), rule))
        with pytest.raises(ValueError, match=rule):
            average_precision(np.ones(1), np.ones(1), "every pixel")


class TestCurves:
    score, truth = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])

    def test_precision_and_recall_at_each_score(self):
        recall, precision = classification.precision_recall(self.score, self.truth)
        np.testing.assert_allclose(recall, [1, 1, 0.5, 0.5, 0])
        np.testing.assert_allclose(precision, [1 / 2, 2 / 3, 1 / 2, 1, 1])

    def test_the_roc_curve_goes_from_corner_to_corner_over_its_steps(self):
        false_positive, true_positive = classification.roc(self.score, self.truth)
        np.testing.assert_allclose(false_positive, [0, 0, 0.5, 0.5, 1])
        np.testing.assert_allclose(true_positive, [0, 0.5, 0.5, 1, 1])

    def test_a_curve_that_is_not_defined_is_an_error(self):
        roc, precision_recall = classification.roc, classification.precision_recall
        for curve, truth in ((roc, np.zeros), (roc, np.ones), (precision_recall, np.zeros)):
            with pytest.raises(ValueError, match="positive"):
                curve(np.arange(3.0), truth(3))


class TestConfusion:
    def test_it_is_scikit_learns_where_nothing_is_excluded(self):
        probability, target, weight = one_class_each()
        classes = target.argmax(axis=1), probability.argmax(axis=1)
        found = classification.confusion(probability, target, weight)
        assert np.issubdtype(found.dtype, np.integer)
        np.testing.assert_array_equal(found, sklearn.metrics.confusion_matrix(*classes))

    @pytest.mark.parametrize(
        ("probability", "target", "weight", "expected"),
        [
            (  # excluded columns are passed over in truth and decision
                [[0.9, 0.5, 0.2], [0.1, 0.8, np.nan], [0.9, 0.5, 0.6]],
                [[0, 1, 0], [0, 1, 1], [1, 0, 1]],
                [[0, 1, 1], [1, 1, 0], [0, 1, 1]],
                [[0, 0, 0], [0, 2, 0], [0, 0, 1]],
            ),
            (  # of several present classes the decided one is the truth
                [[0.2, 0.8, 0.0], [0.2, 0.0, 0.8]],
                [[1, 1, 0]] * 2,
                [[1, 1, 1]] * 2,
                [[0, 0, 1], [0, 1, 0], [0, 0, 0]],
            ),
            (  # images without an included present class are left out
                [[0.9, 0.1]] * 3,
                [[0, 0], [1, 0], [0, 1]],
                [[1, 1], [0, 1], [1, 1]],
                [[0, 0], [1, 0]],
            ),
        ],
        ids=["excluded", "several", "none"],
    )
    def test_it_counts_what_is_included(self, probability, target, weight, expected):
        arrays = map(np.array, (probability, target, weight))
        np.testing.assert_array_equal(classification.confusion(*arrays), expected)

    def test_the_order_of_several_present_classes_has_no_effect(self):
        probability = np.array([[0.2, 0.8, 0.0], [0.2, 0.0, 0.8]])
        for order in ([0, 1, 2], [2, 1, 0]):
            target = np.array([[1, 1, 0]] * 2)[:, order]
            found = classification.classification_metrics(
                probability[:, order], target, np.ones((2, 3)), exclusive=True
            )
            assert found["balanced_accuracy"] == pytest.approx(1 / 2)


class TestCalibration:
    def test_bins_hold_their_mean_confidence_share_and_count(self):
        confidence = np.array([0.0, 0.1, 0.5, 0.51, 0.99, 1.0])
        right = np.array([0, 1, 1, 0, 1, 1])
        found = classification.reliability(confidence, right, bins=4)
        expected = [0.05, 0.5, 0.51, 0.995], [0.5, 1, 0, 1], [2, 1, 1, 2]
        for values, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(values, wanted)

    def test_the_error_is_that_of_a_loop_over_the_bins(self):
        rng = np.random.default_rng(0)
        confidence, right = rng.random(300), rng.random(300) < 0.7
        bins = [(i / 15 < confidence) & (confidence <= (i + 1) / 15) for i in range(15)]
        error = sum(abs((right - confidence)[inside].sum()) for inside in bins) / 300
        found = classification.expected_calibration_error(confidence, right)
        assert found == pytest.approx(error, rel=1e-12)

    def test_overconfident_decisions_have_an_error_and_calibrated_ones_none(self):
        right = np.array([1, 1, 1, 0] * 5)
        error = classification.expected_calibration_error
        assert error(np.full(20, 0.75), right) == 0
        assert error(np.full(20, 0.95), right) == pytest.approx(0.2)
        assert isnan(error(np.zeros(0), np.zeros(0)))

    def test_exclusive_decisions_are_one_an_image(self):
        probability = np.array([[7, 2, 1], [6, 3, 1], [5, 3, 2], [2, 2, 6], [8, 1, 1]]) / 10
        target = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1]])
        weight = np.ones_like(target)
        weight[1, 0] = 0
        confidence, right = decisions(probability, target, weight, exclusive=True)
        assert confidence.tolist() == [0.7, 0.3, 0.6, 0.8]
        assert right.tolist() == [True, True, True, False]

    def test_sigmoids_decide_on_every_included_element(self):
        probability, target = np.array([[0.25, 0.75], [0.875, 0.5]]), np.array([[0, 0], [1, 1]])
        weight = np.array([[1, 1], [0, 1]])
        confidence, right = decisions(probability, target, weight, exclusive=False)
        assert confidence.tolist() == [0.75, 0.75, 0.5]
        assert right.tolist() == [True, False, False]


class TestClassificationMetrics:
    def test_exclusive_ones_are_scikit_learns(self):
        probability, target, weight = one_class_each()
        truth, decided = target.argmax(axis=1), probability.argmax(axis=1)
        found = classification.classification_metrics(probability, target, weight, exclusive=True)
        peers, options = sklearn.metrics, {"average": "macro"}
        for name, expected in {
            "balanced_accuracy": peers.balanced_accuracy_score(truth, decided),
            "f1": peers.f1_score(truth, decided, **options),
            "roc_auc": peers.roc_auc_score(truth, probability, multi_class="ovr", **options),
        }.items():
            assert found[name] == pytest.approx(expected), name

    def test_those_of_sigmoids_are_scikit_learns_over_included_elements(self):
        probability, target, weight = draw()
        columns = [
            (t[w > 0], p[w > 0]) for p, t, w in zip(probability.T, target.T, weight.T, strict=True)
        ]
        found = classification.classification_metrics(probability, target, weight, exclusive=False)
        for name, score in {
            "balanced_accuracy": lambda t, p: sklearn.metrics.balanced_accuracy_score(t, p > 0.5),
            "f1": lambda t, p: sklearn.metrics.f1_score(t, p > 0.5),
            "roc_auc": sklearn.metrics.roc_auc_score,
            "map_11_points": lambda t, p: by_definition(p, t, "11 points"),
            "map_every_point": lambda t, p: by_definition(p, t, "every point"),
        }.items():
            assert found[name] == pytest.approx(np.mean([score(t, p) for t, p in columns])), name

    @EXCLUSIVE
    def test_the_values_of_excluded_elements_change_nothing(self, exclusive):
        probability, target, weight = draw()
        other_p, other_t = (np.where(weight > 0, x, np.nan) for x in (probability, target))
        found = classification.classification_metrics(probability, target, weight, exclusive)
        assert found == classification.classification_metrics(other_p, other_t, weight, exclusive)
        assert set(found) == {
            "balanced_accuracy", "f1", "roc_auc", "map_11_points", "map_every_point", "ece"
        }  # fmt: skip

    @EXCLUSIVE
    def test_scores_that_are_not_finite_give_no_value(self, exclusive):
        probability, target, weight = draw()
        probability[weight > 0] = np.nan
        found = classification.classification_metrics(probability, target, weight, exclusive)
        assert found.keys() == set(classification.RANKED) and np.isnan([*found.values()]).all()

    def test_columns_without_positives_or_negatives_are_left_out_where_undefined(self):
        probability = np.array([[0.9, 0.9, 0.2], [0.8, 0.2, 0.3], [0.7, 0.6, 0.1]])
        target = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0]])
        found = classification.classification_metrics(
            probability, target, np.ones((3, 3)), exclusive=False
        )
        assert found["balanced_accuracy"] == 0.75  # of the second column alone
        assert found["roc_auc"] == 1
        assert found["f1"] == pytest.approx((1 + 2 / 3) / 2)  # of the first two
        assert found["map_11_points"] == 1

    def test_a_class_that_never_occurs_counts_for_f1_where_it_is_decided_for(self):
        probability = np.array([[0.6, 0.4, 0], [0.3, 0.7, 0], [0.1, 0.2, 0.7]])
        target = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
        found = classification.classification_metrics(probability, target, np.ones((3, 3)), True)
        assert found["balanced_accuracy"] == 0.75
        assert found["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)

    @EXCLUSIVE
    @pytest.mark.parametrize("n", [0, 3])
    def test_nothing_defined_is_nan(self, exclusive, n):
        zero = np.zeros((n, 2))
        found = classification.classification_metrics(zero, zero, zero, exclusive)
        assert all(isnan(value) for value in found.values())


@pytest.mark.parametrize(
    "call",
    [
        lambda: average_precision(np.ones(3), np.ones(2), "11 points"),
        lambda: classification.roc(np.ones((3, 1)), np.ones((3, 1))),
        lambda: classification.precision_recall(np.ones(2), np.ones(3)),
        lambda: classification.confusion(np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 1))),
        lambda: decisions(np.ones((3, 2)), np.ones((2, 2)), np.ones((3, 2)), True),
        lambda: classification.reliability(np.ones(3), np.ones(2)),
        lambda: classification.classification_metrics(np.ones(3), np.ones(3), np.ones(3), True),
        lambda: paired_bootstrap(np.ones(3), np.ones(2), None),
        lambda: paired_bootstrap(np.ones(3), np.ones(3), np.ones(2)),
    ],
)
def test_shapes_that_do_not_fit_are_an_error(call):
    with pytest.raises(ValueError, match="expected arrays alike"):
        call()
