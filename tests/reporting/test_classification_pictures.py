"""What the report draws of task 2's samples."""

import matplotlib
import numpy as np
import pytest

from vocjax.data.devkit import CLASSES
from vocjax.metrics.classification import (
    classification_metrics,
    decisions,
    expected_calibration_error,
    reliability,
)
from vocjax.reporting import classification
from vocjax.reporting import figures as draw
from vocjax.reporting.hover import Scatter

PAIR = ("aeroplane", "dog")
SOFTMAX, SIGMOIDS = "softmax_cross_entropy", "binary_cross_entropy"


def samples_of(classes, probability, states):
    """Samples of probabilities [n, K] and states [n, K]: 1 present, 0 difficult, -1 absent."""
    labels = np.full((len(states), 20), -1)
    labels[:, [CLASSES.index(name) for name in classes]] = states
    return {"val/labels": labels, "val/probability": np.array(probability, np.float32)}


def many(classes, n=60, seed=0):
    """Samples of images that mostly show one class, some difficult elements."""
    rng = np.random.default_rng(seed)
    states = np.where(np.eye(len(classes))[rng.integers(0, len(classes), n)] > 0, 1, -1)
    states[rng.random(states.shape) < 0.05] = 0
    logits = np.where(states == 1, 2, -1) + rng.normal(0, 1.5, states.shape)
    return samples_of(classes, 1 / (1 + np.exp(-logits)), states)


def drawn(samples, classes=PAIR, loss=SOFTMAX):
    config = {"data": {"classes": list(classes)}, "loss": {"name": loss}}
    return classification.figures(samples, config)


def named(figures, start):
    (figure,) = (figure for title, figure in figures.items() if title.startswith(start))
    return figure


def starts(figures):
    return [title.split()[0] for title in figures]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def captions(figure):
    ticks = [tick.get_text() for axis in figure.axes for tick in axis.get_xticklabels()]
    return [" ".join(text.split()) for text in ticks if text.strip()]


@matplotlib.rc_context(draw.STYLE)
def texts_of(figure):
    """The extents of every text that is drawn, in pixels, and the figure's own."""
    figure.draw_without_rendering()
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for axis in figure.axes:
        if axis.get_visible():
            found += [*axis.texts, axis.xaxis.label, axis.yaxis.label, axis._left_title]
            for ticks, side in ((axis.xaxis, 0), (axis.yaxis, 1)):
                low, high = sorted(ticks.get_view_interval())
                labels = ticks.get_ticklabels()  # those out of view are none that is drawn
                found += [text for text in labels if low <= text.get_position()[side] <= high]
    boxes = [text.get_window_extent() for text in found if text.get_text().strip()]
    return boxes, figure.bbox


