"""What the report draws of task 3's samples."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from readable import assert_readable
from written import write_run

from vocjax import painting
from vocjax.data.devkit import CLASSES, PALETTE, VOID
from vocjax.metrics import confusion
from vocjax.reporting import figures as draw
from vocjax.reporting import masks, page, segmentation

FOREGROUND = {"model": {"target": "foreground"}, "data": {"classes": [], "masks": "nearest"}}
SOFTMAX = {"model": {"target": "softmax"}, "data": {"classes": [], "masks": "nearest"}}
PAIR = {"model": {"target": "sigmoid"}, "data": {"classes": ["cat", "dog"], "masks": "nearest"}}
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
        f"{which}/number": np.arange(len(truth)),
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
        samples[f"{split}/soft_dice_per_image"] = rng.random(5)
    return samples | {"full_size/confusion": counts, "thresholds": np.arange(1, 100) / 100}


def named(figures, start):
    (figure,) = (figure for title, figure in figures.items() if title.startswith(start))
    return figure


def starts(figures):
    return [" ".join(title.split()[:2]) for title in figures]


def legend(figure):
    """{text: colour} of a figure's legend, without its blanks."""
    (found,) = figure.legends
    pairs = zip(found.get_texts(), found.get_patches(), strict=True)
    return {t.get_text(): to_hex(p.get_facecolor()) for t, p in pairs if t.get_text().strip()}


def cells(figure, side):
    """The images of a sheet, by heading: uint8 [n, side, side, 3]."""
    (axis,) = figure.axes
    paper = np.asarray(axis.get_images()[0].get_array())
    headings = [text.get_text() for text in axis.get_xticklabels() if text.get_text()]
    pitch = side + max(1, side // 16)
    paper = np.pad(paper, ((0, pitch - side), (0, pitch - side), (0, 0)), constant_values=255)
    n = len(paper) // pitch
    split = paper.reshape(n, pitch, -1, pitch, 3)[:, :side, :, :side]
    return dict(zip(dict.fromkeys(headings), split.transpose(2, 0, 1, 3, 4), strict=True))


def over_grey(colour, share):
    return np.rint((1 - share) * 102 + share * np.asarray(colour)).astype(int).tolist()


class TestErrors:
    def test_each_kind_has_its_number_and_void_is_no_error(self):
        truth = np.array([0, 1, 0, 1, 1, VOID, VOID])
        prediction = np.array([0, 1, 1, 0, 2, 0, 2], np.uint8)
        found = masks.errors(truth, prediction)
        assert found.tolist() == [0, 0, 2, 1, 3, VOID, VOID]
        assert found.dtype == np.uint8


class TestMasks:
    truth = np.array([[[0, 1, 2], [VOID, 1, 0], [2, 2, 0]]])
    prediction = np.array([[[0, 1, 2], [1, 0, 1], [2, 1, 0]]])
    samples = shown_of(truth, prediction)
    figure = named(segmentation.figures(samples, PAIR), "Validation images")

    def test_image_truth_prediction_error_and_probability_stand_side_by_side(self):
        columns = cells(self.figure, 3)
        assert list(columns) == ["image", "truth", "prediction", "error", "probability"]
        assert np.unique(columns["image"]).tolist() == [102]
        levels = [64, 191, 191, 191, 64, 191, 191, 191, 64]  # of .25 and .75
        np.testing.assert_array_equal(columns["probability"].reshape(9, 3).T, [levels] * 3)

    def test_masks_have_vocs_colours_by_name_and_void_its_own(self):
        truth, prediction = (cells(self.figure, 3)[name][0] for name in ("truth", "prediction"))
        cat, dog = (over_grey(colour, segmentation.ALPHA) for colour in (CAT, DOG))
        grey = [102] * 3
        assert truth[0].tolist() == prediction[0].tolist() == [grey, cat, dog]
        assert truth[1].tolist() == [list(painting.OUTLINE), cat, grey]
        assert prediction[1].tolist() == [cat, grey, cat]

    def test_errors_have_colours_of_their_own_over_the_grey_image(self):
        (error,) = cells(self.figure, 3)["error"]
        missed, found, other = (over_grey(c, 0.8) for c in masks.WRONG_PALETTE[1:])
        grey = [102] * 3
        assert error[0].tolist() == [grey] * 3
        assert error[1].tolist() == [list(painting.OUTLINE), missed, found]
        assert error[2].tolist() == [grey, other, grey]

    def test_colours_are_taken_from_the_image_below_its_errors(self):
        samples = shown_of(self.truth, self.prediction, channels=3)
        samples["image"][..., 0] = 1
        columns = cells(named(segmentation.figures(samples, PAIR), "Validation images"), 3)
        assert columns["image"][0, 0, 0].tolist() == [255, 102, 102]
        assert columns["error"][0, 0, 0].tolist() == [153] * 3

    def test_the_legend_names_what_occurs_and_nothing_else(self):
        colours = {name: to_hex(c / 255) for name, c in (("cat", CAT), ("dog", DOG))}
        void = {"void": to_hex(np.array(painting.OUTLINE) / 255)}
        wrong = {name: to_hex(colour) for name, colour in masks.WRONG.items()}
        assert legend(self.figure) == colours | wrong | void
        right = shown_of([[[0, 2], [2, 0]]], [[[0, 2], [2, 2]]])
        figure = named(segmentation.figures(right, PAIR), "Validation images")
        assert legend(figure).keys() == {"dog", "falsely found"}

    def test_the_legend_reads_line_by_line_and_errors_begin_a_line(self):
        """And it takes its room from the page, not from the images."""
        config = SOFTMAX | {"data": {"classes": CLASSES[:6], "masks": "nearest"}}
        figure = named(segmentation.figures(everything(7), config), "Validation images")
        figure.draw_without_rendering()
        boxes = {t.get_text(): t.get_window_extent() for t in figure.legends[0].get_texts()}
        del boxes[" "]
        read = sorted(boxes, key=lambda name: (-round(boxes[name].y0), boxes[name].x0))
        assert read == [*CLASSES[:6], *masks.WRONG, "void"]
        assert boxes["missed"].x0 == boxes["aeroplane"].x0
        assert boxes["missed"].y1 < boxes["bus"].y0
        (axis,) = figure.axes
        assert axis.get_window_extent().width > 0.98 * figure.bbox.width

    def test_a_merged_foreground_has_one_colour_and_no_other_class(self):
        samples = shown_of([[[0, 1], [1, VOID]]], [[[1, 0], [1, 0]]])
        figure = named(segmentation.figures(samples, FOREGROUND), "Validation images")
        assert list(legend(figure)) == ["foreground", "missed", "falsely found", "void"]

    def test_without_any_object_there_is_no_legend(self):
        samples = shown_of(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)))
        figure = named(segmentation.figures(samples, PAIR), "Validation images")
        assert not figure.legends
        assert draw.encode_webp(figure)

    def test_the_caption_says_how_it_was_decided(self):
        titles = {
            kind["model"]["target"]: next(iter(segmentation.figures(self.samples, kind)))
            for kind in (PAIR, SOFTMAX)
        }
        assert "more than .5 is predicted" in titles["sigmoid"]
        assert "the likeliest class is predicted" in titles["softmax"]


