"""What the report draws of task 3: the samples of a run, and runs together."""

import numpy as np
import pytest
from example_runs import run_of
from figure_texts import assert_readable, dots_of, legend, named, ticks
from matplotlib.colors import to_hex

from vocjax import painting
from vocjax.data.classes import PALETTE, VOC, VOID
from vocjax.metrics import confusion
from vocjax.reporting import figures as draw
from vocjax.reporting import masks, segmentation

FOREGROUND = {"model.target": "foreground", "data.classes": []}
SOFTMAX = {"model.target": "softmax", "data.classes": []}
PAIR = {"model.target": "sigmoid", "data.classes": ["cat", "dog"]}
CLASSES = VOC.names
CAT, DOG = (PALETTE[CLASSES.index(name) + 1] for name in ("cat", "dog"))


def shown_of(truth, prediction, channels=1):
    """What a run keeps of images [n, side, side]: all of one grey, 102."""
    truth, prediction = np.array(truth, np.uint8), np.array(prediction, np.uint8)
    return {
        "image": np.full((*truth.shape, channels), 0.4, np.float16),
        "mask": truth,
        "prediction": prediction,
        "probability": np.where(prediction > 0, 0.75, 0.25).astype(np.float16),
    }


def extremes_of(which, truth, prediction):
    kept = shown_of(truth, prediction)
    return {
        f"{which}/image": np.full(kept["image"].shape, 102, np.uint8),
        f"{which}/truth": kept["mask"],
        f"{which}/prediction": kept["prediction"],
        f"{which}/value": np.linspace(1, 0.123, len(truth)),
    }


def everything(classes, side=8):
    """Samples in which every class occurs, half of it found, and every error."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, (8, side, side))
    wrong = np.arange(8)[:, None, None] % classes
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, wrong)
    truth[:, 0] = VOID
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth[:, 1:], prediction[:, 1:]), 1)
    samples = shown_of(truth, prediction)
    for which in ("best", "worst"):
        samples |= extremes_of(which, truth[:4], prediction[:4])
    for split in ("train", "val"):
        samples[f"{split}/hard_dice_by_threshold"] = rng.random((5, 99))
    return samples | {"full_size/confusion": counts, "thresholds": np.arange(1, 100) / 100}


def drawn(samples, fields):
    return segmentation.figures(run_of("segmentation", samples=samples, **fields))


def sheet(samples, fields=PAIR):
    return named(drawn(samples, fields), "Validation images")


def colours(figure):
    """{text: colour} of a figure's legend, without its blanks."""
    pairs = zip(legend(figure), figure.legends[0].get_patches(), strict=True)
    return {text: to_hex(patch.get_facecolor()) for text, patch in pairs if text.strip()}


