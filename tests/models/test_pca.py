"""PCA against scikit-learn's on images, at once and streamed; degenerate points; mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import smooth_pictures
from sklearn.decomposition import PCA as Peer
from sklearn.decomposition import IncrementalPCA

from vocjax.errors import UserError
from vocjax.models import pca

SIZE, COMPONENTS = 12, 5
fit = jax.jit(pca.fit, static_argnums=1)
encode, decode, whiten = map(jax.jit, (pca.encode, pca.decode, pca.whiten))


@pytest.fixture(scope="module")
def images():
    return smooth_pictures(40, SIZE)


@pytest.fixture(scope="module")
def points(images):
    return images.reshape(len(images), -1)


@pytest.fixture(scope="module")
def fitted(points):
    return fit(points, COMPONENTS)


@pytest.fixture(scope="module")
def peer(points):
    return Peer(COMPONENTS, svd_solver="full").fit(points.astype(np.float64))


def assert_same_up_to_sign(components, expected):
    sign = np.sign(np.sum(components * expected, axis=1, keepdims=True))
    np.testing.assert_allclose(sign * components, expected, atol=1e-5)


def reconstruct(state, points):
    return decode(state, encode(state, points))


def cut(points, batch_size):
    return [points[i : i + batch_size] for i in range(0, len(points), batch_size)]


def test_fit_equals_scikit_learns_up_to_the_sign(fitted, peer):
    np.testing.assert_allclose(fitted.mean, peer.mean_, atol=1e-6)
    np.testing.assert_allclose(fitted.variance, peer.explained_variance_, rtol=1e-5)
    assert_same_up_to_sign(fitted.components, peer.components_)
    ratio = pca.explained_variance_ratio(fitted)
    np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-5)
    gram = fitted.components @ fitted.components.T
    np.testing.assert_allclose(gram, np.eye(COMPONENTS), atol=1e-5)
    assert np.all(np.diff(fitted.variance) < 0)


def test_codes_reconstructions_and_whitened_codes_equal_scikit_learns(fitted, peer, points):
    codes = encode(fitted, points)
    theirs = peer.transform(points)
    np.testing.assert_allclose(np.abs(codes), np.abs(theirs), atol=1e-4)
    np.testing.assert_allclose(decode(fitted, codes), peer.inverse_transform(theirs), atol=1e-5)
    whitened = whiten(fitted, codes)
    expected = theirs / np.sqrt(peer.explained_variance_)
    np.testing.assert_allclose(np.abs(whitened), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(jax.jit(pca.unwhiten)(fitted, whitened), codes, atol=1e-5)


def test_more_points_than_numbers_equal_scikit_learns(points):
    tall = points.reshape(-1, 36)
    fitted, peer = pca.fit(tall, 36), Peer(36, svd_solver="full").fit(tall.astype(np.float64))
    np.testing.assert_allclose(fitted.variance, peer.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(reconstruct(fitted, tall), tall, atol=1e-5)


def test_signs_do_not_depend_on_the_library(points, fitted):
    for state in (fitted, pca.fit_stream(cut(points, 16), COMPONENTS)):
        largest = np.argmax(np.abs(state.components), axis=1)
        assert np.all(state.components[np.arange(COMPONENTS), largest] > 0)
    mirrored = fit(-points, COMPONENTS)
    np.testing.assert_allclose(mirrored.components, fitted.components, atol=1e-5)


def test_streaming_errs_as_scikit_learns_incremental_pca(points, fitted):
    batches, peer = cut(points, 16), IncrementalPCA(COMPONENTS)
    for batch in batches:
        peer.partial_fit(batch.astype(np.float64))
    streamed = pca.fit_stream(iter(batches), COMPONENTS)
    expected = peer.inverse_transform(peer.transform(points))
    states = (streamed, fitted)
    found, best = (float(((reconstruct(s, points) - points) ** 2).mean()) for s in states)
    assert found > 1.0001 * best  # or these batches would not tell the streaming fit from the full
    np.testing.assert_allclose(reconstruct(streamed, points), expected, atol=1e-5)
    np.testing.assert_allclose(streamed.variance, peer.explained_variance_, rtol=1e-5)
    ratio = pca.explained_variance_ratio(streamed)
    np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_streaming_is_exact_where_every_direction_is_kept(points, batch_size):
    """Batches smaller than the number of components included."""
    few = points[:20]
    streamed, whole = pca.fit_stream(cut(few, batch_size), 19), pca.fit(few, 19)
    np.testing.assert_allclose(streamed.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(streamed.variance, whole.variance, rtol=1e-4)
    np.testing.assert_allclose(streamed.total_variance, whole.total_variance, rtol=1e-5)
    np.testing.assert_allclose(reconstruct(streamed, points), reconstruct(whole, points), atol=1e-4)


DEGENERATE = {
    "constant": np.full((6, 9), 0.3, np.float32),
    "black": np.zeros((6, 9), np.float32),
    "two": np.asarray([[0.1] * 9, [0.1] * 8 + [0.9]], np.float32),
    "duplicates": np.repeat(np.eye(2, 9, dtype=np.float32), 3, axis=0),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", DEGENERATE)
def test_points_that_span_too_little_give_finite_numbers(name, streamed):
    points = DEGENERATE[name]
    k, rank = len(points) - 1, 0 if name in ("constant", "black") else 1
    state = pca.fit_stream(cut(points, 2), k) if streamed else fit(points, k)
    np.testing.assert_allclose(state.components @ state.components.T, np.eye(k), atol=1e-5)
    codes = encode(state, points)
    whitened = whiten(state, codes)
    np.testing.assert_allclose(decode(state, codes), points, atol=1e-5)
    np.testing.assert_allclose(pca.unwhiten(state, whitened), codes, atol=1e-5)
    expected = [1.0] * rank + [0.0] * (k - rank)  # rounding error isn't blown up to variance 1
    np.testing.assert_allclose(np.var(whitened, axis=0, ddof=1), expected, rtol=1e-4)
    ratio = pca.explained_variance_ratio(state)
    assert np.all(np.isfinite(ratio)) and ratio.sum() <= 1 + 1e-6


def test_module_predicts_alike(fitted, images, points):
    model = pca.PCA(COMPONENTS, (SIZE, SIZE, 3))
    variables = {"params": dict(fitted._asdict())}
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    reconstruction, code = model.apply(variables, images)
    np.testing.assert_allclose(code, encode(fitted, points), atol=1e-5)
    expected = decode(fitted, encode(fitted, points)).reshape(images.shape)
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)
    np.testing.assert_array_equal(model.apply(variables, code, method="decode"), reconstruction)


@pytest.mark.parametrize(
    ("shape", "components", "largest"), [((6, 9), 6, 5), ((20, 9), 10, 9), ((6, 9), 0, 5)]
)
def test_components_that_do_not_exist_are_refused(shape, components, largest):
    """A stream refuses more than the numbers of a point at once, more than n - 1 at its end."""
    n, d = shape
    expected = rf"PCA of {n} points with {d} numbers each has 1 to {largest} comp.*not {components}"
    with pytest.raises(UserError, match=expected):
        pca.fit(jnp.ones(shape), components)
    expected = rf"numbers each has 1 to {largest if components == 6 else 9} comp.*not {components}"
    with pytest.raises(UserError, match=expected):
        pca.fit_stream([jnp.ones(shape)], components)


def test_a_stream_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"PCA of no images.*fit on at least two"):
        pca.fit_stream([], 3)