class TestOfClasses:
    samples = samples_of(
        PAIR,
        [[0.1, 0.7], [0.8, 0.3], [0.6, 0.2], [0.9, 0.9]],
        [[-1, 1], [1, -1], [-1, 1], [0, -1]],
    )

    def test_bars_are_the_probability_of_the_true_class(self):
        figure = named(drawn(self.samples), "Probability")
        bars = [[bar.get_height() for bar in c] for c in figure.axes[0].containers]
        assert bars == [pytest.approx([0.8]), pytest.approx([0.7, 0.2])]

    def test_of_many_classes_each_has_a_panel(self):
        samples = many(CLASSES[:8])
        figure = named(drawn(samples, CLASSES[:8]), "Probability")
        titles = [axis.get_title(loc="left").split("\n") for axis in figure.axes]
        assert [title[0] for title in titles] == list(CLASSES[:8])
        present = samples["val/labels"][:, :8] == 1
        first = present.argmax(axis=1)[present.any(axis=1)]
        counts = [title[1].split()[2] for title in titles]
        assert counts == [str((first == i).sum()) for i in range(8)]

    def test_a_class_of_few_images_has_a_panel_where_its_name_would_not_fit(self):
        states = np.full((50, 3), -1)
        states[np.arange(50), [0] * 40 + [1] * 6 + [2] * 4] = 1
        samples = samples_of(CLASSES[:3], np.full((50, 3), 0.3), states)
        assert len(named(drawn(samples, CLASSES[:3]), "Probability").axes) == 4  # one is hidden

    def test_the_confusion_matrix_counts_and_shades_by_row(self):
        figure = named(drawn(self.samples), "Confusion")
        axis = figure.axes[0]
        cells = {text.get_position(): text.get_text() for text in axis.texts}
        expected = {(0.5, 0.5): "1", (1.5, 0.5): "0", (0.5, 1.5): "1", (1.5, 1.5): "1"}
        assert cells == expected  # x is the decision, y the truth
        assert axis.yaxis_inverted()
        shares = np.asarray(axis.collections[0].get_array())
        np.testing.assert_allclose(shares, [[1, 0], [0.5, 0.5]])

    def test_sigmoids_are_decided_between_where_there_are_two(self):
        assert "Confusion" in starts(drawn(self.samples, loss=SIGMOIDS))
        three = drawn(many(CLASSES[:3]), CLASSES[:3], SIGMOIDS)
        assert "Confusion" not in starts(three)
        assert "Confusion" in starts(drawn(many(CLASSES[:3]), CLASSES[:3]))

    def test_curves_are_named_with_what_sums_them_up(self):
        samples = many(CLASSES[:3])
        figures = drawn(samples, CLASSES[:3], SIGMOIDS)
        states = samples["val/labels"][:, :3]
        values = classification_metrics(
            samples["val/probability"], states == 1, states != 0, exclusive=False
        )
        for start, measure, mean in (
            ("ROC", "AUC", "roc_auc"),
            ("Precision", "AP", "map_11_points"),
        ):
            texts = legend(named(figures, start))
            assert [text.split(f", {measure} ")[0] for text in texts] == list(CLASSES[:3])
            shown = [float(text.split()[-1]) for text in texts]
            assert np.mean(shown) == pytest.approx(values[mean], abs=5e-4)

    def test_of_many_classes_the_best_the_worst_and_the_mean_are_named(self):
        classes = CLASSES[:9]
        figures = drawn(many(classes, 90), classes)
        for start in ("ROC", "Precision"):
            figure = named(figures, start)
            best, worst, mean = (float(text.split()[-1]) for text in legend(figure))
            assert best > mean > worst
            assert legend(figure)[2].startswith("mean of 9, ")
            assert sum(len(line.get_xdata()) > 2 for line in figure.axes[0].get_lines()) == 9

    def test_a_class_without_positives_has_no_curve(self):
        states = np.array([[1, -1, -1], [-1, 1, -1], [1, -1, 0]])
        probability = [[0.9, 0.2, 0.1], [0.3, 0.6, 0.1], [0.8, 0.3, 0.1]]
        figures = drawn(samples_of(CLASSES[:3], probability, states), CLASSES[:3])
        for start in ("ROC", "Precision"):
            assert [text.split(",")[0] for text in legend(named(figures, start))] == [
                "aeroplane",
                "bicycle",
            ]

    def test_calibration_has_its_error_in_the_title_and_every_decision_in_the_histogram(self):
        samples = many(PAIR)
        figures = drawn(samples, loss=SIGMOIDS)
        (title,) = (title for title in figures if title.startswith("Calibration"))
        above, below = figures[title].axes
        states = samples["val/labels"][:, [CLASSES.index(name) for name in PAIR]]
        confidence, right = decisions(
            samples["val/probability"], states == 1, states != 0, exclusive=False
        )
        error = expected_calibration_error(confidence, right)
        assert title.endswith(f"{error:.3f}")
        (steps,) = below.patches
        assert steps.get_data().values.sum() == len(confidence)
        expected = reliability(confidence, right)[:2]
        np.testing.assert_allclose(above.get_lines()[1].get_data(), expected, rtol=1e-6)


class TestMistakes:
    def mistakes(self, probability, states, classes=PAIR, loss=SOFTMAX):
        samples = samples_of(classes, probability, np.array(states))
        shades = np.arange(len(states), dtype=np.uint8)
        samples["val/thumbnail"] = shades[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
        figures = drawn(samples, classes, loss)
        return named(figures, "The most") if "The" in starts(figures) else None

    def shades(self, figure):
        strips = [np.asarray(axis.get_images()[0].get_array())[0, ::5, 0] for axis in figure.axes]
        return np.concatenate(strips).tolist()

    def test_the_surest_wrong_decision_comes_first(self):
        figure = self.mistakes(
            [[0.9, 0.1], [0.4, 0.6], [0.02, 0.98], [0.3, 0.7]],
            [[1, -1], [1, -1], [1, -1], [1, -1]],
        )
        assert captions(figure) == [
            "dog .98, is aeroplane",
            "dog .70, is aeroplane",
            "dog .60, is aeroplane",
        ]
        assert self.shades(figure) == [2, 3, 1]

    def test_without_a_mistake_there_is_no_picture(self):
        assert self.mistakes([[0.9, 0.1], [0.2, 0.8]], [[1, -1], [-1, 1]]) is None

    def test_difficult_classes_and_images_without_a_class_are_no_mistakes(self):
        assert self.mistakes([[0.1, 0.9], [0.3, 0.7]], [[1, 0], [-1, -1]]) is None

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
            CLASSES[:3],
            SIGMOIDS,
        )
        expected = ["bird .03, is there", "bird .96, is none of them", "bicycle .70, is aeroplane"]
        assert captions(figure) == expected


