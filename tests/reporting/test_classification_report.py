"""What the report draws of task 2: the samples of a run, and runs together."""

import numpy as np
import pytest
from example_runs import codes_of, run_of
from figure_texts import assert_readable, dots_of, legend, named, ticks, titles

from vocjax import painting
from vocjax.data.classes import VOC
from vocjax.metrics.classification import (
    classification_metrics,
    decisions,
    expected_calibration_error,
    reliability,
)
from vocjax.reporting import classification

PAIR = ("aeroplane", "dog")
MAP = "map_11_points"
SOFTMAX, SIGMOIDS = "softmax_cross_entropy", "binary_cross_entropy"


def samples_of(probability, states):
    """Samples of probabilities [n, K] and states [n, K]: 1 present, 0 difficult, -1 absent."""
    states = np.array(states)
    arrays = {"probability": probability, "target": states == 1, "weight": states != 0}
    return {f"val/{name}": np.array(array, np.float32) for name, array in arrays.items()}


FOUR = samples_of(
    [[0.1, 0.7], [0.8, 0.3], [0.6, 0.2], [0.9, 0.9]], [[-1, 1], [1, -1], [-1, 1], [0, -1]]
)


def many(classes, n=60):
    """Samples of images that mostly show one class, some difficult elements."""
    rng = np.random.default_rng(0)
    states = np.where(np.eye(classes)[rng.integers(0, classes, n)] > 0, 1, -1)
    states[rng.random(states.shape) < 0.05] = 0
    logits = np.where(states == 1, 2, -1) + rng.normal(0, 1.5, states.shape)
    return samples_of(1 / (1 + np.exp(-logits)), states)


def drawn(samples, classes=PAIR, loss=SOFTMAX):
    fields = {"data.classes": list(classes), "loss.name": loss}
    return classification.figures(run_of("classification", samples=samples, **fields))


def starts(figures):
    return [title.split()[0] for title in figures]


def captions(figure):
    texts = [text for axis in figure.axes for text in ticks(axis, "x")]
    return [" ".join(text.split()) for text in texts if text.strip()]


@pytest.fixture(scope="module")
def of_four():
    return drawn(FOUR)


@pytest.fixture(scope="module")
def of_nine():
    return drawn(many(9, 90), VOC.names[:9])


@pytest.fixture(scope="module")
def of_sigmoids():
    return drawn(many(3), VOC.names[:3], SIGMOIDS)


class TestElements:
    def test_a_run_without_pictures_has_what_its_elements_say(self, of_four):
        assert starts(of_four) == ["Probability", "Confusion", "ROC", "Precision", "Calibration,"]
        assert drawn({}) == {}

    def test_bars_are_the_probability_of_the_true_class_sorted_within_it(self, of_four):
        figure = named(of_four, "Probability")
        bars = [axis.patches[0].get_data().values.tolist() for axis in figure.axes]
        assert bars == [pytest.approx([0.8]), pytest.approx([0.7, 0.2])]
        assert titles(figure) == ["aeroplane\n1 of 1 > .5", "dog\n1 of 2 > .5"]
        lines = [line for axis in figure.axes for line in axis.get_lines()]
        assert [list(line.get_ydata()) for line in lines] == [[0.5, 0.5]] * 2

    def test_of_many_classes_each_that_has_images_has_a_panel(self, of_nine):
        figure, target = named(of_nine, "Probability"), many(9, 90)["val/target"]
        panels = [title.split("\n") for title in titles(figure)][:9]
        assert [name for name, _ in panels] == list(VOC.names[:9])
        first = target.argmax(axis=1)[target.any(axis=1)]
        assert [int(text.split()[2]) for _, text in panels] == np.bincount(first).tolist()
        assert [axis.get_visible() for axis in figure.axes] == [True] * 9 + [False] * 3

    def test_the_confusion_matrix_counts_and_shades_by_row(self, of_four):
        axis = named(of_four, "Confusion").axes[0]
        cells = {text.get_position(): text.get_text() for text in axis.texts}
        expected = {(0.5, 0.5): "1", (1.5, 0.5): "0", (0.5, 1.5): "1", (1.5, 1.5): "1"}
        assert cells == expected  # x is the decision, y the truth
        assert axis.yaxis_inverted()
        shares = np.asarray(axis.collections[0].get_array())
        np.testing.assert_allclose(shares, [[1, 0], [0.5, 0.5]])

    def test_a_confusion_matrix_needs_exclusive_classes_or_two(self, of_sigmoids):
        assert "Confusion" not in starts(of_sigmoids)
        assert "Confusion" in starts(drawn(FOUR, loss=SIGMOIDS))

    def test_curves_are_labelled_with_their_class_and_value(self, of_sigmoids):
        elements = (many(3)[f"val/{name}"] for name in classification.Elements._fields)
        values = classification_metrics(*elements, exclusive=False)
        for start, measure, mean in (("ROC", "AUC", "roc_auc"), ("Precision", "AP", MAP)):
            texts = legend(named(of_sigmoids, start))
            assert [text.split(f", {measure} ")[0] for text in texts] == list(VOC.names[:3])
            shown = [float(text.split()[-1]) for text in texts]
            assert np.mean(shown) == pytest.approx(values[mean], abs=5e-4)

    def test_a_class_whose_name_begins_with_a_line_is_in_the_legend(self):
        figures = drawn(FOUR, ["_cat", "$x_1$"], SIGMOIDS)
        names = [text.split(",")[0] for text in legend(named(figures, "ROC"))]
        assert names == ["_cat", "$x_1$"]

    def test_of_many_classes_the_best_the_worst_and_the_mean_are_named(self, of_nine):
        for start in ("ROC", "Precision"):
            figure = named(of_nine, start)
            best, worst, mean = (float(text.split()[-1]) for text in legend(figure))
            assert best > mean > worst
            assert legend(figure)[2].startswith("mean of 9, ")
            assert sum(len(line.get_xdata()) > 2 for line in figure.axes[0].get_lines()) == 9

    def test_a_class_without_positives_has_no_curve(self):
        states = [[1, -1, -1], [-1, 1, -1], [1, -1, 0]]
        figures = drawn(samples_of(np.full((3, 3), 0.3), states), VOC.names[:3])
        for start in ("ROC", "Precision"):
            names = [text.split(",")[0] for text in legend(named(figures, start))]
            assert names == ["aeroplane", "bicycle"]

    def test_calibration_has_its_error_in_the_title_and_every_decision_in_the_histogram(
        self, of_sigmoids
    ):
        (title,) = (title for title in of_sigmoids if title.startswith("Calibration"))
        above, below = of_sigmoids[title].axes
        elements = (many(3)[f"val/{name}"] for name in classification.Elements._fields)
        confidence, right = decisions(*elements, exclusive=False)
        assert title.endswith(f"{expected_calibration_error(confidence, right):.3f}")
        (steps,) = below.patches
        assert steps.get_data().values.sum() == len(confidence)
        expected = reliability(confidence, right)[:2]
        np.testing.assert_allclose(above.get_lines()[1].get_data(), expected, rtol=1e-6)


