"""Inception v3: Keras's logits, published counts and sizes, dilation, statistics, mistakes.

Its values are compared with torchvision's where torch is installed, in tests/peers.
"""

import functools

import jax
import keras
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
from models.backbones.parity import error, shapes

from vocjax.errors import UserError
from vocjax.models.backbones import inception_v3
from vocjax.pretrained.names import inception_v3 as names

STAGES = (
    *("conv1a", "conv2a", "conv2b", "conv3b", "conv4a"),
    *("mixed5b", "mixed5c", "mixed5d"),
    *(f"mixed6{letter}" for letter in "abcde"),
    *("mixed7a", "mixed7b", "mixed7c"),
)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(299, 299), (107, 122)])
def test_maps_and_logits_equal_keras(size):
    network = inception_v3.inception_v3(10, variant="keras")
    variables, peer = keras_twin(network, names, "InceptionV3", size)
    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)

    def run(network, images):
        maps = network.backbone.stages(images)
        return maps, network.head(maps["mixed7c"])

    maps, logits = jax.jit(functools.partial(network.apply, method=run))(variables, images)
    layers = [peer.get_layer(f"mixed{i}") for i in range(11)]
    several = keras.Model(peer.inputs, [layer.output for layer in (*layers, peer.layers[-1])])
    *expected, expected_logits = several.predict_on_batch(images)
    for stage, values in zip(STAGES[5:], expected, strict=True):
        assert error(np.asarray(maps[stage]), values) < 1e-4
    assert error(np.asarray(logits), expected_logits) < 1e-4


@pytest.fixture
def narrow(monkeypatch):
    """Keep some modules, whose features are given, with few of them."""

    def thin(step):
        if isinstance(step, inception_v3.Fork):
            return inception_v3.Fork(2)
        return step if isinstance(step, str) else (3, step[1])

    def keep(**kept):
        stem = {name: (4, side) for name, (_, side) in inception_v3.STEM.items()}
        modules = {}
        for name, features in kept.items():
            _, branches = inception_v3.MIXED[name]
            thinner = {key: [thin(step) for step in steps] for key, steps in branches.items()}
            modules[name] = (features, thinner)
        monkeypatch.setattr(inception_v3, "MIXED", modules)
        monkeypatch.setattr(inception_v3, "STEM", stem)
        return functools.partial(inception_v3.inception_v3, 5)

    return keep


@pytest.mark.parametrize(
    ("fields", "table", "counts"),
    [
        ({}, names.torchvision, (23_834_568, 34_432)),
        ({"auxiliary": True}, names.torchvision, (27_161_264, 36_224)),
        ({"variant": "keras"}, names.keras, (23_851_784 - 34_432, 34_432)),
    ],
)
def test_variables_are_the_published_ones(fields, table, counts):
    network = inception_v3.inception_v3(**fields)
    assert count(network, 299) == counts
    assert set(table(network)) == paths(network, 299)
    assert len({name for name, _ in table(network).values()}) == len(table(network))


def test_maps_have_the_published_sizes():
    rows = (149, 147, 147, 73, 71, 35, 35, 35, *(17,) * 5, 8, 8, 8)
    columns = (48, 46, 46, 22, 20, 9, 9, 9, *(4,) * 5, 1, 1, 1)
    expected = dict(zip(STAGES, zip(rows, columns, strict=True), strict=True))
    assert sizes(inception_v3.inception_v3(), 299, 97) == expected


def test_padded_maps_have_the_sizes_that_their_strides_say():
    check_rounded_up(inception_v3.inception_v3(padding="same"), 224, 97)
    small = inception_v3.inception_v3(stem="small")
    check_rounded_up(small, 64, 45)
    assert list(small.backbone.strides.values()) == [*(1,) * 5, 2, 2, 2, *(4,) * 5, 8, 8, 8]
    expected = known_shapes(inception_v3.inception_v3(), (299, 299, 3))
    assert shapes(small, (64, 64, 3)) == expected


@pytest.mark.parametrize(
    ("padding", "height", "width", "first"),
    [
        ("valid", 107, 171, {(16, 2): 1, (8, 2): 1, (8, 4): 3}),
        pytest.param("same", 96, 71, {}, marks=pytest.mark.slow),
    ],
)
def test_dilated_maps_hold_the_strided_ones(narrow, padding, height, width, first):
    make = narrow(mixed5b=12, mixed6a=18, mixed6b=12, mixed7a=18, mixed7b=14)
    check_dilation(functools.partial(make, padding=padding), height, width, first)


def test_only_maps_are_in_bfloat16():
    check_dtypes(inception_v3.inception_v3, 75)


def test_training_moves_the_statistics_of_valid_examples(narrow):
    make = narrow(mixed6a=18, mixed7b=14)
    check_training(make(stem="small", variant="keras"), 20, 24)


@pytest.mark.parametrize("dilation", [1, 2])
def test_means_count_zeros_or_not(dilation):
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 3), np.float32)
    around = ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0))
    taps = [
        (slice(i * dilation, i * dilation + 7), slice(j * dilation, j * dilation + 8))
        for i in range(3)
        for j in range(3)
    ]
    padded, inside = np.pad(x, around), np.pad(np.ones_like(x), around)
    total = sum(padded[:, rows, columns] for rows, columns in taps)
    number = sum(inside[:, rows, columns] for rows, columns in taps)
    for counts_padding, expected in ((True, total / 9), (False, total / number)):
        pool = functools.partial(inception_v3.mean_pool, counts_padding=counts_padding)
        got = jax.jit(pool, static_argnums=1)(x, dilation)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_the_auxiliary_head_runs_where_it_is_asked_for():
    network = inception_v3.inception_v3(auxiliary=True)
    variables = known_shapes(network, (299, 299, 3))
    assert set(variables) == {"params", "batch_stats"}
    run = functools.partial(network.apply, mutable=["auxiliary"])
    images = jax.ShapeDtypeStruct((2, 299, 299, 3), np.float32)
    logits, state = jax.eval_shape(run, variables, images)
    assert state == {"auxiliary": {"mixed6e": logits}}


@pytest.mark.parametrize(
    ("fields", "size", "named"),
    [
        ({"variant": "torch"}, 299, "variant 'torch'.*'torchvision', 'keras'"),
        ({"padding": "reflect"}, 299, "padding 'reflect'.*'valid', 'same'"),
        ({}, 74, 'images of 74x74 pixels and needs 75x75.*padding to "same"'),
        ({"auxiliary": True}, 224, "map of 12x12 values and needs 17x17.*299 pixels"),
    ],
)
def test_mistakes_are_named(fields, size, named):
    with pytest.raises(UserError, match=named):
        shapes(inception_v3.inception_v3(**fields), (size, size, 3))


def test_the_smallest_image_that_is_not_refused_has_a_map():
    assert sizes(inception_v3.inception_v3(), 75, 75)["mixed7c"] == (1, 1)
