"""Every network of the tables of `models/build.py`, made small by one rule; and one's own."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from random_values import draw_variables

from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.models import build

CONFIGS = [load_config(p) for p in sorted((Path(__file__).parents[2] / "configs").glob("*.py"))]
TABLES = {
    "reconstruction": build.RECONSTRUCTION,
    "classification": build.CLASSIFICATION,
    "segmentation": build.SEGMENTATION,
}
NETWORKS = [(task, name) for task, table in TABLES.items() for name in table]
OUTPUTS = 3
BUILDERS = {
    "reconstruction": build.autoencoder,
    "classification": lambda config: build.classifier(config, OUTPUTS),
    "segmentation": lambda config: build.segmenter(config, OUTPUTS),
}
every_network = pytest.mark.parametrize(("task", "name"), NETWORKS)


def small_config(task, name, **fields):
    """A config of configs/ with this network, made small; it has those of `fields` that it knows.

    A tuple of widths loses its first two, and so its encoder two halvings; a number is at most 2.
    """

    def small(value):
        if isinstance(value, tuple):
            return tuple(min(v, 5 - i) for i, v in enumerate(value[2:]))
        return min(value, 2) if type(value) is int else value

    found = (c for c in CONFIGS if (c.task, c.model.name) == (task, name))
    own = next((c for c in found if "backbone" not in c.model), None)
    assert own, f"configs/ needs a config of {name} that has no backbone"
    config = own.copy_and_resolve_references()
    config.data.size = 8
    known = {f: v for f, v in fields.items() if f in TABLES[task][name].fields}
    config.model.update({f: small(v) for f, v in config.model.items()} | known)
    return config


def network_of(config):
    return BUILDERS[config.task](config)


def images_of(config, n=3, seed=0):
    shape = (n, config.data.size, config.data.size, config.data.channels)
    return jnp.asarray(np.random.default_rng(seed).random(shape), jnp.float32)


def output_shape(config, images):
    """The shape of a network's first output."""
    return {
        "reconstruction": images.shape,
        "classification": (len(images), OUTPUTS),
        "segmentation": (*images.shape[:3], OUTPUTS),
    }[config.task]


@every_network
@pytest.mark.parametrize("size", [16, 17, 30])
def test_output_has_the_right_shape_and_is_float32_at_odd_and_even_sizes(task, name, size):
    config = small_config(task, name, norm="batch")
    config.data.size, config.precision = size, "bfloat16"
    try:
        model = network_of(config)
    except UserError as error:  # a network that halves may refuse a size
        assert size != 16 and f"data.size={size}" in str(error)
        return
    images = jax.eval_shape(lambda: images_of(config))
    (output, code), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert (output.shape, output.dtype) == (output_shape(config, images), jnp.float32)
    assert code.shape[0] == len(images)
    assert {x.dtype for x in jax.tree.leaves(variables["params"])} == {jnp.dtype(jnp.float32)}


@every_network
def test_a_training_step(task, name):
    """Finite gradients, padded examples that change nothing, and dropout by the key."""
    config = small_config(task, name, norm="batch", dropout=0.3)
    model, images = network_of(config), images_of(config)
    variables = draw_variables(model, images)

    @jax.jit
    def step(images, key):
        def loss(params):
            how = {"train": True, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
            valid = jnp.array([1.0, 1.0, 0.0])
            outputs, updates = model.apply(
                variables | {"params": params}, images, valid=valid, **how
            )
            return jnp.mean(jnp.sin(3 * outputs[0][:2])), updates

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    one, other = jax.random.split(jax.random.key(0))
    (loss, updates), gradient = step(images, one)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    again = step(images.at[2].set(1 - images[2]), one)
    expected = ravel_pytree(((loss, updates), gradient))[0]
    np.testing.assert_allclose(ravel_pytree(again)[0], expected, atol=1e-6)
    (dropped, _), _ = step(images, other)
    assert (dropped != loss) == ("dropout" in config.model)


@pytest.mark.parametrize("name", build.RECONSTRUCTION)
def test_encoder_and_decoder_compose(name):
    config = small_config("reconstruction", name)
    model, images = network_of(config), images_of(config)
    variables = draw_variables(model, images)

    @jax.jit
    def run(images):
        image, code = model.apply(variables, images)
        encoded = model.apply(variables, images, method="encode")
        return (image.clip(0, 1), code), (model.apply(variables, code, method="decode"), encoded)

    (image, code), (decoded, encoded) = run(images)
    np.testing.assert_allclose(encoded, code, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(decoded.clip(0, 1), image, rtol=1e-5, atol=1e-6)


@every_network
def test_an_unknown_field_and_an_unknown_network_are_refused(task, name):
    config = small_config(task, name)
    config.model.surprise = 1
    with pytest.raises(UserError, match=f"has model.surprise, which {name} does not know"):
        network_of(config)
    config.model.name = "resent"
    with pytest.raises(UserError, match=f"'resent'; it is one of {', '.join(TABLES[task])}"):
        network_of(config)


OWN = """
from flax import linen as nn

class Own(nn.Module):
    outputs: int
    width: int

    @nn.compact
    def __call__(self, images, *, train=False, valid=None):
        code = nn.Dense(self.width)(images)
        return nn.Dense(self.outputs)(code), code

def network(config, outputs):
    return Own(outputs, config.model.width)

def outputs(config, outputs):
    return outputs

constant = 3
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """The current directory has the modules own_networks and broken_networks."""
    (tmp_path / "own_networks.py").write_text(OWN)
    (tmp_path / "broken_networks.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # which is undone, unlike the one of the build


@pytest.mark.parametrize("task", TABLES)
def test_a_config_may_name_a_network_of_ones_own(own_module, task):
    config = small_config(task, next(iter(TABLES[task])))
    config.model.name, config.model.width = "own_networks:network", 7
    model = network_of(config)
    assert isinstance(model, nn.Module)
    outputs = 3 if task == "reconstruction" else OUTPUTS
    assert (model.outputs, model.width) == (outputs, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:network", "nowhere cannot be imported from .*No module named 'nowhere'"),
        ("broken_networks:network", "broken_networks cannot be imported .*no_such_package"),
        (":network", "':network'; a function of yours is named as module:function"),
        ("own_networks:model", "own_networks.py has no function model"),
        ("own_networks:constant", "own_networks.py has no function constant"),
        ("own_networks:outputs", "own_networks:outputs returned 3; it must return a Flax module"),
    ],
)
def test_a_network_that_can_not_be_imported_is_refused(own_module, name, message):
    config = small_config("segmentation", "mirror")
    config.model.name = name
    with pytest.raises(UserError, match=message):
        network_of(config)
