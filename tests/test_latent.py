"""What can be done with codes: directions, walks, samples, neighbours, and the whole survey."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import latent

NUMBERS, DEAD = 6, 2


def draw_codes(n=40, numbers=NUMBERS, seed=0):
    """Codes around 3, whose numbers depend on one another; two of them never change."""
    rng = np.random.default_rng(seed)
    codes = 3 + rng.standard_normal((n, numbers)) @ rng.standard_normal((numbers, numbers))
    codes[:, 1], codes[:, 4] = 0, 7
    return codes.astype(np.float32)


@pytest.fixture(scope="module")
def codes():
    return draw_codes()


@pytest.fixture(scope="module")
def axes(codes):
    return latent.principal_axes(jnp.asarray(codes))


def test_numbers_that_never_change_are_no_directions(axes):
    assert axes.components.shape == (NUMBERS - DEAD, NUMBERS)
    assert axes.variance.shape == (NUMBERS - DEAD,)
    np.testing.assert_allclose(axes.components[:, [1, 4]], 0, atol=1e-5)


def test_more_numbers_than_codes_have_one_direction_less_than_codes():
    few = latent.principal_axes(jnp.asarray(draw_codes(n=4)))
    assert few.components.shape == (3, NUMBERS)


def test_one_direction_is_left_where_all_codes_are_alike():
    alike = jnp.full((5, 3), 2.0)
    axes = latent.principal_axes(alike)
    assert axes.components.shape == (1, 3)
    codes = latent.sample(jax.random.key(0), axes, 4)
    np.testing.assert_allclose(codes, 2, atol=1e-5)


def test_coordinates_are_uncorrelated_with_variance_one(axes, codes):
    points = np.asarray(latent.coordinates(axes, codes))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(points.T), np.eye(NUMBERS - DEAD), atol=1e-4)


def test_coordinates_and_back(axes, codes):
    points = latent.coordinates(axes, codes)
    np.testing.assert_allclose(latent.from_coordinates(axes, points), codes, atol=1e-4)
    others = np.random.default_rng(1).standard_normal((5, NUMBERS - DEAD)).astype(np.float32)
    there = latent.coordinates(axes, latent.from_coordinates(axes, others))
    np.testing.assert_allclose(there, others, atol=1e-4)


def test_interpolation_is_a_straight_line_with_both_ends(codes):
    line = np.asarray(latent.interpolate(codes[0], codes[1], 5))
    np.testing.assert_array_equal(line[0], codes[0])
    np.testing.assert_allclose(line[-1], codes[1], rtol=1e-6)
    np.testing.assert_allclose(line[2], (codes[0] + codes[1]) / 2, rtol=1e-5)
    np.testing.assert_allclose(np.diff(line, n=2, axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("direction", [0, 3])
def test_a_walk_moves_along_its_direction_alone(axes, codes, direction):
    deviations = jnp.asarray([-2.0, 0.0, 1.5])
    steps = latent.walk(axes, direction, deviations)
    np.testing.assert_allclose(steps[1], codes.mean(axis=0), atol=1e-5)
    points = latent.coordinates(axes, steps)
    np.testing.assert_allclose(points[:, direction], deviations, atol=1e-4)
    np.testing.assert_allclose(np.delete(points, direction, axis=1), 0, atol=1e-4)


def test_the_planes_columns_go_right_along_the_first_direction_and_its_rows_up(axes, codes):
    deviations = jnp.asarray([-1.0, 0.0, 2.0])
    grid = latent.plane(axes, deviations)
    assert grid.shape == (3, 3, NUMBERS)
    np.testing.assert_allclose(grid[1, 1], codes.mean(axis=0), atol=1e-5)
    points = latent.coordinates(axes, grid.reshape(9, -1)).reshape(3, 3, -1)
    np.testing.assert_allclose(points[..., 0], np.tile(deviations, (3, 1)), atol=1e-4)
    upwards = np.tile(deviations[::-1, None], (1, 3))
    np.testing.assert_allclose(points[..., 1], upwards, atol=1e-4)
    np.testing.assert_allclose(points[..., 2:], 0, atol=1e-4)


def test_samples_have_the_codes_mean_and_covariance(axes, codes):
    n = 20_000
    samples = np.asarray(latent.sample(jax.random.key(0), axes, n))
    deviation = codes.std(axis=0).max()
    np.testing.assert_allclose(samples.mean(axis=0), codes.mean(axis=0), atol=0.03 * deviation)
    expected = np.cov(codes.T)
    np.testing.assert_allclose(np.cov(samples.T), expected, atol=0.04 * expected.max())
    again = latent.sample(jax.random.key(0), axes, n)
    np.testing.assert_array_equal(again, samples)
    assert np.any(latent.sample(jax.random.key(1), axes, n) != samples)


def test_neighbours_equal_a_double_loop(codes):
    queries = draw_codes(n=7, seed=1)
    expected = []
    for query in queries:
        distances = [(float(np.sum((query - code) ** 2)), row) for row, code in enumerate(codes)]
        expected.append([row for _, row in sorted(distances)[:4]])
    np.testing.assert_array_equal(latent.neighbours(queries, codes, 4), expected)
    np.testing.assert_array_equal(latent.neighbours(codes, codes, 1)[:, 0], np.arange(len(codes)))


def test_fewer_codes_than_neighbours_are_all_of_them(codes):
    assert latent.neighbours(codes[:2], codes[:3], 5).shape == (2, 3)


def test_tsne_keeps_two_clusters_apart_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(0)
    clusters = np.repeat([[0.0] * 5, [20.0] * 5], 8, axis=0) + rng.standard_normal((16, 5))
    codes = clusters.astype(np.float32)
    where = latent.tsne(codes, seed=3)
    assert where.shape == (16, 2)
    nearest = latent.neighbours(where, where, 5)
    assert np.all((nearest < 8) == (np.arange(16) < 8)[:, None])
    np.testing.assert_array_equal(latent.tsne(codes, seed=3), where)


def linear_codec(numbers, side=4):
    """A codec with one variable: an image is its code's numbers times fixed pictures, plus 1/2."""
    shape = (side, side, 3)
    pictures = np.linalg.qr(np.random.default_rng(0).standard_normal((side * side * 3, numbers)))[0]

    def encode(variables, images):
        return (images.reshape(len(images), -1) - 0.5) @ pictures / variables["scale"]

    def decode(variables, codes):
        return 0.5 + (variables["scale"] * codes @ pictures.T).reshape(-1, *shape)

    return latent.Codec(encode, decode, numbers)


