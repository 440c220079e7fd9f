"""What the report draws of each task's samples, and of runs together."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vocjax.data.devkit import CLASSES
from vocjax.reporting import figures as draw
from vocjax.reporting import reconstruction
from vocjax.reporting.hover import Scatter
from vocjax.runs import reader
from vocjax.runs.reader import Run

STUDY = [
    {"name": "AE 64", "code": 64, "train": {"mse": "0.02"}, "val": {"mse": "0.04"}},
]


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def strip(figure, row):
    """The images of a row, put back together from what is drawn: [n, height, width, 3]."""
    return np.asarray(figure.axes[row].get_images()[0].get_array())


def figures_of(run):
    found = reader.read_run(run)
    return found, reconstruction.figures(found.samples, found.config)


class TestReconstruction:
    def test_a_run_with_a_code_shows_reconstructions_and_its_latent_space(self, finished_run):
        _, drawn = figures_of(finished_run("autoencoder_256"))
        reconstructions, scatter, nearest, interpolations, plane, walk, sample = drawn.values()
        assert titles(reconstructions) == ["validation image", "reconstruction"]
        assert isinstance(scatter, Scatter)
        assert titles(nearest)[:2] == ["validation image", "nearest in train"]
        assert titles(interpolations) == [f"pair {i}" for i in (1, 2, 3, 4)]
        assert len(titles(plane)) == 7
        assert titles(plane)[3] == "second direction 0"
        assert titles(walk)[0] == "direction 1"
        assert len(titles(sample)) == 3  # of 24, 8 in a row

    def test_points_of_the_scatter_are_the_images_of_both_splits(self, finished_run):
        found, drawn = figures_of(finished_run("autoencoder_256"))
        samples = found.samples
        (scatter,) = (figure for figure in drawn.values() if isinstance(figure, Scatter))
        assert list(scatter.views) == ["first two principal directions", "t-SNE"]
        assert [*scatter.ids] == [*samples["train/ids"], *samples["val/ids"]]
        assert scatter.held_out.tolist() == [False] * 10 + [True] * 8
        assert scatter.names == ("aeroplane", "dog")
        labels = np.concatenate([samples["train/labels"], samples["val/labels"]])
        for name, group in zip(scatter.names, (0, 1), strict=True):
            present = labels[scatter.groups == group, CLASSES.index(name)]
            assert (present == 1).all()
        thumbnails = [samples["train/thumbnail"], samples["val/thumbnail"]]
        np.testing.assert_array_equal(scatter.thumbnails, np.concatenate(thumbnails))

    def test_nearest_images_are_those_that_the_run_found(self, finished_run):
        found, drawn = figures_of(finished_run("autoencoder_256"))
        samples = found.samples
        nearest = drawn["Nearest training images by the distance of codes"]
        first = samples["train/thumbnail"][samples["latent/neighbours"][:, 0]]
        expected = draw.image_rows({"": first})
        np.testing.assert_array_equal(strip(nearest, 1), strip(expected, 0))

    def test_as_many_neighbours_as_there_are_images(self, finished_run):
        samples = dict(reader.read_run(finished_run("autoencoder_256")).samples)
        samples["latent/neighbours"] = samples["latent/neighbours"][:, :2]
        drawn = reconstruction.figures(samples, {"data": {"classes": []}})
        nearest = drawn["Nearest training images by the distance of codes"]
        assert titles(nearest) == ["validation image", "nearest in train", "second in train"]

    def test_the_linear_autoencoders_components_stand_beside_pcas(self, finished_run):
        found, drawn = figures_of(finished_run("linear_autoencoder"))
        (rows,) = (figure for title, figure in drawn.items() if title.startswith("Components"))
        (matrix,) = (figure for title, figure in drawn.items() if title.startswith("Cosines"))
        assert titles(rows) == ["PCA", "autoencoder", "autoencoder, rotated"]
        shown = np.asarray(matrix.axes[0].get_images()[0].get_array())
        np.testing.assert_array_equal(shown, found.samples["model/cosines"])

    def test_pcas_components_and_what_they_explain(self, finished_run):
        found, drawn = figures_of(finished_run("pca"))
        explained = found.samples["model/explained_variance_ratio"]
        (line,) = next(f for t, f in drawn.items() if t.startswith("Share")).axes[0].get_lines()
        assert list(line.get_xdata()) == [1, 2, 3]
        np.testing.assert_allclose(line.get_ydata(), np.cumsum(explained))
        assert drawn["The first components"].axes

    def test_components_are_grey_where_they_are_zero_and_span_the_range(self):
        picture = reconstruction._as_pictures(np.array([[-2.0, 0, 1, 2], [0, 0, 0, 0]]), (2, 2, 1))
        assert picture[0].ravel().tolist() == [0, 0.5, 0.75, 1]
        assert picture[1].ravel().tolist() == [0.5] * 4

    def test_what_an_older_run_kept_is_drawn(self):
        """Without a survey of its codes there are the reconstructions alone."""
        images = np.zeros((3, 4, 4, 3))
        samples = {"image": images, "reconstruction": images}
        assert list(reconstruction.figures(samples, {})) == ["Reconstructions"]


def run_of(name, code, train, val, baselines=(), seed=0, images=100):
    results = {
        "code": code,
        "train": {"mse": train},
        "val": {"mse": val},
        "baselines": {name: {"train": {"mse": t}, "val": {"mse": v}} for name, t, v in baselines},
    }
    made = {"images": {"train": images}}
    return Run(Path(name), {"name": name, "seed": seed}, made, [], results, {})


def curves(figure):
    """{colour: {split: [(code, error), ...]}} and the names in the legend by colour."""
    found = {}
    for line in figure.axes[0].get_lines():
        if line.get_linestyle() in ("-", "--"):
            split = {"-": "val", "--": "train"}[line.get_linestyle()]
            points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
            found.setdefault(to_hex(line.get_color()), {})[split] = points
    (legend,) = figure.legends
    names = {
        text.get_text(): to_hex(line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    return {name: found[colour] for name, colour in names.items()}


class TestComparison:
    sizes = (
        run_of("AE 16", 16, 0.5, 0.6),
        run_of("AE 64", 64, 0.2, 0.3),
        run_of("AE 256", 256, 0.1, 0.2),
    )

    def drawn(self, *more):
        (figure,) = reconstruction.comparison([*self.sizes, *more], STUDY).values()
        return figure

    def test_runs_that_differ_in_their_numbers_are_one_curve_in_order(self):
        shuffled = [self.sizes[i] for i in (2, 0, 1)]
        (figure,) = reconstruction.comparison(shuffled, STUDY).values()
        assert curves(figure) == {
            "AE": {
                "train": [(16, 0.5), (64, 0.2), (256, 0.1)],
                "val": [(16, 0.6), (64, 0.3), (256, 0.2)],
            }
        }

    def test_seeds_are_averaged(self):
        found = curves(self.drawn(run_of("AE 64", 64, 0.4, 0.7, seed=1)))
        assert found["AE"]["train"][1] == (64, pytest.approx(0.3))
        assert found["AE"]["val"][1] == (64, pytest.approx(0.5))

    def test_baselines_of_a_size_are_curves_and_the_mean_image_is_none(self):
        simple = [
            ("PCA, at most 64 components", 0.05, 0.15),
            ("DCT, 64 coefficients", 0.07, 0.17),
            ("mean image", 0.9, 0.9),
        ]
        found = curves(self.drawn(run_of("Slim AE 64", 64, 0.2, 0.4, simple)))
        assert found.keys() == {"AE", "Slim AE", "PCA", "DCT"}
        assert found["PCA"] == {"train": [(64, 0.05)], "val": [(64, 0.15)]}
        # 64 images have no more than 63 components.
        assert "PCA" not in curves(self.drawn(run_of("Slim", 64, 0.2, 0.4, simple, images=64)))

    def test_variants_are_left_to_the_table(self):
        assert curves(self.drawn(run_of("AE 64, strided", 64, 0.9, 0.9))).keys() == {"AE"}

    def test_other_runs_of_a_size_are_not_averaged_in(self):
        other = run_of("AE 64", 64, 0.9, 0.9)
        other.config["epochs"] = 3
        found = curves(self.drawn(other))
        assert found["AE"]["train"][1] == (64, 0.2)
        assert found["AE 64"] == {"train": [(64, 0.9)], "val": [(64, 0.9)]}

    def test_the_studys_points_are_marked_at_their_code_and_errors(self):
        axis = self.drawn().axes[0]
        crosses = [
            (*line.get_xdata(), *line.get_ydata())
            for line in axis.get_lines()
            if line.get_marker() == "x"
        ]
        assert crosses == [(64, 0.02), (64, 0.04)]
        assert [text.get_text() for text in axis.texts] == ["study, AE 64"]

    def test_an_error_of_zero_leaves_the_rest_visible(self):
        """PCA with a component for every training image has none; the axis is logarithmic."""
        figure = self.drawn(run_of("PCA 512", 512, 0.0, 0.25))
        low, high = figure.axes[0].get_ylim()
        assert 0 < low < 0.1 < 0.6 < high
        assert draw.encode_webp(figure)

    def test_fewer_than_three_sizes_are_no_curve(self):
        runs = [*self.sizes[:2], run_of("AE 64", 64, 0.3, 0.3), run_of("old", None, 0.1, 0.1)]
        assert reconstruction.comparison(runs, STUDY) == {}

    def test_unfinished_runs_are_passed_over(self):
        begun = Run(Path("begun"), {"name": "AE 512"}, {}, [], None, {})
        assert curves(self.drawn(begun)) == curves(self.drawn())
