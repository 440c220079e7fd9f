"""An autoencoder that begins as PCA of patches: against NumPy's SVD; what it leaves as drawn."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import draw_variables, smooth_pictures

from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.models import build, stacked_pca

CONFIGS = Path(__file__).parents[2] / "configs"


def config_of(**fields):
    config = load_config(CONFIGS / "autoencoder_convolutional.py")
    config.data.size = 16
    config.model.update({"encoder": (50, 192), "decoder": (192, 50), "code": 5} | fields)
    return config


@pytest.fixture(scope="module")
def begun():
    """(images, drawn parameters, parameters after the start, reconstruction, code)."""
    config, images = config_of(residual=1), jnp.asarray(smooth_pictures(6, 16))
    model = build.autoencoder(config)
    drawn = draw_variables(model, images)["params"]
    fitted = jax.jit(stacked_pca.fit, static_argnums=1)(images, config.model.encoder)
    params = stacked_pca.with_stages(drawn, fitted)
    for half in ("encoder", "decoder"):  # as the config draws them, unlike `draw_variables`
        for name, block in params[half].items():
            if "ConvBlock" in name:
                block["ResidualBlock_0"]["Conv_1"] = jax.tree.map(
                    jnp.zeros_like, block["ResidualBlock_0"]["Conv_1"]
                )
    image, code = jax.jit(lambda p: model.apply({"params": p}, images, train=True))(params)
    return images, drawn, params, image, code


def test_it_is_the_pca_of_the_square_of_each_place_of_the_code(begun):
    images, _, _, image, code = begun
    assert code.shape == (6, 2, 2, 5)

    def squares(x, side):
        cut = np.asarray(x, np.float64).reshape(6, 16 // side, side, 16 // side, side, 3)
        return cut.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side * side * 3)

    mean = np.tile(squares(images, 4).mean(axis=0).reshape(4, 4, 3), (2, 2, 1)).ravel()
    points = squares(images, 8) - mean
    directions = np.linalg.svd(points, full_matrices=False)[2][:5]
    np.testing.assert_allclose(
        squares(image, 8), points @ directions.T @ directions + mean, atol=1e-4
    )
    ours = code.reshape(-1, 5)
    scale = np.linalg.norm(ours, axis=0) / np.linalg.norm(points @ directions.T, axis=0)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-3)


def test_features_beyond_the_patches_numbers_and_residual_blocks_keep_their_draw(begun):
    _, drawn, params, *_ = begun
    for half, block, first in (("encoder", 0, 48), ("decoder", 1, 48)):
        before, after = (p[half][f"ConvBlock_{block}"] for p in (drawn, params))
        kernels = [x["Conv_0"]["kernel"] for x in (before, after)]
        np.testing.assert_array_equal(kernels[0][..., first:], kernels[1][..., first:])
        assert np.any(kernels[0][..., :first] != kernels[1][..., :first])
        first_convs = [x["ResidualBlock_0"]["Conv_0"]["kernel"] for x in (before, after)]
        np.testing.assert_array_equal(*first_convs)
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "dct"}, "model.start is 'dct'; it is one of drawn, pca"),
        ({"upsample": "nearest"}, "model.upsample 'nearest'; a start with PCA needs 'transposed'"),
        ({"trunk": "activated"}, "model.trunk 'activated'; a start with PCA needs 'linear'"),
        ({"decoder": (192, 64)}, r"model.decoder \(192, 64\) .* needs \(192, 50\)"),
        ({"code": 0}, "model.code 0; a start with PCA needs .* a code of 1 to 192 features"),
    ],
)
def test_a_network_that_cannot_begin_so_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        stacked_pca.begins_with_pca(config_of(**fields))


def test_a_drawn_start_needs_nothing():
    assert stacked_pca.begins_with_pca(config_of())
    assert not stacked_pca.begins_with_pca(config_of(start="drawn", upsample="nearest"))
    assert not stacked_pca.begins_with_pca(load_config(CONFIGS / "autoencoder_256.py"))
