"""Plots of any task: what is drawn where, and that drawing leaves nothing behind."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from figure_texts import assert_readable, legend, ticks, titles
from matplotlib.colors import to_rgba
from PIL import Image

from vocjax.reporting import figures

RECORDS = (
    {"epoch": 1, "train": {"loss": 3.0}, "val": {"loss": 4.0}, "model": {"angle": 90.0}},
    {"epoch": 2, "train": {"loss": 2.0}, "val": {"loss": float("nan")}, "model": {"angle": 45.0}},
    {"epoch": 3, "train": {"loss": 1.0}, "val": {"loss": 3.0, "psnr": None}},
)


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figures.encode_webp(figure))).convert("RGB"))


@matplotlib.rc_context(figures.STYLE)
def exact(figure):
    """A figure's pixels without loss, and the size of that file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figures.DPI)
    return np.asarray(Image.open(file).convert("RGB")), file.tell()


class TestImageRows:
    def test_images_are_in_order_in_their_row_and_one_channel_is_grey(self):
        images = np.array([0.0, 0.6, 1.0])[:, None, None, None] * np.ones((1, 4, 4, 1))
        figure = figures.image_rows({"top": images, "bottom": images[::-1]})
        shown = [axis.get_images()[0].get_array()[0, ::5] for axis in figure.axes]  # gaps of one
        np.testing.assert_array_equal(shown[0], np.repeat([[0], [153], [255]], 3, axis=1))
        np.testing.assert_array_equal(shown[1], shown[0][::-1])

    def test_labels_and_captions_are_written_and_have_room(self):
        images = np.zeros((2, 20, 20, 3))
        rows = {"image": images, "$truth{$": images, "below": images}
        captions = {"image": ["a\n1", "b\n2"], "$truth{$": ["one", "two"]}
        figure = figures.image_rows(rows, captions)
        figures.encode_webp(figure)  # a dollar sign is no formula
        assert titles(figure) == [*rows]
        assert [ticks(axis, "x") for axis in figure.axes] == [*captions.values(), []]
        first, second, _ = figure.axes
        below = min(tick.get_window_extent().y0 for tick in first.get_xticklabels())
        assert below > second.title.get_window_extent().y0 > second.get_window_extent().y1
        sizes = [axis.get_window_extent().height for axis in figure.axes]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
        bare = figures.image_rows({" ": images})
        assert bare.get_figheight() < figures.image_rows({"a": images}).get_figheight() - 0.1

    def test_rows_of_different_lengths_are_an_error(self):
        with pytest.raises(ValueError, match="unpack"):
            figures.image_rows({str(n): np.zeros((n, 4, 4, 3)) for n in (2, 3)})


def curve(figure, label):
    (line,) = (line for line in figure.axes[0].get_lines() if line.get_label() == label)
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


class TestLearningCurve:
    def test_both_splits_without_missing_values_and_the_best_epoch_with_a_ring(self):
        figure = figures.learning_curve(RECORDS, "loss", best_epoch=3)
        assert curve(figure, "train") == [(1, 3.0), (2, 2.0), (3, 1.0)]
        assert curve(figure, "val") == [(1, 4.0), (3, 3.0)]
        assert curve(figure, "best, epoch 3") == [(3, 3.0)]
        assert legend(figure) == ["train", "val", "best, epoch 3"]

    def test_a_metric_of_the_parameters_is_a_curve_of_its_own(self):
        figure = figures.learning_curve(RECORDS, "angle")
        assert curve(figure, "model") == [(1, 90.0), (2, 45.0)]
        assert legend(figure) == ["model"]

    def test_levels_are_dotted_in_the_colour_of_their_split_and_not_in_the_legend(self):
        levels = {"train": 0.5, "val": 1.5, "model": 9.0}  # there is no curve to compare the last
        figure = figures.learning_curve(RECORDS, "loss", levels=levels)
        lines = figure.axes[0].get_lines()
        dotted = {li.get_color(): li.get_ydata() for li in lines if li.get_linestyle() == ":"}
        colours = {line.get_label(): line.get_color() for line in lines}
        assert dotted == {colours["train"]: [0.5, 0.5], colours["val"]: [1.5, 1.5]}
        assert legend(figure) == ["train", "val"]

    def test_a_single_epoch_leaves_a_mark(self):
        blue = np.round(255 * np.array(to_rgba(figures.COLOURS[0])[:3]))
        drawn = pixels(figures.learning_curve(RECORDS[:1], "loss"))
        above_the_legend = drawn[: int(0.8 * len(drawn))]
        assert (above_the_legend == blue).all(axis=-1).any()


class TestDots:
    def test_dots_are_means_lines_spans_crosses_the_studys_and_levels_dotted(self):
        rows = [
            figures.Row("Run 6, soft Dice, norm", {"soft": [0.5, 0.7], "hard": []}, 0.62),
            figures.Row("U-Net", {"soft": [0.4], "hard": [0.45]}, None),
        ]
        figure = figures.dots({"A": rows, "B": rows[1:]}, "Dice", {"B": 0.3}, "all foreground")
        above, below = figure.axes
        assert titles(figure) == ["A", "B"]
        assert ticks(above) == ["Run 6, soft Dice, norm", "U-Net"]
        assert above.yaxis_inverted()
        marks = {
            (line.get_label(), *np.round([*line.get_xdata(), *line.get_ydata()], 6))
            for line in above.get_lines()
            if line.get_marker() != "None"
        }
        assert marks == {
            ("soft", 0.6, -0.14),
            ("study, soft", 0.62, -0.14),
            ("soft", 0.4, 0.86),
            ("hard", 0.45, 1.14),
        }
        assert list(above.get_lines()[0].get_xdata()) == [0.5, 0.7]
        assert list(below.get_lines()[-1].get_xdata()) == [0.3, 0.3]
        assert legend(figure) == ["soft", "study, soft", "hard", "all foreground"]
        assert_readable(figure, "dots")


class TestEncoding:
    def test_the_same_figure_gives_the_same_lossless_bytes_without_metadata(self):
        before = dict(matplotlib.rcParams)
        figure = figures.learning_curve(RECORDS, "loss")
        first = figures.encode_webp(figure)
        assert figures.encode_webp(figures.learning_curve(RECORDS, "loss")) == first
        image = Image.open(io.BytesIO(first))
        assert image.format == "WEBP"
        assert not {"exif", "xmp", "icc_profile"} & set(image.info)
        assert image.size == tuple(int(figures.DPI * i) for i in figure.get_size_inches())
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), exact(figure)[0])
        assert dict(matplotlib.rcParams) == before

    def test_of_letters_that_the_font_lacks_nothing_is_said(self):
        pixels(figures.image_rows({"猫": np.zeros((1, 2, 2, 3))}))  # a warning is an error

    def test_photographs_are_smaller_and_nearly_what_they_were(self):
        rng = np.random.default_rng(0)
        smooth = np.cumsum(np.cumsum(rng.normal(size=(2, 64, 64, 3)), axis=1), axis=2)
        figure = figures.image_rows({"image": 0.5 + 0.5 * smooth / np.abs(smooth).max()})
        drawn, size = exact(figure)
        assert np.abs(pixels(figure).astype(int) - drawn).mean() < 2
        assert len(figures.encode_webp(figure)) < size / 2

    def test_pyplot_is_never_imported(self):
        code = (
            "import numpy as np, sys; from vocjax.reporting import page, figures as f;"
            "f.encode_webp(f.image_rows({'': np.zeros((1, 2, 2, 3))}));"
            "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
