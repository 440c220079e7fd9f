"""Errors and dissimilarity of images against Keras and scikit-image."""

import os
from functools import partial

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import skimage.metrics

from vocjax import losses

dissimilarity = jax.jit(losses.dissimilarity)
gradient = jax.jit(jax.grad(lambda *images: losses.dissimilarity(*images).sum()))


def test_mse_and_mae_equal_keras_per_example():
    rng = np.random.default_rng(0)
    prediction, target = rng.random((2, 5, 4, 3, 2), np.float32)
    peers = keras.losses.mean_squared_error, keras.losses.mean_absolute_error
    for ours, theirs in zip((losses.mse, losses.mae), peers, strict=True):
        expected = np.asarray(theirs(target, prediction)).mean(axis=(1, 2))
        np.testing.assert_allclose(jax.jit(ours)(prediction, target), expected, rtol=1e-6)


def test_the_gradient_of_dissimilarity_is_that_of_scikit_images_similarity():
    rng = np.random.default_rng(0)
    prediction, target, direction = rng.random((3, 14, 12, 3))
    slope = gradient(*(x[None].astype(np.float32) for x in (prediction, target)))

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    similarity = partial(skimage.metrics.structural_similarity, data_range=1, channel_axis=-1)

    def theirs(step):
        return 1 - similarity(prediction + step * direction, target, **options)

    expected = (theirs(1e-4) - theirs(-1e-4)) / 2e-4
    assert float((np.asarray(slope[0]) * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_dissimilarity_of_flat_images_has_a_finite_gradient():
    levels = np.float32([0.0, 0.3, 1.0])
    prediction, target = (
        np.broadcast_to(x[:, None, None, None], (9, 16, 16, 3))
        for x in (np.repeat(levels, 3), np.tile(levels, 3))
    )
    assert np.all(np.isfinite(gradient(prediction, target)))
    values = np.asarray(dissimilarity(prediction, target)).reshape(3, 3)
    np.testing.assert_array_equal(np.diagonal(values), 0)
    assert np.all(values[~np.eye(3, dtype=bool)] > 0.3)


@pytest.mark.parametrize("shape", [(2, 10, 16, 3), (2, 16, 10, 3), (2, 16, 16)])
def test_dissimilarity_needs_images_of_11_pixels(shape):
    with pytest.raises(ValueError, match="H and W at least 11"):
        dissimilarity(jnp.zeros(shape), jnp.zeros(shape))


def test_images_of_low_precision_are_computed_in_float32():
    rng = np.random.default_rng(0)
    low = [jnp.asarray(x, jnp.bfloat16) for x in rng.random((2, 2, 60, 60, 1))]
    exact = [np.asarray(x, np.float64) for x in low]
    squared = ((exact[0] - exact[1]) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(jax.jit(losses.mse)(*low), squared, rtol=1e-5)
    expected = dissimilarity(*(x.astype(np.float32) for x in exact))
    np.testing.assert_allclose(dissimilarity(*low), expected, rtol=1e-6)


def test_images_that_would_broadcast_to_nonsense_are_refused():
    # [4, 4, 1] against [4, 4] would broadcast to [4, 4, 4].
    for loss, *shapes in (
        (losses.mse, (4, 4, 1), (4, 4)),
        (dissimilarity, (2, 16, 16, 3), (2, 16, 16, 1)),
    ):
        with pytest.raises(ValueError, match="must be alike"):
            loss(*map(jnp.zeros, shapes))
