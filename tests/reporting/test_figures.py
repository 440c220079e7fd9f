"""Figures: what is drawn where, and that drawing leaves nothing behind."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from vocjax.reporting import figures


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figures.encode_webp(figure))).convert("RGB"))


@matplotlib.rc_context(figures.STYLE)
def exact(figure):
    """A figure's pixels without loss, and the size of that file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figures.DPI)
    return np.asarray(Image.open(file).convert("RGB")), file.tell()


class TestImageRows:
    def test_images_stand_in_order_in_their_row(self):
        red, grey, blue = (255, 0, 0), (128, 128, 128), (0, 0, 255)
        top = np.array([red, grey, blue], np.uint8)[:, None, None] * np.ones((1, 8, 8, 1), np.uint8)
        drawn = pixels(
            figures.image_rows({"top": top, "bottom": top[::-1]}, {"bottom": ["a", "b", "c"]})
        )
        centres = {}
        for name, colour in {"red": red, "blue": blue}.items():
            y, x = np.nonzero((drawn == colour).all(axis=-1))
            middle = drawn.shape[0] / 2
            centres[name] = x[y < middle].mean(), x[y > middle].mean()
        assert centres["red"][0] < centres["blue"][0]
        assert centres["red"][1] > centres["blue"][1]

    def test_floats_are_intensities_and_one_channel_is_grey(self):
        images = np.array([-1.0, 0.0, 0.6, 1.0, 7.0])[:, None, None, None] * np.ones((1, 4, 4, 1))
        strip = figures.image_rows({"": images}).axes[0].get_images()[0].get_array()
        shown = strip[0, ::5]  # 4 pixels and a gap of one
        np.testing.assert_array_equal(shown[:, 0], [0, 0, 153, 255, 255])
        assert (shown == shown[:, :1]).all()

    def test_labels_and_captions_are_written(self):
        images = np.zeros((2, 4, 6, 3))
        rows = {"image": images, "$truth{$": images, "below": images}
        figure = figures.image_rows(rows, {"image": ["a", "b"], "$truth{$": ["one", "two"]})
        figures.encode_webp(figure)  # a dollar sign is no formula
        assert [axis.get_title(loc="left") for axis in figure.axes] == [*rows]
        texts = [[tick.get_text() for tick in axis.get_xticklabels()] for axis in figure.axes]
        assert texts == [["a", "b"], ["one", "two"], []]

    def test_captions_have_room_below_their_row(self):
        images = np.zeros((3, 20, 20, 1))
        figure = figures.image_rows(dict.fromkeys("ab", images), {"a": ["x\ny"] * 3})
        figures.encode_webp(figure)
        first, second = figure.axes
        below = min(tick.get_window_extent().y0 for tick in first.get_xticklabels())
        assert below > second.title.get_window_extent().y0 > second.get_window_extent().y1
        sizes = [axis.get_window_extent().height for axis in figure.axes]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)

    def test_a_row_without_a_label_takes_no_room_for_one(self):
        images = np.zeros((3, 20, 20, 1))
        labelled, bare = (figures.image_rows({label: images}) for label in ("a", " "))
        assert bare.get_figheight() < labelled.get_figheight() - 0.1

    @pytest.mark.parametrize(
        ("counts", "captions"), [((2, 3), None), ((2, 2), {"1": ["one"]}), ((), None)]
    )
    def test_columns_that_do_not_match_are_an_error(self, counts, captions):
        rows = {str(row): np.zeros((n, 4, 4, 3)) for row, n in enumerate(counts)}
        with pytest.raises(ValueError, match="captions"):
            figures.image_rows(rows, captions)


class TestProbabilityBars:
    probability = np.array([0.2, 0.9, 0.7, 0.4, 0.6])
    groups = np.array([1, 0, 1, 1, 0])

    def test_one_bar_an_image_sorted_within_its_class(self):
        axis = figures.probability_bars(self.probability, self.groups, ["cat", "dog"]).axes[0]
        bars = [[bar.get_height() for bar in container] for container in axis.containers]
        assert bars == [[0.9, 0.6], [0.7, 0.4, 0.2]]
        left = [bar.get_x() for container in axis.containers for bar in container]
        assert left == sorted(left)

    def test_classes_count_their_images_and_absent_ones_are_left_out(self):
        names = ["cat", "dog", "emu"]
        axis = figures.probability_bars(self.probability, self.groups, names).axes[0]
        labels = [tick.get_text() for tick in axis.get_xticklabels()]
        assert labels == ["cat\n2 of 2 > .5", "dog\n1 of 3 > .5"]

    def test_a_line_stands_at_one_half(self):
        axis = figures.probability_bars(self.probability, self.groups, ["cat", "dog"]).axes[0]
        assert [list(line.get_ydata()) for line in axis.get_lines()] == [[0.5, 0.5]]


