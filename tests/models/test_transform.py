"""The transform autoencoder: a cosine code at first, and filters that see no more than a place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.data import voc
from vocjax.data.pipeline import resize_image
from vocjax.models import dct
from vocjax.models.transform import Filter, TransformAutoencoder, to_patches, to_pixels, with_code

SIZE, COMPONENTS = 16, 24


def autoencoder(**fields):
    shape = {"components": COMPONENTS, "image_shape": (SIZE, SIZE, 3)}
    blocks = {"width": 6, "encoder_blocks": 1, "decoder_blocks": 2, "patch": 4, "refinements": 2}
    return TransformAutoencoder(**shape | blocks | fields)


@pytest.fixture(scope="module")
def images(toy_dir):
    """[12, 16, 16, 3] float32 in [0, 1]."""
    examples = voc.load("toy", toy_dir).examples
    pictures = [resize_image(examples[row]["image"], SIZE, 3) for row in range(12)]
    return np.stack(pictures).astype(np.float32) / 255


@pytest.fixture(scope="module")
def code(images):
    return dct.fit(images, COMPONENTS)


@pytest.fixture(scope="module")
def variables(images, code):
    """As a run begins."""
    return with_code(jax.jit(autoencoder().init)(jax.random.key(0), images), code)


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


@pytest.mark.parametrize("train", [True, False])
def test_it_begins_as_the_cosine_code(images, code, variables, train):
    """Which refinement leaves as it is: nothing of what it lost is among its coefficients."""
    apply = jax.jit(autoencoder().apply, static_argnames="train")
    reconstruction, codes = apply(variables, images, train=train)
    assert codes.shape == (len(images), COMPONENTS)
    np.testing.assert_allclose(codes, dct.encode(code, images), atol=1e-5)
    linear = dct.decode(code, dct.encode(code, images))
    np.testing.assert_allclose(reconstruction, linear if train else linear.clip(0, 1), atol=1e-5)


def test_every_parameter_can_learn_after_a_step(images, variables):
    """What begins at 0 has a gradient at once; the others have it as soon as that has moved."""

    @jax.jit
    def gradient(params):
        def loss(params):
            reconstruction, _ = autoencoder().apply(
                variables | {"params": params}, images, train=True
            )
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


def test_encoder_and_decoder_compose(images, moved, code):
    model = autoencoder()
    reconstruction, codes = jax.jit(model.apply)(moved, images)
    encoded = jax.jit(lambda x: model.apply(moved, x, method="encode"))(images)
    np.testing.assert_allclose(encoded, codes, atol=1e-5)
    decoded = jax.jit(lambda x: model.apply(moved, x, method="decode"))(codes)
    np.testing.assert_allclose(decoded.clip(0, 1), reconstruction, atol=1e-5)
    assert np.any(np.abs(codes - dct.encode(code, images)) > 0.01)  # both filters do something
    smooth = dct.decode(code, codes)
    assert np.any(np.abs(decoded - smooth) > 0.01)


def test_codes_are_refined_by_gradient_steps(images, moved):
    """Of .3 down half the sum of squares, beginning from the filtered image's coefficients."""
    model = autoencoder(refinements=3)

    @jax.jit
    def by_hand(code):
        def half_square(code):
            decoded = model.apply(moved, code, method="decode")
            return 0.5 * jnp.sum((decoded - images) ** 2)

        for _ in range(3):
            code = code - 0.3 * jax.grad(half_square)(code)
        return code

    guess = jax.jit(lambda x: model.apply(moved, x, method="guess"))(images)
    codes = jax.jit(lambda x: model.apply(moved, x, method="encode"))(images)
    np.testing.assert_allclose(codes, by_hand(guess), rtol=1e-4, atol=1e-4)
    trained = jax.jit(lambda x: model.apply(moved, x, train=True))(images)[1]
    np.testing.assert_allclose(trained, guess, atol=1e-5)


def test_refinement_brings_every_image_nearer(images, moved):
    def error(refinements):
        model = autoencoder(refinements=refinements)
        code = jax.jit(lambda x: model.apply(moved, x, method="encode"))(images)
        return losses.mse(model.apply(moved, code, method="decode"), images)

    none, some, more = map(error, (0, 1, 4))
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
    params = jax.tree.map(lambda x: x + 0.05, jax.jit(model.init)(jax.random.key(0), image))
    apply = jax.jit(model.apply)
    change, moved = apply(params, image), apply(params, np.roll(image, (4, 2), axis=(1, 2)))
    inside = np.s_[:, 14:18, 14:18]
    expected = np.roll(change, (4, 2), axis=(1, 2))
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-5)
    assert np.ptp(expected[inside]) > 0.01


def test_the_statistics_are_not_parameters(variables, code):
    assert variables["params"].keys() == {"encoder", "decoder"}
    assert variables["batch_stats"].keys() == {"mean", "selected"}
    np.testing.assert_array_equal(variables["batch_stats"]["selected"], code.selected)


def test_bfloat16_filters_keep_the_code_float32(images, variables, moved):
    rounded, codes = jax.jit(autoencoder(dtype=jnp.bfloat16).apply)(moved, images)
    exact, _ = jax.jit(autoencoder().apply)(moved, images)
    assert rounded.dtype == codes.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, atol=0.05)
    assert np.any(rounded != exact)