class TestExtremes:
    def test_best_and_worst_stand_in_the_order_kept_with_their_values(self):
        truth, wrong = np.ones((3, 4, 4)), np.zeros((3, 4, 4))
        samples = extremes_of("best", truth, truth) | extremes_of("worst", truth, wrong)
        figures = segmentation.figures(samples, FOREGROUND)
        assert starts(figures) == ["The best", "The worst"]
        assert all("threshold chosen on train" in title for title in figures)
        for figure in figures.values():
            (axis,) = figure.axes
            labels = [text.get_text() for text in axis.get_yticklabels()]
            assert labels[:3] == ["1.00", ".56", ".12"]
        best, worst = (cells(figure, 4) for figure in figures.values())
        assert list(best) == ["image", "truth", "prediction", "error"]
        np.testing.assert_array_equal(best["prediction"], worst["truth"])
        np.testing.assert_array_equal(worst["prediction"], worst["image"])


class TestClasses:
    counts = np.zeros((21, 21), np.int64)
    counts[0, [0, 8, 15]] = 80, 4, 16  # background; 8 is cat, 12 dog, 15 person
    counts[8, [0, 8, 12, 15]] = 10, 50, 30, 10
    counts[12, [0, 12]] = 60, 40
    counts[15, [0, 15]] = 10, 90

    def figures(self, counts=counts, config=SOFTMAX):
        return segmentation.figures({"full_size/confusion": counts}, config)

    def bars(self, figure, container=0):
        axis = figure.axes[0]
        names = [tick.get_text() for tick in axis.get_yticklabels()]
        widths = [bar.get_width() for bar in axis.containers[container]]
        return dict(zip(names, widths, strict=True))

    def test_bars_are_each_classs_iou_the_best_above_and_absent_ones_named(self):
        (title, figure), _ = self.figures().items()
        bars = self.bars(figure)
        iou = confusion.iou(self.counts)
        assert list(bars) == ["dog", "background", "cat", "person"]
        expected = [iou[k] for k in (12, 0, 8, 15)]
        assert list(bars.values()) == pytest.approx(expected) == sorted(expected)
        (line,) = figure.axes[0].get_lines()
        assert line.get_xdata()[0] == pytest.approx(np.mean(expected))
        assert f"{np.mean(expected):.3f}" in title
        absent = [c for c in CLASSES if c not in ("cat", "dog", "person")]
        assert title.endswith(f"left out: {', '.join(absent)}")

    def test_a_class_that_is_only_predicted_counts_with_nothing(self):
        counts = self.counts.copy()
        counts[0, 3] = 5
        figure = named(self.figures(counts), "IoU of")
        assert self.bars(figure)["bird"] == 0
        pixels = named(self.figures(counts), "What the")  # of birds there are none to be taken
        assert "bird" not in self.bars(pixels)

    def test_nobody_is_named_absent_where_all_are_there(self):
        counts = np.ones((3, 3), np.int64)
        assert "Absent" not in next(iter(self.figures(counts, PAIR)))

    def test_pixels_of_a_class_are_right_missed_or_another_class(self):
        figure = named(self.figures(), "What the")
        order = ["dog", "cat", "background", "person"]
        right, missed, found, other = (self.bars(figure, i) for i in range(4))
        assert [c.get_label() for c in figure.axes[0].containers] == ["right", *masks.WRONG]
        assert list(right) == order
        assert list(right.values()) == pytest.approx([0.4, 0.5, 0.8, 0.9])
        assert list(missed.values()) == pytest.approx([0.6, 0.1, 0, 0.1])
        assert list(found.values()) == pytest.approx([0, 0, 0.2, 0])
        assert list(other.values()) == pytest.approx([0, 0.4, 0, 0])
        texts = [text.get_text() for text in figure.axes[0].texts]
        assert texts == ["", "dog 30 %", "person 16 %", ""]

    def test_two_classes_say_no_more_than_the_table(self):
        assert self.figures(np.ones((2, 2), np.int64), FOREGROUND) == {}


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
        ((title, figure),) = segmentation.figures(self.samples(), FOREGROUND).items()
        lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
        assert np.max(lines["train"].get_ydata()) == pytest.approx(1)
        assert np.max(lines["val"].get_ydata()) == pytest.approx(0.8)
        assert list(lines["chosen, 0.3"].get_xdata()) == [0.3, 0.3]
        assert list(lines["0.5"].get_xdata()) == [0.5, 0.5]
        dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
        assert [(*d.get_xdata(), *d.get_ydata()) for d in dots] == [
            (0.3, pytest.approx(1)),
            (0.3, pytest.approx(0.5)),
        ]
        assert "Best on train is 0.3, with 0.500 on val; at .5 val has 0.700" in title
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == ["train", "val", "0.5", "chosen, 0.3"]

    def test_a_softmax_is_decided_without_a_threshold(self):
        assert segmentation.figures(self.samples(), SOFTMAX) == {}
        assert segmentation.figures(self.samples(), PAIR).keys()