def curve(axis, label):
    (line,) = (line for line in axis.get_lines() if line.get_label() == label)
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


class TestLearningCurves:
    records = (
        {"epoch": 1, "train": {"loss": 3.0, "psnr": 9.0}, "val": {"loss": 4.0, "psnr": 8.0}},
        {"epoch": 2, "train": {"loss": 2.0, "psnr": 10.0}, "val": {"loss": float("nan")}},
        {"epoch": 3, "train": {"loss": 1.0, "psnr": 11.0}, "val": {"loss": 3.0, "psnr": None}},
    )

    def test_a_panel_for_each_metric_with_both_splits(self):
        figure = figures.learning_curves(self.records, ["loss", "psnr"])
        loss, psnr = figure.axes
        assert curve(loss, "train") == [(1, 3.0), (2, 2.0), (3, 1.0)]
        assert curve(psnr, "train") == [(1, 9.0), (2, 10.0), (3, 11.0)]

    def test_missing_and_infinite_values_are_passed_over(self):
        loss, psnr = figures.learning_curves(self.records, ["loss", "psnr"]).axes
        assert curve(loss, "val") == [(1, 4.0), (3, 3.0)]
        assert curve(psnr, "val") == [(1, 8.0)]

    def test_the_best_epoch_is_ringed_and_named(self):
        figure = figures.learning_curves(self.records, ["loss"], best_epoch=3)
        assert curve(figure.axes[0], "best, epoch 3") == [(3, 3.0)]
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["train", "val", "best, epoch 3"]

    def test_what_the_parameters_tell_is_a_curve_of_its_own(self):
        records = [r | {"model": {"angle": 90.0 / r["epoch"]}} for r in self.records]
        figure = figures.learning_curves(records, ["angle"])
        assert curve(figure.axes[0], "model") == [(1, 90.0), (2, 45.0), (3, 30.0)]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model"]

    def test_levels_are_dotted_in_the_colour_of_their_split_and_not_in_the_legend(self):
        levels = {"train": 0.5, "val": 1.5, "model": 9.0}  # there is no curve to compare the last
        figure = figures.learning_curves(self.records, ["loss"], levels=levels)
        lines = figure.axes[0].get_lines()
        dotted = {
            line.get_color(): line.get_ydata() for line in lines if line.get_linestyle() == ":"
        }
        colours = {line.get_label(): line.get_color() for line in lines}
        assert dotted == {colours["train"]: [0.5, 0.5], colours["val"]: [1.5, 1.5]}
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "val"]

    def test_a_single_epoch_leaves_a_mark(self):
        blue = np.round(255 * np.array(to_rgba(figures.COLOURS[0])[:3]))
        drawn = pixels(figures.learning_curves(self.records[:1], ["loss"]))
        above_the_legend = drawn[: int(0.8 * len(drawn))]
        assert (above_the_legend == blue).all(axis=-1).any()


class TestEncoding:
    def test_the_same_figure_gives_the_same_bytes_without_metadata(self):
        def encoded():
            return figures.encode_webp(
                figures.learning_curves(TestLearningCurves.records, ["loss"])
            )

        first = encoded()
        assert first == encoded()
        image = Image.open(io.BytesIO(first))
        assert image.format == "WEBP"
        assert not {"exif", "xmp", "icc_profile"} & set(image.info)

    def test_it_has_as_many_pixels_as_the_figures_inches(self):
        figure = figures.probability_bars(np.array([0.2, 0.9]), np.array([0, 0]), ["cat"])
        height, width, _ = pixels(figure).shape
        assert (width, height) == tuple(int(figures.DPI * i) for i in figure.get_size_inches())

    def test_curves_are_lossless(self):
        figure = figures.learning_curves(TestLearningCurves.records, ["loss"])
        np.testing.assert_array_equal(pixels(figure), exact(figure)[0])

    def test_photographs_are_smaller_and_nearly_what_they_were(self):
        rng = np.random.default_rng(0)
        smooth = np.cumsum(np.cumsum(rng.normal(size=(2, 64, 64, 3)), axis=1), axis=2)
        figure = figures.image_rows({"image": 0.5 + 0.5 * smooth / np.abs(smooth).max()})
        drawn, size = exact(figure)
        assert np.abs(pixels(figure).astype(int) - drawn).mean() < 2
        assert len(figures.encode_webp(figure)) < size / 2

    def test_drawing_leaves_matplotlib_as_it_was(self):
        before = dict(matplotlib.rcParams)
        figures.encode_webp(figures.learning_curves(TestLearningCurves.records, ["loss"], 1))
        assert dict(matplotlib.rcParams) == before

    def test_pyplot_is_never_imported(self):
        code = (
            "import numpy as np, sys; from vocjax.reporting import figures as f;"
            "f.encode_webp(f.image_rows({'': np.zeros((1, 2, 2, 3))}));"
            "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