class TestMistakes:
    def mistakes(self, probability, states, classes=PAIR, choice=True):
        states, probability = np.array(states), np.array(probability)
        shades = np.arange(len(states), dtype=np.uint8)
        samples = {"val/thumbnail": shades[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)}
        arrays = (probability, states == 1, states != 0)
        elements = classification.Elements(*(np.asarray(array, float) for array in arrays))
        found = classification._mistakes(samples, elements, classes, choice)
        return next(iter(found.values()), None)

    def shades(self, figure):
        strips = [np.asarray(axis.get_images()[0].get_array())[0, ::5, 0] for axis in figure.axes]
        return np.concatenate(strips).tolist()

    def test_the_most_confident_wrong_decision_comes_first(self):
        figure = self.mistakes([[0.9, 0.1], [0.4, 0.6], [0.02, 0.98], [0.3, 0.7]], [[1, -1]] * 4)
        expected = ["dog .98, is aeroplane", "dog .70, is aeroplane", "dog .60, is aeroplane"]
        assert captions(figure) == expected
        assert self.shades(figure)[:3] == [2, 3, 1]

    @pytest.mark.parametrize(
        ("probability", "states"),
        [
            ([[0.9, 0.1], [0.2, 0.8]], [[1, -1], [-1, 1]]),
            # A difficult class, and an image without any class.
            ([[0.1, 0.9], [0.3, 0.7]], [[1, 0], [-1, -1]]),
        ],
    )
    def test_without_a_mistake_there_is_no_picture(self, probability, states):
        assert self.mistakes(probability, states) is None

    def test_at_most_sixteen_in_rows_of_four_and_the_last_is_filled_up(self):
        wrong = np.linspace(0.6, 0.99, 30)
        p = np.stack([1 - wrong, wrong], axis=1)
        figure = self.mistakes(p, [[1, -1]] * 30)
        assert self.shades(figure) == list(range(29, 13, -1))
        assert len(figure.axes) == 4
        six = self.mistakes(p[:6], [[1, -1]] * 6)
        assert self.shades(six) == [5, 4, 3, 2, 1, 0, 255, 255]
        assert len(captions(six)) == 6

    def test_of_several_sigmoids_the_worst_column_counts(self):
        figure = self.mistakes(
            [[0.9, 0.7, 0.1], [0.4, 0.9, 0.03], [0.2, 0.9, 0.2], [0.1, 0.1, 0.96]],
            [[1, -1, -1], [-1, 1, 1], [-1, 1, 0], [-1, -1, -1]],
            VOC.names[:3],
            choice=False,
        )
        expected = ["bird .03, is there", "bird .96, is none of them", "bicycle .70, is aeroplane"]
        assert captions(figure) == expected