ALL = ["Validation images:", "The best", "The worst", "IoU of", "What the", "Dice of"]


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("image", 0),
        ("mask", 0),
        ("probability", 0),
        ("prediction", 0),
        ("best/value", 1),
        ("worst/truth", 2),
        ("thresholds", 5),
        ("val/hard_dice_by_threshold", 5),
    ],
)
def test_what_an_older_run_lacks_is_left_out(missing, gone):
    samples = everything(3)
    del samples[missing]
    figures = segmentation.figures(samples, PAIR)
    assert starts(figures) == ALL[:gone] + ALL[gone + 1 :]


def test_a_run_that_kept_nothing_or_whose_config_tells_no_target_has_no_pictures():
    assert segmentation.figures({}, SOFTMAX) == {}
    assert segmentation.figures(everything(3), {"model": {"name": "segmenter"}}) == {}


@pytest.mark.parametrize(("config", "classes", "figures"), [(SOFTMAX, 21, 5), (FOREGROUND, 2, 4)])
def test_no_text_is_cut_and_none_overlaps_another(config, classes, figures):
    drawn = segmentation.figures(everything(classes), config)
    assert len(drawn) == figures
    for title, figure in drawn.items():
        assert_readable(figure, title)


def test_the_page_draws_curves_of_soft_dice_pictures_and_the_comparison(tmp_path):
    directories = []
    for number in (1, 2, 3):
        config = {"name": f"Run {number}"} | FOREGROUND
        results = {"val": {"soft_dice_per_image": 0.4 + 0.1 * number}}
        directory = tmp_path / str(number)
        write_run(directory, "segmentation", epochs=2, config=config, results=results)
        directories.append(directory)
    np.savez(directories[0] / "samples.npz", **everything(2))
    page.write_report(directories[:1], tmp_path / "page.html", without_pictures=directories[1:])
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    described = [part.split('"')[0] for part in html.split('alt="')[1:]]
    assert described[0].startswith("Dice per image on validation")
    assert described[1:3] == ["Run 1: loss by epoch", "Run 1: soft_dice_per_image by epoch"]
    assert [" ".join(text.split()[2:4]) for text in described[3:]] == [*ALL[:3], "Dice of"]
