"""First variables by NumPy: they are those of `init`, and nothing is compiled."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from vocjax.models import draw
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import KERNEL_INIT
from vocjax.models.backbones.heads import DENSE_INIT
from vocjax.models.layers import INITIALIZERS

INITIALISERS = INITIALIZERS | {
    "blocks": KERNEL_INIT,
    "heads": DENSE_INIT,
    "glorot_normal": nn.initializers.glorot_normal(),
    "he_uniform": nn.initializers.he_uniform(),
    "normal": nn.initializers.normal(1e-4),
    "constant": nn.initializers.constant(0.25),
    "orthogonal": nn.initializers.orthogonal(),
}
IMAGES = np.zeros((1, 4), np.float32)


class Params(nn.Module):
    """One parameter for each name in `INITIALISERS`."""

    names: tuple[str, ...]
    shape: tuple[int, ...] = (32, 128)

    @nn.compact
    def __call__(self, x):
        for name in self.names:
            self.param(name, INITIALISERS[name], self.shape)
        return x


class Layers(nn.Module):
    """Dense layers of these widths, then a batch norm."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = nn.Dense(width, name=f"dense_{width}")(x)
        return nn.BatchNorm(use_running_average=True, name="norm")(x)


def drawn(module, key, images=IMAGES, **keywords):
    return draw.variables(jax.jit(partial(module.init, **keywords)), key, images)


def params(names, seed=0, **fields):
    return drawn(Params(names, **fields), jax.random.key(seed))["params"]