VARIABLES = {"scale": jnp.asarray(0.1)}


def samples_of(codec, train, val, shown):
    rng = np.random.default_rng(2)
    codes = {
        f"{split}/code": rng.standard_normal((n, codec.numbers)).astype(np.float32)
        for split, n in (("train", train), ("val", val))
    }
    images = codec.decode(VARIABLES, codes["val/code"][:shown])
    return codes | {"image": np.asarray(images).astype(np.float16)}


def survey(codec, samples, seed=0):
    return latent.survey(codec, VARIABLES, samples, jax.random.key(seed))


@pytest.fixture(scope="module")
def surveyed():
    codec = linear_codec(5)
    samples = samples_of(codec, train=12, val=9, shown=5)
    return codec, samples, survey(codec, samples)


def test_a_surveys_pictures(surveyed):
    _, samples, result = surveyed
    shapes = {name: a.shape for name, a in result.items() if name.startswith("latent/")}
    assert shapes == {
        "latent/sample": (24, 4, 4, 3),
        "latent/walk": (5, 7, 4, 4, 3),
        "latent/plane": (7, 7, 4, 4, 3),
        "latent/interpolation": (2, 8, 4, 4, 3),  # of two pairs of the five images
        "latent/neighbours": (5, 5),
    }
    pictures = [result[name] for name in shapes if name != "latent/neighbours"]
    for images in pictures:
        assert images.dtype == np.float16
        assert images.min() >= 0 and images.max() <= 1
    for pair in (0, 1):
        ends = result["latent/interpolation"][pair][[0, -1]]
        given = samples["image"][2 * pair : 2 * pair + 2]
        np.testing.assert_allclose(ends, given.clip(0, 1), atol=2e-3)


def test_a_surveys_directions_go_through_the_mean_code(surveyed):
    codec, samples, result = surveyed
    mean = codec.decode(VARIABLES, samples["train/code"].mean(axis=0, keepdims=True))[0]
    for image in (result["latent/plane"][3, 3], *result["latent/walk"][:, 3]):
        np.testing.assert_allclose(image, mean, atol=1e-3)
    # The plane's middle row is the walk along the first direction, its middle column the second's.
    np.testing.assert_array_equal(result["latent/plane"][3], result["latent/walk"][0])
    np.testing.assert_array_equal(result["latent/plane"][::-1, 3], result["latent/walk"][1])


def test_a_surveys_neighbours_and_embeddings(surveyed):
    codec, samples, result = surveyed
    shown = codec.encode(VARIABLES, samples["image"].astype(np.float32))
    expected = latent.neighbours(np.asarray(shown), samples["train/code"], 5)
    np.testing.assert_array_equal(result["latent/neighbours"], expected)
    axes = latent.principal_axes(samples["train/code"])
    for split, n in (("train", 12), ("val", 9)):
        np.testing.assert_array_equal(result[f"{split}/embedded"], np.arange(n))
        assert result[f"{split}/tsne"].shape == (n, 2)
        along = (samples[f"{split}/code"] - axes.mean) @ axes.components[:2].T
        np.testing.assert_allclose(result[f"{split}/principal"], along, atol=1e-4)


def test_a_survey_depends_on_its_key_alone(surveyed):
    codec, samples, result = surveyed
    again, other = survey(codec, samples), survey(codec, samples, seed=1)
    assert again.keys() == result.keys()
    for name, array in again.items():
        np.testing.assert_array_equal(array, result[name], err_msg=name)
    differing = {name for name in other if np.any(other[name] != result[name])}
    assert "latent/sample" in differing
    assert differing <= {"latent/sample", "train/tsne", "val/tsne"}


@pytest.mark.parametrize(
    ("numbers", "train", "shown"),
    [(1, 10, 4), (5, 2, 1)],  # a code of one number, and codes that span one direction
)
def test_one_direction_has_neither_plane_nor_scatter(numbers, train, shown):
    codec = linear_codec(numbers)
    result = survey(codec, samples_of(codec, train=train, val=4, shown=shown))
    expected = {"latent/sample", "latent/walk", "latent/neighbours"}
    assert set(result) == expected | ({"latent/interpolation"} if shown > 1 else set())
    assert result["latent/walk"].shape == (1, 7, 4, 4, 3)
    assert result["latent/neighbours"].shape == (shown, min(5, train))


def test_of_many_codes_a_spread_share_is_embedded(monkeypatch):
    monkeypatch.setattr(latent, "EMBEDDED", 12)
    codec = linear_codec(3)
    result = survey(codec, samples_of(codec, train=20, val=10, shown=2))
    rows = {split: result[f"{split}/embedded"] for split in ("train", "val")}
    assert {split: len(r) for split, r in rows.items()} == {"train": 8, "val": 4}
    assert (rows["train"][0], rows["train"][-1]) == (0, 19)
    for split, chosen in rows.items():
        assert np.all(np.diff(chosen) > 0)
        assert result[f"{split}/tsne"].shape == (len(chosen), 2)
