"""The cosine code against SciPy's transform, and what it keeps of images."""

import jax
import numpy as np
import pytest
import scipy.fft
from random_values import smooth_pictures

from vocjax.models import dct

SIZE = 16
forward, inverse = jax.jit(dct.forward), jax.jit(dct.inverse)
fit = jax.jit(dct.fit, static_argnums=1)
encode, decode = jax.jit(dct.encode), jax.jit(dct.decode)


@pytest.fixture(scope="module")
def images():
    return smooth_pictures(40, SIZE)


@pytest.fixture(scope="module")
def coefficients(images):
    return scipy.fft.dctn(images.astype(np.float64), axes=(1, 2, 3), norm="ortho")


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(2, 9, 9, 1), (1, 6, 10, 3)])
def test_forward_equals_scipys_and_inverse_undoes_it(shape):
    values = noise(*shape)
    expected = scipy.fft.dctn(values.astype(np.float64), axes=(1, 2, 3), norm="ortho")
    np.testing.assert_allclose(forward(values), expected, atol=1e-5)
    np.testing.assert_allclose(inverse(forward(values)), values, atol=1e-6)


def test_colours_are_ohtas_at_unit_length():
    colours = np.asarray(forward(noise(5, 1, 1, 3)))[:, 0, 0]
    r, g, b = noise(5, 1, 1, 3)[:, 0, 0].T
    ohta = np.stack([(r + g + b) / 3**0.5, (r - b) / 2**0.5, (r - 2 * g + b) / 6**0.5], axis=1)
    np.testing.assert_allclose(colours, ohta, atol=1e-6)


def test_the_coefficients_of_largest_variance_are_kept(images, coefficients):
    variance = coefficients.var(axis=0).ravel()
    state = fit(images, 20)
    np.testing.assert_array_equal(state.selected, np.argsort(-variance)[:20])
    np.testing.assert_allclose(state.mean, coefficients.mean(axis=0), atol=1e-5)
    expected = (coefficients - coefficients.mean(axis=0)).reshape(len(images), -1)
    np.testing.assert_allclose(encode(state, images), expected[:, state.selected], atol=1e-5)


def test_the_error_is_the_variance_left_out(images, coefficients):
    """On the training images, by Parseval's theorem."""
    variance = np.sort(coefficients.var(axis=0).ravel())[::-1]
    for k in (1, 20, 200):
        state = fit(images, k)
        mse = ((decode(state, encode(state, images)) - images) ** 2).mean()
        assert mse == pytest.approx(variance[k:].mean() * (1 - k / variance.size), rel=1e-4)


def test_a_code_of_zeros_is_the_mean_image(images):
    state = fit(images, 5)
    image = decode(state, np.zeros((1, 5), np.float32))[0]
    np.testing.assert_allclose(image, images.mean(axis=0), atol=1e-6)


def test_all_coefficients_reconstruct_new_images_exactly(images):
    state = fit(images[:30], SIZE * SIZE * 3)
    new = images[30:]
    np.testing.assert_allclose(decode(state, encode(state, new)), new, atol=1e-5)
