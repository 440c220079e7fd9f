"""PCA against scikit-learn's, on toy images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA as Peer

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


def test_fit_equals_scikit_learns_up_to_the_sign(fitted, peer):
    np.testing.assert_allclose(fitted.mean, peer.mean_, atol=1e-6)
    np.testing.assert_allclose(fitted.variance, peer.explained_variance_, rtol=1e-5)
    sign = np.sign(np.sum(fitted.components * peer.components_, axis=1, keepdims=True))
    np.testing.assert_allclose(sign * fitted.components, peer.components_, atol=1e-5)


def test_codes_and_reconstructions_equal_scikit_learns(fitted, peer, points):
    codes = pca.encode(fitted, points)
    np.testing.assert_allclose(np.abs(codes), np.abs(peer.transform(points)), atol=1e-4)
    reconstruction = pca.decode(fitted, codes)
    expected = peer.inverse_transform(peer.transform(points))
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)


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


@pytest.mark.parametrize(
    ("shape", "components", "largest"), [((6, 9), 6, 5), ((20, 9), 10, 9), ((6, 9), 0, 5)]
)
def test_components_that_do_not_exist_are_refused(shape, components, largest):
    n, d = shape
    expected = rf"PCA of {n} points with {d} numbers each has 1 to {largest} comp.*not {components}"
    with pytest.raises(UserError, match=expected):
        pca.fit(jnp.ones(shape), components)