def cells(figure, side):
    """The images of a sheet, by heading: uint8 [n, side, side, 3]."""
    (axis,) = figure.axes
    paper = np.asarray(axis.get_images()[0].get_array())
    headings = [text for text in ticks(axis, "x") if text]
    gap = max(1, side // 16)
    pitch, down = side + gap, side + round(side * masks.STRIP / masks.CELL) + gap
    paper = np.pad(paper, ((0, gap), (0, gap), (0, 0)), constant_values=255)
    split = paper.reshape(len(paper) // down, down, -1, pitch, 3)[:, :side, :, :side]
    return dict(zip(dict.fromkeys(headings), split.transpose(2, 0, 1, 3, 4), strict=True))


def over_grey(colour, share):
    return np.rint((1 - share) * 102 + share * np.asarray(colour)).astype(int).tolist()


def test_each_error_has_its_number_and_void_is_none():
    truth = np.array([0, 1, 0, 1, 1, VOID, VOID])
    prediction = np.array([0, 1, 1, 0, 2, 0, 2], np.uint8)
    found = masks.errors(truth, prediction)
    assert found.tolist() == [0, 0, 2, 1, 3, VOID, VOID]
    assert found.dtype == np.uint8


class TestMasks:
    truth = np.array([[[0, 1, 2], [VOID, 1, 0], [2, 2, 0]]])
    prediction = np.array([[[0, 1, 2], [1, 0, 1], [2, 1, 0]]])
    samples = shown_of(truth, prediction)
    figure = sheet(samples)

    def test_image_truth_prediction_error_and_probability_are_columns(self):
        columns = cells(self.figure, 3)
        grey, void = [102] * 3, list(painting.OUTLINE)
        cat, dog = (over_grey(colour, segmentation.ALPHA) for colour in (CAT, DOG))
        missed, found, other = (over_grey(colour, 0.8) for colour in masks.WRONG_PALETTE[1:])
        light, dark = [191] * 3, [64] * 3  # of .75 and .25
        expected = {
            "image": [[grey] * 3] * 3,
            "truth": [[grey, cat, dog], [void, cat, grey], [dog, dog, grey]],
            "prediction": [[grey, cat, dog], [cat, grey, cat], [dog, cat, grey]],
            "error": [[grey] * 3, [void, missed, found], [grey, other, grey]],
            "probability": [[dark, light, light], [light, dark, light], [light, light, dark]],
        }
        assert list(columns) == list(expected)
        assert {name: images[0].tolist() for name, images in columns.items()} == expected

    def test_errors_are_over_the_image_without_its_colours(self):
        coloured = shown_of(self.truth, self.prediction, channels=3)
        coloured["image"][..., 0] = 1
        columns = cells(sheet(coloured), 3)
        assert columns["image"][0, 0, 0].tolist() == [255, 102, 102]
        assert columns["error"][0, 0, 0].tolist() == [153] * 3

    def test_the_legend_names_what_occurs_and_nothing_else(self):
        classes = {name: to_hex(c / 255) for name, c in (("cat", CAT), ("dog", DOG))}
        void = {"void": to_hex(np.array(painting.OUTLINE) / 255)}
        wrong = {name: to_hex(colour) for name, colour in masks.WRONG.items()}
        assert colours(self.figure) == classes | wrong | void
        right = sheet(shown_of([[[0, 2], [2, 0]]], [[[0, 2], [2, 2]]]))
        assert colours(right).keys() == {"dog", "falsely found"}
        merged = sheet(shown_of([[[0, 1], [1, VOID]]], [[[1, 0], [1, 0]]]), FOREGROUND)
        assert list(colours(merged)) == ["foreground", "missed", "falsely found", "void"]
        empty = sheet(shown_of(np.zeros((2, 4, 4)), np.zeros((2, 4, 4))))
        assert not empty.legends
        assert draw.encode_webp(empty)

    def test_the_legend_reads_line_by_line_and_errors_begin_a_line(self):
        """And it takes its room from the page, not from the images."""
        figure = sheet(everything(7), SOFTMAX | {"data.classes": CLASSES[:6]})
        figure.draw_without_rendering()
        boxes = {t.get_text(): t.get_window_extent() for t in figure.legends[0].get_texts()}
        del boxes[" "]
        read = sorted(boxes, key=lambda name: (-round(boxes[name].y0), boxes[name].x0))
        assert read == [*CLASSES[:6], *masks.WRONG, "void"]
        assert boxes["missed"].x0 == boxes["aeroplane"].x0
        assert boxes["missed"].y1 < boxes["bus"].y0
        (axis,) = figure.axes
        assert axis.get_window_extent().width > 0.98 * figure.bbox.width

    def test_the_caption_says_how_it_was_decided(self):
        sigmoid, softmax = (next(iter(drawn(self.samples, kind))) for kind in (PAIR, SOFTMAX))
        assert "more than .5 is predicted" in sigmoid
        assert "the likeliest class is predicted" in softmax


def test_best_and_worst_are_in_the_order_kept_with_their_values():
    truth, wrong = np.ones((3, 4, 4)), np.zeros((3, 4, 4))
    samples = extremes_of("best", truth, truth) | extremes_of("worst", truth, wrong)
    figures = drawn(samples, FOREGROUND)
    assert all("threshold chosen on train" in title for title in figures)
    best, worst = (named(figures, f"The {which}") for which in ("best", "worst"))
    for figure in (best, worst):
        assert ticks(figure.axes[0])[:3] == ["1.00", ".56", ".12"]
    best, worst = cells(best, 4), cells(worst, 4)
    assert list(best) == ["image", "truth", "prediction", "error"]
    np.testing.assert_array_equal(best["prediction"], worst["truth"])
    np.testing.assert_array_equal(worst["prediction"], worst["image"])


def test_dice_counts_pixels_of_the_right_class_and_void_nowhere():
    truth = np.array([[[1, 2], [0, VOID]], [[0, 0], [0, 0]], [[1, 1], [0, 0]]], np.uint8)
    prediction = np.array([[[1, 1], [0, 2]], [[0, 0], [0, 0]], [[0, 0], [1, 1]]], np.uint8)
    np.testing.assert_allclose(masks.dice(truth, prediction), [0.5, np.nan, 0])
    kept = sheet(shown_of(truth, prediction))
    assert [t.get_text() for t in kept.axes[0].texts] == [
        "Dice .50\nIoU .33",
        "Dice \N{EN DASH}\nIoU \N{EN DASH}",
        "Dice .00\nIoU .00",
    ]


def test_single_masks_are_of_the_classes_with_the_most_pixels_white_on_black():
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[0, :2], truth[1, 0], truth[2, 0, 0] = 2, 2, 1
    prediction = np.where(truth == 2, 2, 0)
    prediction[1] = 0
    figure = named(drawn(shown_of(truth, prediction), PAIR), "Masks of single classes")
    columns = cells(figure, 4)
    assert ticks(figure.axes[0])[:3] == ["dog", "dog", "cat"]
    np.testing.assert_array_equal(columns["truth"][..., 0], 255 * (truth == [[[2]], [[2]], [[1]]]))
    np.testing.assert_array_equal(columns["prediction"][0, ..., 0], 255 * (truth[0] == 2))
    assert not columns["prediction"][1:].any()
    merged = shown_of(truth > 0, truth > 0)
    assert not any("single" in title for title in drawn(merged, FOREGROUND))


class TestSideBySide:
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[:, :2] = 1
    nothing, half = np.zeros_like(truth), truth.copy()
    half[:, 0] = 0

    def run(self, name, prediction, **fields):
        samples = shown_of(self.truth, prediction)
        samples |= {"shown": np.arange(3), "val/ids": np.array(["a", "b", "c"])}
        return run_of("segmentation", name, samples=samples, **FOREGROUND | fields)

    def columns(self, *runs):
        ((title, figure),) = segmentation.side_by_side(runs).items()
        return title, [text for text in ticks(figure.axes[0], "x") if text], figure

    def test_the_studys_run_is_first_and_each_is_better_than_the_last(self):
        fields = {"model.name": "mirror", "model.norm": "none", "loss.name": "soft_dice"}
        one = self.half.copy()
        one[0] = self.truth[0]
        recipe = self.run("Recipe", self.half, **fields, **{"optimizer.name": "adam"})
        title, names, figure = self.columns(
            self.run("Best", one), recipe, self.run("Bad", self.nothing)
        )
        assert names == ["image", "truth", "Recipe", "Bad", "Best"]
        assert title.startswith("The images that got better from one run to the next, of the 3")
        texts = [text.get_text().split("\n")[0] for text in figure.axes[0].texts]
        assert texts == ["Dice .67"] * 3 + ["Dice .00"] * 3 + ["Dice 1.00", "Dice .67", "Dice .67"]

    def test_it_says_that_none_got_better(self):
        title, names, _ = self.columns(self.run("a", self.half), self.run("b", self.half))
        assert title.startswith("No image got better")
        assert names == ["image", "truth", "a", "b"]

    def test_runs_of_other_images_or_other_classes_are_apart(self):
        other = self.run("b", self.half)
        other.samples["shown"] = np.array([0, 2, 1])
        classes = self.run("c", self.half, **PAIR)
        assert segmentation.side_by_side([self.run("a", self.half), other, classes]) == {}

    def test_masks_of_another_size_are_compared_at_the_larger_one(self):
        small = self.run("small", self.half)
        for name in ("image", "mask", "prediction"):
            small.samples[name] = small.samples[name][:, ::2, ::2]
        _, names, figure = self.columns(small, self.run("large", self.truth))
        assert names[2:] == ["small", "large"]
        assert figure.axes[0].texts[0].get_text() == "Dice .00\nIoU .00"


class TestClasses:
    counts = np.zeros((21, 21), np.int64)
    counts[0, [0, 3, 8, 15]] = 80, 5, 4, 16  # background; 3 is bird, 8 cat, 12 dog, 15 person
    counts[8, [0, 8, 12, 15]] = 10, 50, 30, 10
    counts[12, [0, 12]] = 60, 40
    counts[15, [0, 15]] = 10, 90

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls):
        return drawn({"full_size/confusion": cls.counts}, SOFTMAX)

    def bars(self, figure):
        (axis,) = figure.axes
        return dict(zip(ticks(axis), axis.containers[0].datavalues, strict=True))

    def test_bars_are_each_classs_iou_the_best_above_and_absent_ones_named(self, figures):
        (title, figure), _ = figures.items()
        iou = confusion.iou(self.counts)
        expected = [iou[k] for k in (3, 12, 0, 8, 15)]  # a class that is only predicted has 0
        assert list(self.bars(figure)) == ["bird", "dog", "background", "cat", "person"]
        assert list(self.bars(figure).values()) == pytest.approx(expected) == sorted(expected)
        (line,) = figure.axes[0].get_lines()
        assert line.get_xdata()[0] == pytest.approx(np.mean(expected))
        assert f"{np.mean(expected):.3f}" in title
        absent = [c for c in CLASSES if c not in ("bird", "cat", "dog", "person")]
        assert title.endswith(f"left out: {', '.join(absent)}")
        every = drawn({"full_size/confusion": np.ones((3, 3), np.int64)}, PAIR)
        assert "Absent" not in next(iter(every))

    def test_pixels_of_a_class_are_right_missed_or_another_class(self, figures):
        figure = named(figures, "What the")
        right = self.bars(figure)
        assert list(right) == ["dog", "cat", "background", "person"]
        bars = {c.get_label(): list(c.datavalues) for c in figure.axes[0].containers}
        assert bars == {
            "right": pytest.approx([0.4, 0.5, 80 / 105, 0.9]),
            "missed": pytest.approx([0.6, 0.1, 0, 0.1]),
            "falsely found": pytest.approx([0, 0, 25 / 105, 0]),
            "another class": pytest.approx([0, 0.4, 0, 0]),
        }
        texts = [text.get_text() for text in figure.axes[0].texts]
        assert texts == ["", "dog 30 %", "person 15 %", ""]

    def test_two_classes_are_left_to_the_table(self):
        assert drawn({"full_size/confusion": np.ones((2, 2), np.int64)}, FOREGROUND) == {}


class TestThreshold:
    def samples(self):
        thresholds = np.arange(1, 100) / 100
        train, val = (1 - np.abs(thresholds - peak) for peak in (0.3, 0.6))
        curves = {"train": train, "val": val - 0.2}
        spread = np.array([[-0.1], [0.1]])  # two images around the mean
        return {"thresholds": thresholds} | {
            f"{split}/hard_dice_by_threshold": curve + spread for split, curve in curves.items()
        }

    def test_curves_are_means_marked_where_train_is_best_and_at_one_half(self):
        ((title, figure),) = drawn(self.samples(), FOREGROUND).items()
        lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
        assert np.max(lines["train"].get_ydata()) == pytest.approx(1)
        assert np.max(lines["val"].get_ydata()) == pytest.approx(0.8)
        assert list(lines["chosen, 0.3"].get_xdata()) == [0.3, 0.3]
        assert list(lines["0.5"].get_xdata()) == [0.5, 0.5]
        dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
        marked = [(*d.get_xdata(), *d.get_ydata()) for d in dots]
        assert marked == [(0.3, pytest.approx(1)), (0.3, pytest.approx(0.5))]
        assert "Best on train is 0.3, with 0.500 on val; at .5 val has 0.700" in title
        assert legend(figure) == ["train", "val", "0.5", "chosen, 0.3"]

    def test_a_softmax_is_decided_without_a_threshold(self):
        assert drawn(self.samples(), SOFTMAX) == {}
        assert drawn(self.samples(), PAIR).keys()


def test_what_a_run_lacks_is_left_out():
    """A task of one's own can keep other arrays."""
    samples = everything(3)
    for name in ("mask", "best/value", "thresholds"):
        del samples[name]
    starts = [" ".join(title.split()[:2]) for title in drawn(samples, PAIR)]
    assert starts == ["The worst", "IoU of", "What the"]
    assert drawn({}, SOFTMAX) == {}


@pytest.mark.parametrize(("fields", "classes", "figures"), [(SOFTMAX, 21, 6), (FOREGROUND, 2, 4)])
def test_no_text_is_cut_and_none_overlaps_another(fields, classes, figures):
    found = drawn(everything(classes), fields)
    assert len(found) == figures
    for title, figure in found.items():
        assert_readable(figure, title)


STUDY = {"model.name": "mirror", "model.norm": "none", "optimizer.name": "adam", "epochs": 5}
RUN_2, RUN_4 = (STUDY | {"loss.name": name} for name in ("cross_entropy", "soft_dice"))


def finished(name, soft, hard=None, masks="legacy", trivial=None, **fields):
    values = {"soft_dice_per_image": soft, "hard_dice_per_image_at_threshold": hard}
    values["hard_dice_per_image"] = hard and hard - 0.1  # at .5
    results = {"val": {name: value for name, value in values.items() if value is not None}}
    if trivial is not None:
        results["baselines"] = {"all foreground": {"val": {"soft_dice_per_image": trivial}}}
    return run_of("segmentation", name, results, **{"data.masks": masks} | fields)


RUNS = (
    finished("U-Net", 0.7, 0.75),
    finished("Soft Dice", 0.6, 0.64, **RUN_4),
    finished("Soft Dice", 0.62, 0.66, seed=1, **RUN_4),
    finished("BCE", 0.5, 0.65, **RUN_2),
    finished("BCE", 0.4, 0.55, "nearest", **RUN_2),
)


class TestComparison:
    def drawn(self, *runs):
        """The caption, and by protocol the rows and the level of all foreground."""
        title, *of_panels = dots_of(segmentation.comparison, runs)
        return title, *({name.split(":")[0]: v for name, v in d.items()} for d in of_panels)

    def test_rows_of_each_protocol_have_every_seed_and_the_studys_runs_come_first(self):
        title, rows, _ = self.drawn(*RUNS)
        soft, hard = "soft", "hard, of decisions"
        assert rows == {
            "Legacy": [
                ("BCE", {soft: [0.5], hard: [0.65]}, 0.54),
                ("Soft Dice", {soft: [0.6, 0.62], hard: [0.64, 0.66]}, 0.63),
                ("U-Net", {soft: [0.7], hard: [0.75]}, None),
            ],
            "Honest": [("BCE", {soft: [0.4], hard: [0.55]}, 0.54)],
        }
        assert "crosses" in title

    def test_without_a_run_of_the_studys_there_is_nothing_of_it(self):
        title, rows, _ = self.drawn(*(finished(f"Net {i}", 0.5, 0.5) for i in range(3)))
        assert list(rows) == ["Legacy"]
        assert {row.study for row in rows["Legacy"]} == {None}
        assert "crosses" not in title and "conclusion" not in title

    def test_it_says_where_the_studys_conclusion_survives(self):
        expected = "Legacy: +0.110 soft, +0.000 hard: the study's conclusion does not survive"
        title, _, _ = self.drawn(*RUNS)
        assert title.endswith(f"Run 4, soft Dice, against run 2, cross-entropy. {expected}")
        title, _, _ = self.drawn(*RUNS, finished("Soft Dice", 0.45, 0.56, "nearest", **RUN_4))
        expected += "; Honest: +0.050 soft, +0.010 hard: the study's conclusion survives"
        assert title.endswith(expected)

    def test_all_foreground_has_a_level_and_a_softmax_the_dice_of_its_decisions(self):
        softmax = finished("Softmax", 0.4, masks="nearest", trivial=0.378)
        softmax.results["val"]["hard_dice_per_image"] = 0.3
        _, rows, levels = self.drawn(*RUNS, softmax, finished("Older", 0.4, masks="nearest"))
        assert levels == {"Honest": 0.378}
        assert [[*row.values.values()][1] for row in rows["Honest"]] == [[0.55], [0.3], []]

    def test_runs_without_values_and_fewer_than_three_are_no_comparison(self):
        few = [*RUNS[:3], run_of("segmentation", "begun"), finished("older", None, 0.5)]
        assert segmentation.comparison(few) == {}
