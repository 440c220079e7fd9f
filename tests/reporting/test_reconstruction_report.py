"""What the report draws of task 1: the samples of a run, and runs together."""

import numpy as np
import pytest
from example_runs import codes_of, run_of
from figure_texts import legend, named, ticks, titles

from vocjax.reporting import figures as draw
from vocjax.reporting import reconstruction

RNG = np.random.default_rng(0)
SIDE = 4


def pictures(*shape):
    return RNG.random((*shape, SIDE, SIDE, 3)).astype(np.float16)


def kept_samples():
    """What a run with a code of three numbers keeps."""
    return codes_of() | {
        "image": pictures(3),
        "reconstruction": pictures(3),
        "latent/neighbours": np.array([[3, 1, 2], [0, 4, 2], [4, 3, 0]]),
        "latent/interpolation": pictures(4, 8),
        "latent/plane": pictures(7, 7),
        "latent/walk": pictures(3, 7),
        "latent/sample": pictures(24),
    }


def figures_of(samples, **fields):
    fields = {"data.classes": ["aeroplane", "dog"]} | fields
    return reconstruction.figures(run_of("reconstruction", samples=samples, **fields))


KEPT = kept_samples()


@pytest.fixture(scope="module")
def drawn():
    return figures_of(KEPT)


def test_runs_of_the_same_images_are_side_by_side_with_the_error_of_each_image():
    image = pictures(3)
    shown = {"image": image, "shown": np.arange(3), "val/ids": np.array(["a", "b", "c"])}
    runs = [
        run_of("reconstruction", name, samples=shown | {"reconstruction": image + shift})
        for name, shift in (("PCA", 0.5), ("AE", 0.0))
    ]
    other = shown | {"reconstruction": image, "shown": np.array([2, 1, 0])}
    drawn = reconstruction.side_by_side([*runs, run_of("reconstruction", "far", samples=other)])
    figure = next(iter(drawn.values()))
    assert titles(figure) == ["validation image", "PCA", "AE"]
    assert len(drawn) == 2  # the last one shows other images
    assert [ticks(axis, "x") for axis in figure.axes[1:]] == [[".250"] * 3, [".000"] * 3]
    without = run_of("reconstruction", "bare", samples={"image": image})
    assert reconstruction.side_by_side([without]) == {}


class TestFigures:
    def test_a_run_with_a_code_shows_reconstructions_and_its_latent_space(self, drawn):
        reconstructions, scatter, nearest, interpolations, plane, walk, sample = drawn.values()
        assert [*scatter.views] == ["first two principal directions", "t-SNE"]
        assert titles(reconstructions) == ["validation image", "reconstruction"]
        expected = ["validation image", *(f"{n} in train" for n in ("nearest", "second", "third"))]
        assert titles(nearest) == expected
        first = draw.image_rows({"": KEPT["train/thumbnail"][[3, 0, 4]]})
        shown, expected = (
            np.asarray(figure.axes[row].get_images()[0].get_array())
            for figure, row in ((nearest, 1), (first, 0))
        )
        np.testing.assert_array_equal(shown, expected)
        assert titles(interpolations) == [f"pair {i}" for i in (1, 2, 3, 4)]
        assert titles(plane)[2:5] == [f"second direction {i}" for i in ("+1", "0", "-1")]
        assert titles(walk) == [f"direction {i}" for i in (1, 2, 3)]
        assert len(titles(sample)) == 3  # of 24, 8 in a row

    def test_the_linear_autoencoders_components_are_below_pcas(self):
        components = RNG.normal(size=(3, SIDE * SIDE * 3))
        names = ["PCA", "autoencoder", "autoencoder, rotated"]
        samples = {f"model/{name}": components for name in names}
        samples |= {"model/cosines": np.array([[1, 0.5], [0.5, 1]]), "model/angles": np.ones(1)}
        drawn = figures_of(KEPT | samples)
        assert titles(named(drawn, "Components")) == names
        # PCA of three images has two components; a column is then one that all three have.
        few = figures_of(KEPT | samples | {"model/PCA": components[:2]})
        cut = figures_of(
            KEPT | {name: a[:2] if a is components else a for name, a in samples.items()}
        )
        widths = [
            [axis.get_images()[0].get_array().shape[1] for axis in named(d, "Components").axes]
            for d in (few, cut)
        ]
        assert widths[0] == widths[1]
        matrix = named(drawn, "Cosines").axes[0].get_images()[0].get_array()
        np.testing.assert_array_equal(matrix, samples["model/cosines"])

    def test_pcas_components_and_what_they_explain(self):
        """Without a survey of the codes: a run whose codes have one number."""
        ratio = np.array([0.5, 0.25, 0.125])
        components = RNG.normal(size=(3, SIDE * SIDE * 3))
        samples = {name: KEPT[name] for name in ("image", "reconstruction")}
        samples |= {"model/PCA": components, "model/explained_variance_ratio": ratio}
        drawn = figures_of(samples)
        assert [title.split()[0] for title in drawn] == ["Reconstructions", "The", "Share"]
        (line,) = named(drawn, "Share").axes[0].get_lines()
        assert list(line.get_xdata()) == [1, 2, 3]
        np.testing.assert_allclose(line.get_ydata(), np.cumsum(ratio))

    def test_components_are_grey_where_they_are_zero_and_span_the_range(self):
        picture = reconstruction._as_pictures(np.array([[-2.0, 0, 1, 2], [0, 0, 0, 0]]), (2, 2, 1))
        assert picture[0].ravel().tolist() == [0, 0.5, 0.75, 1]
        assert picture[1].ravel().tolist() == [0.5] * 4


