"""What can be done with codes: directions, walks, samples, neighbours, and the whole survey."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vocjax import latent

N, NUMBERS, DEAD = 12, 6, 2
DIRECTIONS = NUMBERS - DEAD


def draw_codes(n=N, seed=0):
    """Codes around 3, whose numbers depend on one another; two of them never change."""
    rng = np.random.default_rng(seed)
    codes = 3 + rng.standard_normal((n, NUMBERS)) @ rng.standard_normal((NUMBERS, NUMBERS))
    codes[:, 1], codes[:, 4] = 0, 7
    return codes.astype(np.float32)


@pytest.fixture(scope="module")
def codes():
    return draw_codes()


@pytest.fixture(scope="module")
def axes(codes):
    return latent.principal_axes(jnp.asarray(codes))


def test_directions_leave_out_what_never_changes_but_one(axes, codes):
    assert (axes.components.shape, axes.variance.shape) == ((DIRECTIONS, NUMBERS), (DIRECTIONS,))
    np.testing.assert_allclose(axes.components[:, [1, 4]], 0, atol=1e-5)
    assert latent.principal_axes(jnp.asarray(codes[:2])).components.shape == (1, NUMBERS)
    alike = latent.principal_axes(jnp.full((N, NUMBERS), 2.0))
    assert alike.components.shape == (1, NUMBERS)
    np.testing.assert_allclose(latent.from_coordinates(alike, jnp.ones((1, 1))), 2, atol=1e-5)


def test_coordinates_are_uncorrelated_with_variance_one(axes, codes):
    points = np.asarray(latent.coordinates(axes, codes))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(points.T), np.eye(DIRECTIONS), atol=1e-4)
    np.testing.assert_allclose(latent.from_coordinates(axes, points), codes, atol=1e-4)
    others = np.random.default_rng(1).standard_normal((N, DIRECTIONS)).astype(np.float32)
    there = latent.coordinates(axes, latent.from_coordinates(axes, others))
    np.testing.assert_allclose(there, others, atol=1e-4)


def test_interpolation_is_a_straight_line_with_both_ends(codes):
    line = np.asarray(latent.interpolate(codes[0], codes[1], 5))
    np.testing.assert_array_equal(line[0], codes[0])
    np.testing.assert_allclose(line[-1], codes[1], rtol=1e-5)
    np.testing.assert_allclose(np.diff(line, n=2, axis=0), 0, atol=1e-5)


def test_a_walk_and_the_plane_move_along_their_directions_alone(axes):
    deviations = np.float32([-1, 0, 2])
    steps = latent.coordinates(axes, latent.walk(axes, 3, jnp.asarray(deviations)))
    np.testing.assert_allclose(steps, deviations[:, None] * np.eye(DIRECTIONS)[3], atol=1e-4)
    grid = latent.plane(axes, jnp.asarray(deviations))
    assert grid.shape == (3, 3, NUMBERS)
    points = latent.coordinates(axes, grid.reshape(9, -1)).reshape(3, 3, -1)
    np.testing.assert_allclose(points[..., 0], np.tile(deviations, (3, 1)), atol=1e-4)
    upwards = np.tile(deviations[::-1, None], (1, 3))
    np.testing.assert_allclose(points[..., 1], upwards, atol=1e-4)
    np.testing.assert_allclose(points[..., 2:], 0, atol=1e-4)


def test_samples_have_the_codes_mean_and_covariance(axes, codes):
    samples = np.asarray(latent.sample(jax.random.key(0), axes, 20_000))
    expected = np.cov(codes.T)
    deviation = np.sqrt(expected.max())
    np.testing.assert_allclose(samples.mean(axis=0), codes.mean(axis=0), atol=0.03 * deviation)
    np.testing.assert_allclose(np.cov(samples.T), expected, atol=0.04 * expected.max())


def test_neighbours_equal_scikit_learns(codes):
    queries = draw_codes(n=7, seed=1)
    expected = NearestNeighbors(n_neighbors=4).fit(codes).kneighbors(queries)[1]
    np.testing.assert_array_equal(latent.neighbours(queries, codes, 4), expected)
    np.testing.assert_array_equal(latent.neighbours(codes, codes, 1)[:, 0], np.arange(N))
    assert latent.neighbours(queries, codes[:3], 5).shape == (7, 3)  # fewer codes than asked for


def test_tsne_keeps_two_clusters_apart_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(0)
    clusters = np.repeat([[0.0] * 5, [20.0] * 5], 8, axis=0) + rng.standard_normal((16, 5))
    codes = clusters.astype(np.float32)
    where = latent.tsne(codes, seed=3)
    assert where.shape == (16, 2)
    nearest = latent.neighbours(where, where, 5)
    assert np.all((nearest < 8) == (np.arange(16) < 8)[:, None])
    np.testing.assert_array_equal(latent.tsne(codes, seed=3), where)


PICTURES = np.linalg.qr(np.random.default_rng(0).standard_normal((4 * 4 * 3, NUMBERS)))[0]
VARIABLES = {"scale": np.float32(0.1)}
CODEC = latent.Codec(  # an image is its code's numbers times fixed pictures, plus 1/2
    lambda variables, x: (x.reshape(len(x), -1) - 0.5) @ PICTURES / variables["scale"],
    lambda variables, codes: 0.5 + (variables["scale"] * codes @ PICTURES.T).reshape(-1, 4, 4, 3),
    NUMBERS,
)


def survey(train, shown=5, seed=0):
    """Return the samples of training codes, and their survey."""
    codes = {"train/code": train, "val/code": draw_codes(9, seed=2)}
    images = CODEC.decode(VARIABLES, codes["val/code"][:shown])
    samples = codes | {"image": np.asarray(images).astype(np.float16)}
    return samples, latent.survey(CODEC, VARIABLES, samples, jax.random.key(seed))


@pytest.fixture(scope="module")
def surveyed(codes):
    return survey(codes)


def test_a_surveys_pictures(surveyed, codes):
    samples, result = surveyed
    shapes = {name: a.shape for name, a in result.items() if name.startswith("latent/")}
    assert shapes == {
        "latent/sample": (24, 4, 4, 3),
        "latent/walk": (DIRECTIONS, 7, 4, 4, 3),
        "latent/plane": (7, 7, 4, 4, 3),
        "latent/interpolation": (2, 8, 4, 4, 3),  # of two pairs of the five images
        "latent/neighbours": (5, 5),
    }
    for name in shapes.keys() - {"latent/neighbours"}:
        assert result[name].dtype == np.float16
        assert result[name].min() >= 0 and result[name].max() <= 1
    ends = result["latent/interpolation"][:, [0, -1]]
    given = samples["image"][:4].reshape(ends.shape)
    np.testing.assert_allclose(ends, given.clip(0, 1), atol=2e-3)
    mean = CODEC.decode(VARIABLES, codes.mean(axis=0, keepdims=True))[0].clip(0, 1)
    for image in (result["latent/plane"][3, 3], *result["latent/walk"][:, 3]):
        np.testing.assert_allclose(image, mean, atol=1e-3)
    # The plane's middle row is the walk along the first direction, its middle column the second's.
    np.testing.assert_array_equal(result["latent/plane"][3], result["latent/walk"][0])
    np.testing.assert_array_equal(result["latent/plane"][::-1, 3], result["latent/walk"][1])


def test_a_surveys_neighbours_and_embeddings(surveyed, axes):
    samples, result = surveyed
    shown = CODEC.encode(VARIABLES, samples["image"].astype(np.float32))
    expected = latent.neighbours(shown, samples["train/code"], 5)
    np.testing.assert_array_equal(result["latent/neighbours"], expected)
    for split in ("train", "val"):
        codes = samples[f"{split}/code"]
        np.testing.assert_array_equal(result[f"{split}/embedded"], np.arange(len(codes)))
        assert result[f"{split}/tsne"].shape == (len(codes), 2)
        along = (codes - axes.mean) @ axes.components[:2].T
        np.testing.assert_allclose(result[f"{split}/principal"], along, atol=1e-4)


def test_a_survey_depends_on_its_key_alone(surveyed, codes):
    result, again, other = surveyed[1], survey(codes)[1], survey(codes, seed=1)[1]
    for name, array in again.items():
        np.testing.assert_array_equal(array, result[name], err_msg=name)
    differing = {name for name in other if np.any(other[name] != result[name])}
    assert {"latent/sample"} <= differing <= {"latent/sample", "train/tsne", "val/tsne"}


def test_one_direction_has_neither_plane_nor_scatter(codes):
    result = survey(np.float32([1, 0, 0, 0, 0, 0]) * codes, shown=1)[1]
    assert set(result) == {"latent/sample", "latent/walk", "latent/neighbours"}
    assert result["latent/walk"].shape == (1, 7, 4, 4, 3)
    assert result["latent/neighbours"].shape == (1, 5)


def test_many_codes_are_embedded_in_an_even_share(monkeypatch):
    monkeypatch.setattr(latent, "EMBEDDED", 12)
    codes = {"train": draw_codes(20), "val": draw_codes(10)}
    result = latent.embeddings(codes, jax.random.key(0))
    np.testing.assert_array_equal(result["train/embedded"], np.linspace(0, 19, 8).astype(int))
    np.testing.assert_array_equal(result["val/embedded"], np.linspace(0, 9, 4).astype(int))
    assert (result["train/tsne"].shape, result["val/tsne"].shape) == ((8, 2), (4, 2))
