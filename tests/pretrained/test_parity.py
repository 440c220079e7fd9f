"""Random weights that show what differs, and peers that take all of them or nothing."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from vocjax.models.backbones import BACKBONES, mobilenet
from vocjax.models.backbones.blocks import KERAS_NORM
from vocjax.pretrained import parity
from vocjax.pretrained.matching import flatten, restore_names
from vocjax.pretrained.sources import SOURCES

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


def test_logits_equal_keras():
    assert parity.parity_error("mobilenet", "keras", SHAPE, classes=3) < 1e-4


def test_weights_that_are_another_network_s_are_refused():
    names = SOURCES["mobilenet"]["keras"].names(NETWORK)
    arrays = restore_names(flatten(parity.random_variables(NETWORK, SHAPE)), names)
    lost, _ = arrays.popitem()
    arrays["strange/kernel"] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=f"MobileNet and the arrays .* {lost}, strange/kernel"):
        parity.keras_model("MobileNet", arrays, 3, SHAPE)


def test_another_constant_of_batch_norm_is_an_error_that_shows(monkeypatch):
    monkeypatch.setattr(mobilenet, "KERAS_NORM", KERAS_NORM._replace(epsilon=2e-3))
    assert parity.parity_error("mobilenet", "keras", SHAPE, classes=3) > 1e-4


@pytest.mark.parametrize(
    ("origin", "peers"), [("keras", parity.KERAS), ("torchvision", parity.TORCHVISION)]
)
def test_every_source_of_an_origin_has_its_peer(origin, peers):
    assert {name for name, sources in SOURCES.items() if origin in sources} == set(peers)
