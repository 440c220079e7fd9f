"""FCN: parameters, skips that are summed, and values by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compared import interpolated
from ml_collections import ConfigDict
from random_values import draw, draw_variables

from vocjax.errors import UserError
from vocjax.models.autoencoder import Encoder
from vocjax.models.draw import variables as variables_of
from vocjax.models.fcn import FCNDecoder, network
from vocjax.models.segmenter import Segmenter

SHAPES = {1: (13, 11, 2), 2: (6, 6, 3), 4: (3, 3, 4)}  # rounded down, and up
MAPS = {stride: draw(2, *shape) for stride, shape in SHAPES.items()}


def doubled(x, height, width):
    """Interpolate between the pixels' centres, then leave out or repeat the last row or column."""
    x = interpolated(x, 2)
    rows = np.minimum(np.arange(height), x.shape[1] - 1)
    columns = np.minimum(np.arange(width), x.shape[2] - 1)
    return x[:, rows][:, :, columns]


@pytest.mark.parametrize(
    ("skips", "outputs", "parameters"),
    [(0, 1, 17), (1, 1, 17 + 33), (2, 21, 21 * (17 + 33 + 65)), (4, 2, 2 * (496 + 5))],
)
def test_parameters_over_the_studys_encoder(skips, outputs, parameters):
    model = Segmenter(Encoder((256, 128, 64, 32, 16)), FCNDecoder(outputs, skips))
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    sizes = {
        name: sum(x.size for x in jax.tree.leaves(tree))
        for name, tree in variables["params"].items()
    }
    assert sizes == {"encoder": 399_088, "decoder": parameters}


@pytest.mark.parametrize("skips", [0, 2])
def test_a_pixel_keeps_its_place_whatever_pooling_leaves_out(skips):
    model = Segmenter(Encoder((3, 4, 4)), FCNDecoder(2, skips, centred=False))
    image = draw(1, 40, 40, 3)
    variables = draw_variables(model, image)

    @jax.jit
    def corners(image):
        cuts = [image[:, :size, :size] for size in (40, 39, 38, 37)]
        return [model.apply(variables, cut)[0][:, :16, :16] for cut in cuts]  # far from the edges

    whole, *parts = corners(image)
    for part in parts:
        np.testing.assert_allclose(part, whole, atol=1e-4)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_scores_equal_numpys_and_a_map_counts_if_it_is_a_skip(skips):
    decoder = FCNDecoder(2, skips)
    variables = draw_variables(decoder, MAPS)
    apply = jax.jit(decoder.apply)
    stride, scores = apply(variables, MAPS)
    of = {
        int(name[5:]): np.asarray(MAPS[int(name[5:])] @ p["kernel"] + p["bias"])
        for name, p in variables["params"].items()
    }
    expected = of[4]
    for shallower in (2, 1)[:skips]:
        expected = doubled(expected, *SHAPES[shallower][:2]) + of[shallower]
    assert int(stride) == min(of)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    for changed, used in {4: True, 2: skips >= 1, 1: skips >= 2}.items():
        _, other = apply(variables, MAPS | {changed: MAPS[changed].at[0, 1, 1, 0].add(1.0)})
        assert np.any(other[0] != scores[0]) == used
        np.testing.assert_array_equal(other[1], scores[1])


def test_training_begins_without_the_skips():
    images = jnp.asarray(np.random.default_rng(0).random((2, 9, 8, 1)), jnp.float32)
    model = Segmenter(Encoder((3, 4, 5)), FCNDecoder(2, 2, centred=False))
    variables = variables_of(jax.jit(model.init), jax.random.key(0), images)
    decoder = variables["params"]["decoder"]
    assert decoder.keys() == {"score1", "score2", "score4"}
    assert not np.any(decoder["score1"]["kernel"]) and not np.any(decoder["score2"]["kernel"])
    assert np.all(decoder["score4"]["kernel"])

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: jnp.sum(jnp.sin(model.apply({"params": p}, images)[0])))(params)

    for name, of_score in gradient(variables["params"])["decoder"].items():
        assert np.all(of_score["bias"]) and np.any(of_score["kernel"]), name


@pytest.mark.parametrize("skips", [-1, 3])
def test_skips_that_the_encoder_lacks_are_refused(skips):
    model = {"name": "fcn", "encoder": (3, 4, 5), "upsample": "bilinear", "skips": skips}
    config = ConfigDict({"model": model, "precision": "float32"})
    with pytest.raises(UserError, match=f"skips is {skips}; it must be at least 0 and less than 3"):
        network(config, 1)