def assert_same(got, expected):
    """Same tree and dtypes; same uniform numbers, normal ones but for rounding."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for path, x in jax.tree.leaves_with_path(expected):
        y = got
        for entry in path:
            y = y[entry.key]
        assert (y.dtype, y.weak_type) == (x.dtype, x.weak_type)
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6 * np.abs(x).max(initial=0))


def test_they_are_the_variables_of_init():
    names = ("glorot_uniform", "he_uniform", "he_normal", "normal", "constant", "zeros")
    expected = jax.jit(Params(names).init)(jax.random.key(3), IMAGES)
    got = drawn(Params(names), jax.random.key(3))
    assert_same(got, expected)
    for name in ("glorot_uniform", "he_uniform", "constant", "zeros"):
        np.testing.assert_array_equal(got["params"][name], expected["params"][name])


def test_arrays_longer_than_a_chunk_are_those_of_init():
    shape = (draw.CHUNK // 100, 201)
    got = params(("glorot_uniform",), shape=shape)["glorot_uniform"]
    expected = Params(("glorot_uniform",), shape).init(jax.random.key(0), IMAGES)["params"]
    np.testing.assert_array_equal(got, expected["glorot_uniform"])


@pytest.mark.parametrize(
    ("name", "scale", "fans"),
    [
        ("glorot_uniform", 1, (400 + 300) / 2),
        ("heads", 1, (400 + 300) / 2),
        ("he_uniform", 2, 400),
        ("lecun_normal", 1, 400),
        ("he_normal", 2, 400),
        ("blocks", 2, 400),
        ("glorot_normal", 1, (400 + 300) / 2),
    ],
)
def test_numbers_follow_the_declared_distribution(name, scale, fans):
    numbers, sigma = np.ravel(params((name,), shape=(400, 300))[name]), np.sqrt(scale / fans)
    if name in ("glorot_uniform", "heads", "he_uniform"):
        bound = sigma * np.sqrt(3)
        distribution = stats.uniform(-bound, 2 * bound)
    else:  # cut at 2 standard deviations of the normal, then of the declared variance
        cut = stats.truncnorm(-2, 2)
        distribution, bound = stats.truncnorm(-2, 2, scale=sigma / cut.std()), 2 * sigma / cut.std()
    assert np.abs(numbers).max() == pytest.approx(bound, rel=1e-2)
    assert np.abs(numbers).max() <= bound * (1 + 1e-6)
    assert numbers.mean() == pytest.approx(0, abs=4 * sigma / np.sqrt(numbers.size))
    assert numbers.std() == pytest.approx(sigma, rel=0.01)
    assert stats.kstest(numbers, distribution.cdf).pvalue > 1e-3


def test_numbers_of_a_key_never_change():
    got = params(("glorot_uniform", "he_normal"), shape=(2, 2))
    uniform = [[0.07433493, -1.0947392], [-1.1122649, 0.6417195]]
    normal = [[0.64925134, 0.27678528], [0.2966401, -2.0438128]]
    np.testing.assert_allclose(got["glorot_uniform"], uniform, rtol=1e-7)
    np.testing.assert_allclose(got["he_normal"], normal, rtol=1e-7)


def test_another_key_and_another_name_draw_other_numbers_and_the_same_the_same():
    first, again, other = (params(("he_normal", "blocks"), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["he_normal"], again["he_normal"])
    for independent in (other["he_normal"], first["blocks"]):
        pair = np.ravel(first["he_normal"]), np.ravel(independent)
        assert np.abs(np.corrcoef(*pair)[0, 1]) < 0.06  # 4 / sqrt(4096)


def test_a_layer_draws_the_same_whatever_layers_there_are():
    key = jax.random.key(0)
    small, large = (drawn(Layers(w), key)["params"] for w in ((8, 6), (8, 6, 7)))
    for name in ("dense_8", "dense_6"):
        np.testing.assert_array_equal(small[name]["kernel"], large[name]["kernel"])


def test_traced_keys_give_shapes_and_batches_of_variables():
    def init(key):
        return drawn(Layers((3,)), key)

    keys = jax.random.split(jax.random.key(0), 2)
    alone = [init(key) for key in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    assert_same(jax.jit(jax.vmap(init))(keys), stacked)
    assert jax.eval_shape(init, keys[0]) == jax.eval_shape(lambda: alone[0])


@pytest.mark.parametrize(
    ("name", "generator", "partitionable"),
    [
        ("orthogonal", "threefry2x32", True),
        ("he_uniform", "rbg", True),
        ("he_uniform", "threefry2x32", False),
    ],
)
def test_what_numpy_cannot_do_is_compiled(name, generator, partitionable):
    module, key = Params((name,), (4, 3)), jax.random.key(0, impl=generator)
    with jax.threefry_partitionable(partitionable):
        got, expected = drawn(module, key), jax.jit(module.init)(key, IMAGES)
    np.testing.assert_array_equal(got["params"][name], expected["params"][name])


def test_parameters_of_16_bits_are_compiled():
    module, key = nn.Dense(3, param_dtype=jnp.bfloat16), jax.random.key(0)
    assert_same(drawn(module, key), jax.jit(module.init)(key, IMAGES))


def test_values_that_depend_on_the_input_are_those_of_init():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.param("scale", lambda _: x + 1)

    got = drawn(Scaled(), jax.random.key(0), np.full((2,), 0.5, np.float32))
    np.testing.assert_array_equal(got["params"]["scale"], [1.5, 1.5])


def test_a_network_whose_shapes_are_known_is_not_traced_again():
    traces = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x):
            traces.append(x.shape)
            return nn.Dense(2)(x)

    init, key = jax.jit(Counted().init), jax.random.key(0)
    jax.eval_shape(lambda key: draw.variables(init, key, IMAGES), key)
    draw.variables(init, key, IMAGES)
    assert traces == [IMAGES.shape]


@pytest.mark.parametrize("name", ["resnet18", "squeezenet"])
def test_nothing_is_compiled_for_a_network(name, caplog):
    network, key = BACKBONES[name](classes=2), jax.random.key(0)
    images = np.zeros((1, 64, 64, 3), np.float32)
    caplog.clear()
    with jax.log_compiles():
        drawn(network, key, images, train=False, valid=None)
        assert "Compiling" not in caplog.text
        jax.jit(lambda x: x - 3)(1.0)
        assert "Compiling" in caplog.text
