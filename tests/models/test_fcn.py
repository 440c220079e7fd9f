"""FCN: parameters, skips that are summed, and values by NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.errors import UserError
from vocjax.models.encoders import Encoder
from vocjax.models.fcn import FCN, FCNDecoder
from vocjax.models.layers import Style

SHAPES = {1: (13, 11, 2), 2: (6, 6, 3), 4: (3, 3, 4)}  # rounded down, and up


def draw_maps():
    rng = np.random.default_rng(0)
    return {s: rng.standard_normal((2, *shape)).astype(np.float32) for s, shape in SHAPES.items()}


def draw_params(skips, outputs=2):
    """Parameters of the decoder over `SHAPES`, none of them zero."""
    rng = np.random.default_rng(1)
    return {
        f"score{stride}": {
            "kernel": rng.standard_normal((SHAPES[stride][-1], outputs)).astype(np.float32),
            "bias": rng.standard_normal(outputs).astype(np.float32),
        }
        for stride in sorted(SHAPES, reverse=True)[: skips + 1]
    }


def doubled(x, height, width):
    """Interpolate between the pixels' centres, then leave out or repeat the last row or column."""
    for axis, size in ((1, height), (2, width)):
        n = x.shape[axis]
        places = (np.arange(2 * n) + 0.5) / 2 - 0.5
        x = np.apply_along_axis(functools.partial(np.interp, places, np.arange(n)), axis, x)
        x = np.take(x, np.minimum(np.arange(size), 2 * n - 1), axis=axis)
    return x


@pytest.mark.parametrize(
    ("skips", "outputs", "parameters"),
    [(0, 1, 17), (1, 1, 17 + 33), (2, 21, 21 * (17 + 33 + 65)), (4, 2, 2 * (496 + 5))],
)
def test_parameters_over_the_studys_encoder(skips, outputs, parameters):
    model = FCN(Encoder((256, 128, 64, 32, 16)), outputs, skips)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    sizes = {
        name: sum(x.size for x in jax.tree.leaves(tree))
        for name, tree in variables["params"].items()
    }
    assert sizes == {"encoder": 399_088, "decoder": parameters}


@pytest.mark.parametrize("skips", [0, 1, 2])
@pytest.mark.parametrize("size", [39, 38, 37])
def test_a_pixel_keeps_its_place_whatever_pooling_leaves_out(skips, size):
    model = FCN(Encoder((3, 4, 4)), 2, skips)
    image = np.random.default_rng(0).random((1, 40, 40, 3), np.float32)
    variables = model.init(jax.random.key(0), image)
    params = jax.tree.map(
        lambda x: np.random.default_rng(1).standard_normal(x.shape, np.float32), variables
    )
    whole, _ = model.apply(params, image)
    part, _ = model.apply(params, image[:, :size, :size])
    far = slice(0, 16)  # from the edges that differ
    np.testing.assert_allclose(part[:, far, far], whole[:, far, far], atol=1e-4)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_scores_equal_numpys(skips):
    maps, params = draw_maps(), draw_params(skips)
    decoder = FCNDecoder(2, skips, True, Style())
    stride, scores = jax.jit(decoder.apply)({"params": params}, maps)
    of = {
        int(name[5:]): maps[int(name[5:])] @ p["kernel"] + p["bias"] for name, p in params.items()
    }
    expected = of[4]
    for shallower in (2, 1)[:skips]:
        expected = doubled(expected, *SHAPES[shallower][:2]) + of[shallower]
    assert int(stride) == min(of)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_a_map_counts_if_it_is_a_skip(skips):
    maps, params = draw_maps(), draw_params(skips)
    decoder = jax.jit(FCNDecoder(2, skips, True, Style()).apply)
    _, scores = decoder({"params": params}, maps)
    for stride, used in {4: True, 2: skips >= 1, 1: skips >= 2}.items():
        other = {s: x.copy() for s, x in maps.items()}
        other[stride][0, 1, 1, 0] += 1
        _, changed = decoder({"params": params}, other)
        assert np.any(changed[0] != scores[0]) == used
        np.testing.assert_array_equal(changed[1], scores[1])


def test_training_begins_without_the_skips():
    images = jnp.asarray(np.random.default_rng(0).random((2, 9, 8, 1)), jnp.float32)
    model = FCN(Encoder((3, 4, 5)), 2, 2)
    variables = jax.jit(model.init)(jax.random.key(0), images)
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
    message = f"model.skips is {skips}; this encoder has 2 strides beside .* one of 0 to 2"
    with pytest.raises(UserError, match=message):
        FCN(Encoder((3, 4, 5)), 1, skips)
