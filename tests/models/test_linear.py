"""The linear autoencoder: what it computes, that it reaches PCA, and how near it says it is."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from random_values import draw, draw_variables

from vocjax import losses
from vocjax.config import load_config
from vocjax.models import linear, pca
from vocjax.models.draw import variables as variables_of
from vocjax.models.linear import LinearAutoencoder
from vocjax.training.optimizers import make_optimizer

CONFIG = Path(__file__).parents[2] / "configs" / "linear_autoencoder.py"
SHAPE, COMPONENTS = (4, 6, 2), 5
D = 4 * 6 * 2

principal_angles = jax.jit(linear.principal_angles)
rotated = jax.jit(linear.rotated)


@pytest.fixture(scope="module")
def images():
    """[60, 4, 6, 2] around .5, with variances that fall from direction to direction."""
    basis = np.linalg.qr(draw(D, D, seed=1))[0]
    points = 0.5 + (draw(60, D) * 0.2 * 0.8 ** np.arange(D)) @ basis
    return points.reshape(60, *SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(images):
    return pca.fit(images.reshape(60, -1), COMPONENTS)


@pytest.mark.parametrize("tied", [False, True])
def test_it_computes_what_it_says(images, tied):
    model = LinearAutoencoder(COMPONENTS, SHAPE, tied)
    variables = draw_variables(model, images)
    params = jax.tree.map(np.float64, variables["params"])
    rows, mean = params["components"], params["mean"]
    kernel = rows.T if tied else params["encoder"]["kernel"]
    bias = 0 if tied else params["encoder"]["bias"]
    expected = (images.reshape(60, -1) - mean) @ kernel + bias
    reconstruction, code = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(code, expected, rtol=1e-4, atol=1e-5)
    pixels = (expected @ rows + mean).reshape(images.shape)
    np.testing.assert_allclose(reconstruction, pixels, rtol=1e-4, atol=1e-5)
    sizes = D * COMPONENTS + D + (0 if tied else D * COMPONENTS + COMPONENTS)
    assert sum(x.size for x in jax.tree.leaves(variables)) == sizes


def test_it_begins_as_the_mean_image(images):
    model = LinearAutoencoder(COMPONENTS, SHAPE)
    drawn = variables_of(jax.jit(model.init), jax.random.key(0), images)
    variables = linear.with_mean(drawn, jnp.asarray(images.mean(axis=0)))
    reconstruction, _ = jax.jit(model.apply)(variables, images)
    expected = np.broadcast_to(images.mean(axis=0), images.shape)
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)
    assert not np.any(drawn["params"]["mean"])  # the draw itself is left as it was


def train(model, images):
    """Train on whole batches, with the optimizer and the number of steps of the config."""
    config = load_config(CONFIG)
    optimizer = make_optimizer(config.optimizer, config.epochs)
    variables = model.init(jax.random.key(0), images)
    params = linear.with_mean(variables, images.mean(axis=0))["params"]

    def step(carry, _):
        params, state = carry

        def loss(params):
            return losses.mse(model.apply({"params": params}, images)[0], images).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), length=config.epochs)
    return params, values


@pytest.mark.parametrize("tied", [False, True])
def test_trained_as_its_config_says_it_spans_pcas_subspace(images, fitted, tied):
    model = LinearAutoencoder(COMPONENTS, SHAPE, tied)
    params, values = jax.jit(train, static_argnums=0)(model, images)
    points = images.reshape(60, -1)
    best = ((pca.decode(fitted, pca.encode(fitted, points)) - points) ** 2).mean()
    error = losses.mse(model.apply({"params": params}, images)[0], images).mean()
    assert values[0] > 2 * best
    # PCA's error is the smallest possible one: 1 % above it, and not below.
    assert 0.999 * best < error < 1.01 * best
    assert principal_angles(params["components"], fitted.components).max() < 5
    others = np.abs(linear.cosines(params["components"]) - np.eye(COMPONENTS)).max()
    lengths = np.linalg.norm(params["components"], axis=1)
    unlike = np.abs(params["components"] @ fitted.components.T).max(axis=1) / lengths
    assert unlike.min() < 0.9  # its components are not PCA's, until rotated
    assert others < 0.01 if tied else others > 0.1
    turned = rotated(params["components"], fitted)
    np.testing.assert_allclose(np.sum(turned * fitted.components, axis=1), 1, atol=5e-3)


@pytest.mark.parametrize(("k", "m"), [(3, 3), (2, 5), (5, 2), (1, 1)])
def test_principal_angles_equal_scipys(k, m):
    a, b = draw(k, 9), draw(m, 9, seed=1)
    b = b.at[0].add(3 * a[0])
    expected = np.rad2deg(scipy.linalg.subspace_angles(np.float64(a).T, np.float64(b).T))[::-1]
    np.testing.assert_allclose(principal_angles(a, b), expected, rtol=1e-4)


def test_small_angles_are_exact():
    """The cosine of .02 degrees is 1 in float32."""
    angles = np.array([0.02, 0.5, 30.0, 60.0, 89.99])
    a = np.eye(5, 10, dtype=np.float32)
    turned = np.cos(np.deg2rad(angles))[:, None] * a
    turned[:, 5:] = np.diag(np.sin(np.deg2rad(angles)))
    mix = np.eye(5) + draw(5, 5) / 5
    np.testing.assert_allclose(principal_angles(mix @ a, mix @ turned), angles, rtol=2e-3)
    np.testing.assert_allclose(principal_angles(a, -mix @ a), 0, atol=1e-4)


def test_cosines():
    rows = np.array([[2, 0, 0], [0, 0.5, 0], [-3, 0, 3], [0, 0, 0]], np.float32)
    half = -np.sqrt(0.5)
    expected = [[1, 0, half, 0], [0, 1, 0, 0], [half, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(linear.cosines(rows), expected, atol=1e-6)


def test_rotated_spans_what_it_was_given_and_is_orthonormal(fitted):
    rows = draw(COMPONENTS, D)
    turned = rotated(rows, fitted)
    np.testing.assert_allclose(turned @ turned.T, np.eye(COMPONENTS), atol=1e-5)
    np.testing.assert_allclose(principal_angles(turned, rows), 0, atol=1e-3)
    mix = np.eye(COMPONENTS) + draw(COMPONENTS, COMPONENTS) / 5
    again = rotated(mix @ fitted.components, fitted)  # any mix of PCA's components gives them back
    np.testing.assert_allclose(again, fitted.components, atol=1e-4)
    # In order of the variance that a fitted PCA explains along them.
    deviations = (turned @ fitted.components.T) * np.sqrt(fitted.variance)
    assert np.all(np.diff((deviations**2).sum(axis=1)) < 0)
