"""Xception: Keras's logits, published counts and sizes, dilation, statistics, mistakes."""

import functools

import numpy as np
import pytest
from models.backbones.checks import (
    check_dilation,
    check_dtypes,
    check_rounded_up,
    check_training,
    count,
    keras_twin,
    known_shapes,
    paths,
    sizes,
)
from models.backbones.parity import apply, error, shapes

from vocjax.errors import UserError
from vocjax.models.backbones import xception
from vocjax.pretrained.names import xception as names

STAGES = tuple(f"block{i}" for i in range(1, 15))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(299, 299), (97, 111)])
def test_logits_equal_keras(size):
    network = xception.xception(10)
    variables, peer = keras_twin(network, names, "Xception", size)
    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)
    assert error(apply(network, variables, images), peer.predict_on_batch(images)) < 1e-4


@pytest.fixture
def narrow(monkeypatch):
    """Keep some blocks, with few features."""
    blocks = {
        "block2": ((4, 4), 2),
        "block3": ((5, 5), 2),
        "block4": ((6, 6), 2),
        "block13": ((6, 7), 2),
    }

    def keep(*kept):
        monkeypatch.setattr(xception, "BLOCKS", {name: blocks[name] for name in kept})
        return functools.partial(xception.xception, 5)

    return keep


def test_variables_are_the_published_ones():
    network = xception.xception()
    theirs = names.keras(network)
    assert sum(count(network, 299)) == 22_910_480
    assert set(theirs) == paths(network, 299)
    assert len({name for name, _ in theirs.values()}) == len(theirs)


def test_maps_have_the_published_sizes():
    rows = (147, 74, 37, *(19,) * 9, 10, 10)
    columns = (46, 23, 12, *(6,) * 9, 3, 3)
    expected = dict(zip(STAGES, zip(rows, columns, strict=True), strict=True))
    assert sizes(xception.xception(), 299, 97) == expected


def test_padded_maps_have_the_sizes_that_their_strides_say():
    check_rounded_up(xception.xception(padding="same"), 224, 97)
    small = xception.xception(stem="small")
    check_rounded_up(small, 64, 45)
    assert list(small.backbone.strides.values()) == [1, 1, 2, *(4,) * 9, 8, 8]
    assert shapes(small, (64, 64, 3)) == known_shapes(xception.xception(), (299, 299, 3))


# The maps that are pooled last have even and odd sizes, so that Keras pads them in both ways.
@pytest.mark.parametrize(
    ("padding", "height", "width"),
    [("valid", 97, 131), pytest.param("same", 64, 49, marks=pytest.mark.slow)],
)
def test_dilated_maps_hold_the_strided_ones(narrow, padding, height, width):
    make = narrow("block2", "block3", "block4", "block13")
    check_dilation(functools.partial(make, padding=padding), height, width, {})


def test_only_maps_are_in_bfloat16():
    check_dtypes(xception.xception, 64)


def test_training_moves_the_statistics_of_valid_examples(narrow):
    check_training(narrow("block2")(stem="small"), 20, 24)


def test_a_padding_that_xception_has_not_is_refused():
    with pytest.raises(UserError, match=r"padding 'reflect'.*'valid', 'same'"):
        xception.xception(padding="reflect")