class TestEvidence:
    def samples(self):
        evidence = np.zeros((2, 2, 2), np.float32)
        evidence[0] = [[4, 0], [0, -4]]
        evidence[1] = 2
        image = np.full((2, 16, 16, 1), 0.5, np.float16)
        more = {"evidence": evidence, "image": image, "shown": np.array([3, 0])}
        return TestOfClasses.samples | more

    def test_images_stand_above_their_evidence_with_class_and_probability(self):
        samples = self.samples()
        samples["val/probability"][3] = [0.9, 0.1]
        figure = named(drawn(samples), "What each")
        titles = [axis.get_title(loc="left") for axis in figure.axes]
        assert titles == ["validation image", "evidence"]
        assert captions(figure) == ["aeroplane .90", "dog .70"]


class TestCodes:
    def samples(self):
        samples = {}
        for split, n in (("train", 5), ("val", 4)):
            labels = np.full((n, 20), -1)
            labels[:, CLASSES.index("dog")] = 1
            samples |= {
                f"{split}/labels": labels,
                f"{split}/ids": np.array([f"{split}{i}" for i in range(n)]),
                f"{split}/thumbnail": np.zeros((n, 4, 4, 3), np.uint8),
            }
            for shift, stage in enumerate(("", "before/")):
                samples |= {
                    f"{stage}{split}/embedded": np.arange(n - 1),
                    f"{stage}{split}/principal": np.full((n - 1, 2), shift),
                    f"{stage}{split}/tsne": np.full((n - 1, 2), 10 + shift),
                }
        return samples

    def test_codes_before_and_after_are_two_scatters_of_the_same_images(self):
        figures = drawn(self.samples())
        before, after = (named(figures, f"Codes {stage}") for stage in ("before", "after"))
        assert isinstance(before, Scatter) and isinstance(after, Scatter)
        for shift, scatter in enumerate((after, before)):
            principal, tsne = scatter.views.values()
            assert np.unique(principal).tolist() == [shift]
            assert np.unique(tsne).tolist() == [10 + shift]
            assert [*scatter.ids] == [
                "train0",
                "train1",
                "train2",
                "train3",
                "val0",
                "val1",
                "val2",
            ]
            assert [scatter.names[group] for group in scatter.groups] == ["dog"] * 7

    def test_a_run_that_began_from_nothing_has_codes_after_training_alone(self):
        samples = {k: v for k, v in self.samples().items() if not k.startswith("before/")}
        assert list(drawn(samples)) == [
            "Codes after training; the pointer shows the image of a point"
        ]


def test_what_an_older_run_kept_is_drawn():
    figures = drawn(TestOfClasses.samples, loss=SIGMOIDS)
    assert starts(figures) == ["Probability", "Confusion", "ROC", "Precision", "Calibration,"]
    assert drawn({}) == {}


@pytest.mark.parametrize(
    ("classes", "loss"),
    [
        (PAIR, SOFTMAX),
        (("pottedplant", "diningtable", "motorbike", "tvmonitor"), SOFTMAX),
        (CLASSES, SOFTMAX),
    ],
    ids=["2", "4", "20"],
)
def test_no_text_is_cut_and_none_overlaps_another(classes, loss):
    samples = many(classes, 160)
    samples["val/thumbnail"] = np.zeros((160, 8, 8, 3), np.uint8)
    samples |= {"image": np.zeros((8, 8, 8, 3), np.float16), "shown": np.arange(8)}
    samples["evidence"] = np.ones((8, 2, 2), np.float32)
    figures = drawn(samples, classes, loss)
    assert len(figures) == 7
    for title, figure in figures.items():
        boxes, whole = texts_of(figure)
        for box in boxes:
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1, title
            assert whole.y0 <= box.y0 and box.y1 <= whole.y1, title
        for i, box in enumerate(boxes):
            assert box.count_overlaps(boxes[i + 1 :]) == 0, title


def test_joint_network_shows_what_its_decoder_makes_of_the_code():
    pictures = np.full((2, 8, 8, 3), 0.5, np.float16)
    samples = {"image": pictures, "reconstruction": 1 - pictures}
    labels = np.full((2, 20), -1)
    labels[:, CLASSES.index("dog")] = 1
    samples |= {"val/probability": np.array([[0.2, 0.8], [0.4, 0.6]]), "val/labels": labels}
    config = {"data": {"classes": ["aeroplane", "dog"]}, "loss": {"name": "binary_cross_entropy"}}
    figure = classification.figures(samples, config)["Reconstructions"]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["validation image", "reconstruction"]
