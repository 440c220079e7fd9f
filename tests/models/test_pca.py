"""PCA against scikit-learn's on toy images, at once and streamed; degenerate points; mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA as Peer
from sklearn.decomposition import IncrementalPCA

from vocjax.data import voc
from vocjax.data.pipeline import resize_image
from vocjax.errors import UserError
from vocjax.models import pca

SIZE, COMPONENTS = 12, 5


@pytest.fixture(scope="module")
def images(toy_dir):
    """[40, 12, 12, 3] float32 in [0, 1]."""
    examples = voc.load("toy", toy_dir).examples
    pictures = [resize_image(examples[row]["image"], SIZE, 3) for row in range(len(examples))]
    return np.stack(pictures).astype(np.float32) / 255


@pytest.fixture(scope="module")
def points(images):
    return images.reshape(len(images), -1)


@pytest.fixture(scope="module")
def fitted(points):
    return jax.jit(pca.fit, static_argnums=1)(points, COMPONENTS)


@pytest.fixture(scope="module")
def peer(points):
    return Peer(COMPONENTS, svd_solver="full").fit(points.astype(np.float64))


def assert_same_up_to_sign(components, expected):
    sign = np.sign(np.sum(components * expected, axis=1, keepdims=True))
    np.testing.assert_allclose(sign * components, expected, atol=1e-5)


def reconstruct(state, points):
    return pca.decode(state, pca.encode(state, points))


def cut(points, batch_size):
    return [points[i : i + batch_size] for i in range(0, len(points), batch_size)]


def test_fit_equals_scikit_learns_up_to_the_sign(fitted, peer):
    np.testing.assert_allclose(fitted.mean, peer.mean_, atol=1e-6)
    np.testing.assert_allclose(fitted.variance, peer.explained_variance_, rtol=1e-5)
    assert_same_up_to_sign(fitted.components, peer.components_)
    ratio = pca.explained_variance_ratio(fitted)
    np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-5)


def test_codes_and_reconstructions_equal_scikit_learns(fitted, peer, points):
    codes = pca.encode(fitted, points)
    np.testing.assert_allclose(np.abs(codes), np.abs(peer.transform(points)), atol=1e-4)
    reconstruction = pca.decode(fitted, codes)
    expected = peer.inverse_transform(peer.transform(points))
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)


def test_whitened_codes_equal_scikit_learns(fitted, points):
    peer = Peer(COMPONENTS, svd_solver="full", whiten=True).fit(points.astype(np.float64))
    codes = pca.encode(fitted, points)
    whitened = jax.jit(pca.whiten)(fitted, codes)
    np.testing.assert_allclose(np.abs(whitened), np.abs(peer.transform(points)), atol=1e-4)
    restored = jax.jit(pca.unwhiten)(fitted, whitened)
    np.testing.assert_allclose(restored, codes, atol=1e-5)
    expected = peer.inverse_transform(peer.transform(points))
    np.testing.assert_allclose(pca.decode(fitted, restored), expected, atol=1e-5)


def test_more_points_than_numbers_equal_scikit_learns(points):
    tall = points.reshape(-1, 36)
    fitted, peer = pca.fit(tall, 36), Peer(36, svd_solver="full").fit(tall.astype(np.float64))
    np.testing.assert_allclose(fitted.variance, peer.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(reconstruct(fitted, tall), tall, atol=1e-5)


def test_signs_do_not_depend_on_the_library(points, fitted):
    for state in (fitted, pca.fit_stream(cut(points, 16), COMPONENTS)):
        largest = np.argmax(np.abs(state.components), axis=1)
        assert np.all(state.components[np.arange(COMPONENTS), largest] > 0)
    mirrored = pca.fit(-points, COMPONENTS)
    np.testing.assert_allclose(mirrored.components, fitted.components, atol=1e-5)


@pytest.mark.parametrize("batch_size", [10, 16])
def test_streaming_errs_as_scikit_learns_incremental_pca(points, batch_size):
    batches, peer = cut(points, batch_size), IncrementalPCA(COMPONENTS)
    for batch in batches:
        peer.partial_fit(batch.astype(np.float64))
    streamed = pca.fit_stream(iter(batches), COMPONENTS)
    expected = peer.inverse_transform(peer.transform(points))
    ours, theirs, best = (
        ((reconstruction - points) ** 2).mean()
        for reconstruction in (
            reconstruct(streamed, points),
            expected,
            reconstruct(pca.fit(points, COMPONENTS), points),
        )
    )
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours > 1.0001 * best  # or these batches would not tell the streaming fit from the full
    np.testing.assert_allclose(reconstruct(streamed, points), expected, atol=1e-5)
    np.testing.assert_allclose(streamed.variance, peer.explained_variance_, rtol=1e-5)
    ratio = pca.explained_variance_ratio(streamed)
    np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_streaming_is_exact_where_every_direction_is_kept(points, batch_size):
    """Batches smaller than the number of components included."""
    few = points[:20]
    streamed, whole = pca.fit_stream(cut(few, batch_size), 19), pca.fit(few, 19)
    np.testing.assert_allclose(streamed.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(streamed.variance, whole.variance, rtol=1e-4)
    np.testing.assert_allclose(streamed.total_variance, whole.total_variance, rtol=1e-5)
    np.testing.assert_allclose(reconstruct(streamed, points), reconstruct(whole, points), atol=1e-4)


def test_one_step_of_a_stream_leaves_what_it_was_given(points):
    start = pca.begin(points.shape[1], COMPONENTS)
    once = pca.update(start, points[:20])
    np.testing.assert_array_equal(pca.update(start, points[:20]).directions, once.directions)
    assert (int(start.seen), int(once.seen)) == (0, 20)
    assert_same_up_to_sign(pca.finish(once).components, pca.fit(points[:20], COMPONENTS).components)


DEGENERATE = {
    "constant": np.full((4, 9), 0.3, np.float32),
    "black": np.zeros((4, 9), np.float32),
    "two": np.asarray([[0.1] * 9, [0.1] * 8 + [0.9]], np.float32),
    "duplicates": np.repeat(np.eye(2, 9, dtype=np.float32), 3, axis=0),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", DEGENERATE)
def test_points_that_span_too_little_give_finite_numbers(name, streamed):
    points = DEGENERATE[name]
    k, rank = len(points) - 1, 0 if name in ("constant", "black") else 1
    state = pca.fit_stream(cut(points, 2), k) if streamed else pca.fit(points, k)
    np.testing.assert_allclose(state.components @ state.components.T, np.eye(k), atol=1e-5)
    codes = pca.encode(state, points)
    whitened = pca.whiten(state, codes)
    np.testing.assert_allclose(pca.decode(state, codes), points, atol=1e-5)
    np.testing.assert_allclose(pca.unwhiten(state, whitened), codes, atol=1e-5)
    expected = [1.0] * rank + [0.0] * (k - rank)  # rounding error isn't blown up to variance 1
    np.testing.assert_allclose(np.var(whitened, axis=0, ddof=1), expected, rtol=1e-4)
    ratio = pca.explained_variance_ratio(state)
    assert np.all(np.isfinite(ratio)) and ratio.sum() <= 1 + 1e-6


def test_components_are_orthonormal_and_largest_first(fitted):
    gram = fitted.components @ fitted.components.T
    np.testing.assert_allclose(gram, np.eye(COMPONENTS), atol=1e-5)
    assert np.all(np.diff(fitted.variance) < 0)


def test_as_many_components_as_points_span_reconstruct_exactly(points):
    few = jnp.asarray(points[:6])
    fitted = pca.fit(few, 5)
    np.testing.assert_allclose(pca.decode(fitted, pca.encode(fitted, few)), few, atol=1e-5)


def test_module_predicts_alike(fitted, images, points):
    model = pca.PCA(COMPONENTS, (SIZE, SIZE, 3))
    variables = {"params": dict(fitted._asdict())}
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    reconstruction, code = model.apply(variables, images)
    np.testing.assert_allclose(code, pca.encode(fitted, points), atol=1e-5)
    expected = pca.decode(fitted, pca.encode(fitted, points)).reshape(images.shape)
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)
    np.testing.assert_array_equal(model.apply(variables, code, method="decode"), reconstruction)


MISTAKES = [((6, 9), 6, 5), ((20, 9), 10, 9), ((6, 9), 0, 5)]


@pytest.mark.parametrize(("shape", "components", "largest"), MISTAKES)
def test_components_that_do_not_exist_are_refused(shape, components, largest):
    n, d = shape
    expected = rf"PCA of {n} points with {d} numbers each has 1 to {largest} comp.*not {components}"
    with pytest.raises(UserError, match=expected):
        pca.fit(jnp.ones(shape), components)


@pytest.mark.parametrize(("shape", "components", "largest"), MISTAKES)
def test_a_stream_refuses_components_that_do_not_exist(shape, components, largest):
    """More than the numbers of a point at once, and more than n - 1 when n is known."""
    expected = rf"numbers each has 1 to {largest if components == 6 else 9} comp.*not {components}"
    with pytest.raises(UserError, match=expected):
        pca.fit_stream([jnp.ones(shape)], components)


def test_a_stream_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"PCA of no images.*fit on at least two"):
        pca.fit_stream([], 3)