def test_images_have_their_evidence_class_and_probability_and_a_decoders_images():
    evidence = np.array([[[4, 0], [0, -4]], [[2, 2], [2, 2]]], np.float32)
    image = np.full((2, 16, 16, 1), 0.5, np.float16)
    samples = FOUR | {"evidence": evidence, "image": image, "shown": np.array([0, 2])}
    figures = drawn(samples | {"reconstruction": image})
    figure = named(figures, "What each")
    assert titles(figure) == ["validation image", "evidence"]
    assert captions(figure) == ["dog .70", "aeroplane .60"]
    shown = np.asarray(figure.axes[1].get_images()[0].get_array())[:, :16]
    heat = painting.heat_map(painting.grey(image), evidence)
    np.testing.assert_array_equal(shown, heat[0])
    assert titles(figures["Reconstructions"]) == ["validation image", "reconstruction"]


def test_runs_say_what_each_image_shows_and_mark_what_is_wrong():
    shown = {"image": np.zeros((2, 8, 8, 3), np.float16), "shown": np.array([0, 2])}
    shown |= {"val/ids": np.array(list("abcd"))}
    other = samples_of(np.full((4, 2), [0.9, 0.1]), [[-1, 1], [1, -1], [-1, 1], [0, -1]])
    runs = [
        run_of("classification", name, samples=shown | samples, **{"data.classes": list(PAIR)})
        for name, samples in (("first", FOUR), ("second", other))
    ]
    (figure,) = classification.side_by_side(runs).values()
    assert titles(figure) == ["", "first", "second"]
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes[1:]]
    cross = " \N{MULTIPLICATION SIGN}"
    assert texts == [["dog\n.70", f"aeroplane\n.60{cross}"], [f"aeroplane\n.90{cross}"] * 2]
    assert_readable(figure, "side by side")


def test_codes_before_and_after_training_and_those_of_a_frozen_encoder_once():
    title = "Codes {} training; the pointer shows the image of a point"
    before, after = codes_of("before/", shift=1), codes_of()
    figures = drawn(before | after)
    assert list(figures) == [title.format("before"), title.format("after")]
    for shift, scatter in enumerate(reversed(figures.values())):
        principal, tsne = scatter.views.values()
        assert np.unique(principal).tolist() == [shift]
        assert np.unique(tsne).tolist() == [10 + shift]
    assert list(drawn(codes_of("before/") | after)) == [title.format("before and after")]
    assert list(drawn(after)) == [title.format("after")]


@pytest.mark.parametrize(
    "classes",
    [PAIR, ("pottedplant", "diningtable", "motorbike", "tvmonitor"), VOC.names],
    ids=["2", "4", "20"],
)
def test_no_text_is_cut_and_none_overlaps_another(classes):
    samples = many(len(classes), 160)
    samples["val/thumbnail"] = np.zeros((160, 8, 8, 3), np.uint8)
    samples |= {"image": np.zeros((8, 8, 8, 3), np.float16), "shown": np.arange(8)}
    samples["evidence"] = np.ones((8, 2, 2), np.float32)
    figures = drawn(samples, classes)
    assert len(figures) == 7
    for title, figure in figures.items():
        assert_readable(figure, title)


LEGACY = {"data.split": "legacy_917_139", "data.several": "repeat", "epochs": 12}
FROM_256 = LEGACY | {"model.encoder": [256, 128, 64, 32, 16], "optimizer.name": "sgd"}


def finished(name, accuracy, seed=0, majority=None, **fields):
    results = {"val": {} if accuracy is None else {"elementwise_accuracy": accuracy}}
    if majority is not None:
        values = {"val": {"elementwise_accuracy": majority}}
        results["baselines"] = {"majority class (frequency)": values}
    return run_of("classification", name, results, seed=seed, **fields)


class TestComparison:
    runs = (
        finished("Frozen", 0.8),
        finished("Ours", 0.85, **FROM_256),
        finished("Ours", 0.95, seed=1, **FROM_256),
        finished("Best", 0.97),
    )

    def test_names_have_every_seed_and_the_studys_value_the_best_first(self):
        title, panels, levels = dots_of(classification.comparison, self.runs)
        assert panels[""] == [
            ("Best", {"accuracy": [0.97]}, None),
            ("Ours", {"accuracy": [0.85, 0.95]}, 0.871),
            ("Frozen", {"accuracy": [0.8]}, None),
        ]
        assert levels == {}
        assert "crosses" in title and "dotted" not in title

    def test_the_majority_class_has_a_level(self):
        runs = *self.runs, finished("Scratch", 0.84, majority=0.618)
        title, _, levels = dots_of(classification.comparison, runs)
        assert levels == {"": 0.618}
        assert "dotted" in title

    def test_fewer_than_three_names_and_unfinished_runs_are_no_comparison(self):
        few = [*self.runs[:3], run_of("classification", "begun"), finished("without", None)]
        assert classification.comparison(few) == {}
