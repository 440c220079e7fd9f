"""Inception v1: published counts and sizes, dilation, statistics, auxiliary heads.

Its values are compared with torchvision's where torch is installed, in tests/peers.
"""

import functools

import jax
import numpy as np
import pytest
from models.backbones.checks import (
    check_dilation,
    check_dtypes,
    check_training,
    count,
    known_shapes,
    paths,
    sizes,
)
from models.backbones.parity import shapes

from vocjax.models.backbones import inception_v1
from vocjax.models.backbones.inception_v1 import Widths
from vocjax.pretrained.names import inception_v1 as names

STAGES = (
    *("conv1", "conv2", "inception3a", "inception3b"),
    *(f"inception4{letter}" for letter in "abcde"),
    *("inception5a", "inception5b"),
)


@pytest.fixture
def narrow(monkeypatch):
    """Keep some modules, with few features."""

    def keep(*kept):
        modules = {name: Widths(3, 2, 4, 2, 3, 2) for name in kept}
        monkeypatch.setattr(inception_v1, "MODULES", modules)
        return functools.partial(inception_v1.inception_v1, 5)

    return keep


@pytest.mark.parametrize(("auxiliary", "parameters"), [(False, 6_624_904), (True, 13_004_888)])
def test_variables_are_the_published_ones(auxiliary, parameters):
    network = inception_v1.inception_v1(auxiliary=auxiliary)
    theirs = names.torchvision(network)
    assert count(network, 224)[0] == parameters
    assert set(theirs) == paths(network, 224)
    assert len({name for name, _ in theirs.values()}) == len(theirs)


def test_maps_have_the_published_sizes():
    rows = (112, 56, 28, 28, 14, 14, 14, 14, 14, 7, 7)
    columns = (49, 24, 12, 12, 6, 6, 6, 6, 6, 3, 3)  # convolution rounds up, a pool of 3 down
    of_97 = dict(zip(STAGES, zip(rows, columns, strict=True), strict=True))
    assert sizes(inception_v1.inception_v1(), 224, 97) == of_97


def test_maps_of_the_small_stem():
    network = inception_v1.inception_v1(stem="small")
    expected = dict(zip(STAGES, (64, 64, 32, 32, *(16,) * 5, 8, 8), strict=True))
    assert sizes(network, 64, 64) == {name: (size, size) for name, size in expected.items()}
    assert list(network.backbone.strides.values()) == [1, 1, 2, 2, *(4,) * 5, 8, 8]
    assert shapes(network, (64, 64, 3)) == known_shapes(inception_v1.inception_v1(), (224, 224, 3))


def test_dilated_maps_hold_the_strided_ones(narrow):
    make = narrow("inception3a", "inception4a", "inception5a")
    check_dilation(make, 96, 71, {(8, 2): 1, (8, 4): 2})


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_maps_keep_their_size(output_stride):
    network = inception_v1.inception_v1(output_stride=output_stride)
    deepest = sizes(network, 224, 160)["inception5b"]
    assert deepest == (224 // output_stride, 160 // output_stride)


def test_only_maps_are_in_bfloat16():
    check_dtypes(inception_v1.inception_v1, 64)


def test_training_moves_the_statistics_of_valid_examples(narrow):
    check_training(narrow("inception3a")(stem="small"), 20, 24)


def test_auxiliary_heads_run_where_they_are_asked_for():
    network = inception_v1.inception_v1(auxiliary=True)
    variables = known_shapes(network, (224, 224, 3))
    assert set(variables) == {"params", "batch_stats"}

    def train(mutable):
        apply = functools.partial(
            network.apply, train=True, rngs={"dropout": jax.random.key(0)}, mutable=mutable
        )
        return jax.eval_shape(apply, variables, jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32))

    logits, state = train(["batch_stats", "auxiliary"])
    assert state["auxiliary"] == {"inception4a": logits, "inception4d": logits}
    assert logits.shape == (2, 1000)
    plain, state = train(["batch_stats"])
    assert plain == logits and set(state) == {"batch_stats"}
