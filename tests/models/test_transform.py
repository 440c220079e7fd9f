"""The transform autoencoder: a cosine code at first, and filters that see no more than a place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import smooth_pictures

from vocjax import losses
from vocjax.models import dct, draw
from vocjax.models.ops import to_patches, to_pixels
from vocjax.models.transform import Filter, TransformAutoencoder, with_code

SIZE, COMPONENTS = 16, 24


def autoencoder(**fields):
    shape = {"components": COMPONENTS, "image_shape": (SIZE, SIZE, 3)}
    blocks = {"width": 6, "encoder_blocks": 1, "decoder_blocks": 2, "patch": 4, "refinements": 2}
    return TransformAutoencoder(**shape | blocks | fields)


@pytest.fixture(scope="module")
def images():
    return smooth_pictures(12, SIZE)


@pytest.fixture(scope="module")
def code(images):
    return dct.fit(images, COMPONENTS)


@pytest.fixture(scope="module")
def variables(images, code):
    """As a run begins."""
    return with_code(draw.variables(jax.jit(autoencoder().init), jax.random.key(0), images), code)


@pytest.fixture(scope="module")
def moved(variables):
    """Every parameter away from 0, as after training."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + 0.05 * rng.standard_normal(x.shape).astype(np.float32), variables["params"]
    )
    return variables | {"params": params}


@pytest.mark.parametrize("shape", [(2, 8, 12, 3), (1, 4, 4, 1)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_hold_their_pixels_and_go_back(shape, patch):
    images = np.random.default_rng(0).random(shape, np.float32)
    batch, height, width, channels = shape
    patches = to_patches(images, patch)
    assert patches.shape == (batch, height // patch, width // patch, patch**2 * channels)
    for row in range(height // patch):
        for column in range(width // patch):
            y, x = patch * row, patch * column
            expected = images[:, y : y + patch, x : x + patch].reshape(batch, -1)
            np.testing.assert_array_equal(patches[:, row, column], expected)
    np.testing.assert_array_equal(to_pixels(patches, patch), images)


def test_it_begins_as_the_cosine_code(images, code, variables):
    """Which refinement leaves as it is: nothing of what it lost is among its coefficients."""
    apply = autoencoder().apply
    ways = jax.jit(lambda v, x: [apply(v, x, train=train) for train in (True, False)])
    linear = dct.decode(code, dct.encode(code, images))
    expected = (linear, linear.clip(0, 1))
    for (reconstruction, codes), image in zip(ways(variables, images), expected, strict=True):
        assert codes.shape == (len(images), COMPONENTS)
        np.testing.assert_allclose(codes, dct.encode(code, images), atol=1e-5)
        np.testing.assert_allclose(reconstruction, image, atol=1e-5)


def test_every_parameter_can_learn_after_a_step(images, variables):
    """What begins at 0 has a gradient at once; the others have it as soon as that has moved."""

    @jax.jit
    def gradient(params):
        def loss(params):
            own = variables | {"params": params}
            reconstruction, _ = autoencoder().apply(own, images, train=True)
            return losses.mse(reconstruction, images).mean()

        return jax.grad(loss)(params)

    params = variables["params"]
    first = gradient(params)
    blocks = {"encoder": 1, "decoder": 2}
    for name, count in blocks.items():
        assert np.any(first[name][f"Conv_{2 * count + 1}"]["kernel"])
    for _ in range(2):
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient(params))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient(params)))


def test_codes_are_refined_by_gradient_steps(images, moved):
    """Of .3 down half the sum of squares, beginning from the filtered image's coefficients."""
    model = autoencoder(refinements=3)

    def by_hand(code):
        def half_square(code):
            decoded = model.apply(moved, code, method="decode")
            return 0.5 * jnp.sum((decoded - images) ** 2)

        for _ in range(3):
            code = code - 0.3 * jax.grad(half_square)(code)
        return code

    @jax.jit
    def run(images):
        guess = model.apply(moved, images, method="guess")
        codes = model.apply(moved, images, method="encode")
        return guess, codes, by_hand(guess), model.apply(moved, images, train=True)[1]

    guess, codes, expected, trained = run(images)
    np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trained, guess, atol=1e-5)


def test_refinement_brings_every_image_nearer(images, moved):
    def error(refinements):
        model = autoencoder(refinements=refinements)
        code = model.apply(moved, images, method="encode")
        return losses.mse(model.apply(moved, code, method="decode"), images)

    none, some, more = jax.jit(lambda: [error(n) for n in (0, 1, 4)])()
    assert np.all(some < none) and np.all(more < some)


def test_reconstructions_are_clipped_but_in_training(images, moved):
    model, far = autoencoder(refinements=0), 4 * images - 1.5
    apply = jax.jit(model.apply, static_argnames="train")
    free, _ = apply(moved, far, train=True)
    clipped, _ = apply(moved, far)
    assert free.min() < 0 and free.max() > 1
    np.testing.assert_allclose(clipped, free.clip(0, 1), atol=1e-6)


def test_a_filter_treats_every_place_alike():
    """An image that is moved by whole patches gives a change that is moved as far."""
    model = Filter(width=5, blocks=2, patch=2)
    image = np.full((1, 32, 32, 3), 0.5, np.float32)
    image[:, 12:16, 12:16] = np.random.default_rng(0).random((4, 4, 3))
    params = jax.tree.map(
        lambda x: x + 0.05, draw.variables(jax.jit(model.init), jax.random.key(0), image)
    )
    apply = jax.jit(model.apply)
    change, moved = apply(params, image), apply(params, np.roll(image, (4, 2), axis=(1, 2)))
    inside = np.s_[:, 14:18, 14:18]
    expected = np.roll(change, (4, 2), axis=(1, 2))
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-5)
    assert np.ptp(expected[inside]) > 0.01
