"""Networks equal those of their sources; random weights show what differs."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from experiments import parity
from vocjax.models.backbones import BACKBONES, SOURCES, mobilenet
from vocjax.models.backbones.blocks import KERAS_NORM
from vocjax.models.backbones.heads import FlattenHead, Network
from vocjax.pretrained.matching import flatten, restore_names

SHAPE = (32, 32, 3)
NETWORK = BACKBONES["mobilenet"](3)


def test_nothing_random_is_left_out_of_the_comparison():
    variables = parity.random_variables(NETWORK, SHAPE)
    for path, leaf in flatten_dict(variables).items():
        assert leaf.dtype == np.float32
        assert np.abs(leaf).min() > 0
        assert (leaf.min() > 0) == (path[-1] in ("var", "scale"))
        assert leaf.std() > 0
    kernel = variables["params"]["backbone"]["block13"]["pointwise"]["conv"]["kernel"]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 1024), rtol=0.01)
    again, other = (parity.random_variables(NETWORK, SHAPE, seed) for seed in (0, 1))
    for a, b, c in zip(*(flatten(v).values() for v in (variables, again, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_an_error_is_relative_to_the_largest_value():
    ours, theirs = np.asarray([[1.0, -3.0]]), np.asarray([[1.5, -4.0]])
    assert parity.error(ours, theirs) == 1 / 4
    assert np.isnan(parity.error(np.asarray([np.nan, 0.0]), np.ones(2)))


# One odd size and one even size: windows that stride lie otherwise. VGG wants 224 pixels of Keras.
@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        ("mobilenet", SHAPE),
        *(
            pytest.param(name, (97, 112, 3), marks=pytest.mark.slow)
            for name in parity.KERAS
            if not name.startswith("vgg")
        ),
    ],
)
def test_logits_equal_keras(backbone, shape):
    assert parity.parity_error(backbone, "keras", shape, classes=3) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_logits_of_small_images_equal_keras(name):
    """For 64 pixels Keras has no adaptive pooling to 7x7."""
    network = Network(BACKBONES[name.lower()]().backbone, FlattenHead(10, side=2))
    variables = parity.random_variables(network, (64, 64, 3))
    arrays = restore_names(flatten(variables), SOURCES[name.lower()]["keras"].key_map(network))
    images = np.random.default_rng(1).standard_normal((2, 64, 64, 3), np.float32)
    expected = parity.keras_model(name, arrays, 10, (64, 64, 3)).predict_on_batch(images)
    ours = jax.jit(network.apply)(variables, images)
    assert parity.error(np.asarray(ours), expected) < 1e-4


def test_weights_that_are_another_network_s_are_refused():
    names = SOURCES["mobilenet"]["keras"].key_map(NETWORK)
    arrays = restore_names(flatten(parity.random_variables(NETWORK, SHAPE)), names)
    lost, _ = arrays.popitem()
    arrays["strange/kernel"] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=f"MobileNet and the arrays .* {lost}, strange/kernel"):
        parity.keras_model("MobileNet", arrays, 3, SHAPE)


def test_another_constant_of_batch_norm_is_an_error_that_shows(monkeypatch):
    monkeypatch.setattr(mobilenet, "KERAS_NORM", KERAS_NORM._replace(epsilon=2e-3))
    assert parity.parity_error("mobilenet", "keras", SHAPE, classes=3) > 1e-4


@pytest.mark.parametrize(
    ("source", "peers"), [("keras", parity.KERAS), ("torchvision", parity.TORCHVISION)]
)
def test_every_network_of_a_source_has_its_peer(source, peers):
    assert {name for name, sources in SOURCES.items() if source in sources} == set(peers)