def finished(code, train, val, baselines=(), images=100, **fields):
    results = {
        "code": code,
        "train": {"mse": train},
        "val": {"mse": val},
        "baselines": {name: {"train": {"mse": t}, "val": {"mse": v}} for name, t, v in baselines},
    }
    fields = {"model.name": "autoencoder", "model.encoder": [code], "name": f"Run {code}"} | fields
    return run_of("reconstruction", results=results, images=images, **fields)


SIZES = (finished(16, 0.5, 0.6), finished(64, 0.2, 0.3), finished(256, 0.1, 0.2))


class TestComparison:
    def curves(self, *runs):
        """{label: {code size: (error on train, on val)}}"""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconstruction, "_trade_off", lambda curves: curves)
            (found,) = reconstruction.comparison(runs).values()
        return found

    def test_runs_that_differ_in_their_size_are_one_curve_of_the_means_of_seeds(self):
        found = self.curves(*SIZES, finished(64, 0.4, 0.7, seed=1))
        means = pytest.approx((0.3, 0.5))
        assert found == {"AE": {16: (0.5, 0.6), 64: means, 256: (0.1, 0.2)}}

    def test_baselines_of_a_size_are_curves_and_the_mean_image_is_none(self):
        simple = [
            ("PCA, at most 64 components", 0.05, 0.15),
            ("DCT, 64 coefficients", 0.07, 0.17),
            ("mean image", 0.9, 0.9),
        ]
        linear = {"model.name": "linear_autoencoder", "baselines": simple}
        found = self.curves(*SIZES, finished(64, 0.2, 0.4, **linear))
        assert found.keys() == {"AE", "Linear autoencoder", "PCA", "DCT"}
        assert found["PCA"] == {64: (0.05, 0.15)}
        # 64 images have no more than 63 components.
        assert "PCA" not in self.curves(*SIZES, finished(64, 0.2, 0.4, images=64, **linear))

    def test_a_variant_of_one_size_is_left_to_the_table_and_one_of_several_is_a_curve(self):
        strided = {"model.downsample": "stride"}
        variant = finished(64, 0.9, 0.9, **strided)
        assert self.curves(*SIZES, variant, variant) == self.curves(*SIZES)
        found = self.curves(*SIZES, variant, finished(16, 0.8, 0.8, name="Strided", **strided))
        assert found.keys() == {"AE", "Run"}  # the name of the first, "Run 64", without its size
        assert found["Run"] == {64: (0.9, 0.9), 16: (0.8, 0.8)}

    def test_unfinished_runs_and_fewer_than_three_sizes_are_no_curve(self):
        begun = run_of("reconstruction", **{"model.name": "autoencoder"})
        assert self.curves(*SIZES, begun) == self.curves(*SIZES)
        runs = [*SIZES[:2], finished(64, 0.3, 0.3, epochs=2), finished(None, 0.1, 0.1), begun]
        assert reconstruction.comparison(runs) == {}

    def test_the_picture_has_a_pair_of_lines_for_each_curve_and_the_studys_points(self):
        """PCA with a component for every training image has no error; the axis is logarithmic."""
        (figure,) = reconstruction.comparison(
            [*reversed(SIZES), finished(512, 0.0, 0.25, **{"model.name": "pca"})]
        ).values()
        (axis,) = figure.axes
        lines = [(li.get_linestyle(), [*li.get_xdata()], [*li.get_ydata()]) for li in axis.lines]
        assert lines[:2] == [
            ("--", [16, 64, 256], [0.5, 0.2, 0.1]),
            ("-", [16, 64, 256], [0.6, 0.3, 0.2]),
        ]
        assert legend(figure) == ["AE", "PCA"]
        marked = [line for line in axis.lines if line.get_marker() == "x"]
        crosses = [(*line.get_xdata(), *line.get_ydata()) for line in marked]
        assert crosses == [(2048, 0.025), (2048, 0.042), (256, 0.037), (256, 0.029)]
        assert [text.get_text() for text in axis.texts] == ["study, AE 2048", "study, AE 256"]
        low, high = axis.get_ylim()
        assert 0 < low < 0.1 < 0.6 < high
        assert draw.encode_webp(figure)
