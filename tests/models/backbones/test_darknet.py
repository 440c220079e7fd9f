"""Darknet-19 and Tiny Darknet against the published layers, computed plainly in NumPy."""

import functools
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from models.backbones.checks import (
    check_dilation,
    check_dtypes,
    check_rounded_up,
    check_training,
    count,
)
from models.backbones.parity import apply, error, foreign, random_variables, shapes
from PIL import Image

from vocjax.errors import UserError
from vocjax.models.backbones.darknet import Darknet, DarknetNorm, darknet19, tiny_darknet
from vocjax.models.backbones.heads import ConvHead, Network
from vocjax.pretrained.layouts import convert, foreign_shape
from vocjax.pretrained.names import darknet as names

# As in the published .cfg files: convolutions as filters and side, max-pools of 2 and stride 2.
CFG = {
    darknet19: """32x3 max 64x3 max 128x3 64x1 128x3 max 256x3 128x1 256x3 max
        512x3 256x1 512x3 256x1 512x3 max 1024x3 512x1 1024x3 512x1 1024x3""",
    tiny_darknet: """16x3 max 32x3 max 16x1 128x3 16x1 128x3 max 32x1 256x3 32x1 256x3 max
        64x1 512x3 64x1 512x3 128x1""",
}
LIMIT = 1e-4  # of the largest logit, in float32
FOLDER = Path(os.environ.get("VOCJAX_DEVKITS", "nowhere"))
AIRCRAFT = {"airliner", "warplane", "airship", "space shuttle", "missile", "projectile", "wing"}


def convolve(x, kernel):
    """[batch, channels, height, width] by [features, channels, side, side], zeros around."""
    around = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (around, around), (around, around)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,fcij->bfhw", windows, kernel, optimize=True)


def halve(x):
    """Darknet's max-pool: (size + 1 - 2) // 2 + 1 windows, which look beyond the end."""
    height, width = (size + 1 for size in x.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    even = x[:, :, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(*x.shape[:2], height // 2, 2, width // 2, 2).max(axis=(3, 5))


def reference(cfg, arrays, images, deviation):
    """Logits as Darknet's own code computes them, in NumPy."""
    x, index = images.transpose(0, 3, 1, 2), 0
    for layer in cfg.split():
        if layer == "max":
            x = halve(x)
            continue
        field = {
            name: arrays[f"{index}/{name}"]
            for name in ("weights", "rolling_mean", "rolling_variance", "scales", "biases")
        }
        filters, side = map(int, layer.split("x"))
        assert field["weights"].shape == (filters, x.shape[1], side, side)
        per_channel = {key: value[:, None, None] for key, value in field.items()}
        x = convolve(x, field["weights"]) - per_channel["rolling_mean"]
        x = x / deviation(per_channel["rolling_variance"])
        x = x * per_channel["scales"] + per_channel["biases"]
        x = np.where(x > 0, x, 0.1 * x)
        index += 1
    x = convolve(x, arrays[f"{index}/weights"]) + arrays[f"{index}/biases"][:, None, None]
    return x.mean(axis=(2, 3))


def variables_with_still_channels(network):
    """Random ones, where every third channel hardly varies, as in the published weights."""
    variables = random_variables(network, (64, 64, 3))

    def still(path, leaf):
        if path[-1] == "var":
            leaf[::3] = 1e-13
        if path[-1] == "scale":
            leaf[::3] = 1e-6
        return leaf

    leaves = flatten_dict(variables)
    return unflatten_dict({path: still(path, leaf) for path, leaf in leaves.items()})


@pytest.mark.parametrize(
    ("make", "norm", "deviation"),
    [
        (darknet19, "darknet", lambda variance: np.sqrt(variance) + 1e-6),
        (tiny_darknet, "darknet", lambda variance: np.sqrt(variance) + 1e-6),
        (tiny_darknet, "usual", lambda variance: np.sqrt(variance + 1e-5)),
    ],
)
def test_logits_equal_the_published_layers(make, norm, deviation):
    network = make(classes=10, norm=norm)
    variables = variables_with_still_channels(network)
    arrays = foreign(variables, names.darknet(network))
    images = np.random.default_rng(1).standard_normal((2, 45, 38, 3), np.float32)
    expected = reference(CFG[make], arrays, images, deviation)
    assert error(apply(network, variables, images), expected) < LIMIT


@pytest.mark.parametrize(
    ("make", "parameters", "statistics"),
    [(darknet19, 20_842_376, 14_400), (tiny_darknet, 1_046_488 - 4384, 4384)],
)
def test_counts_are_the_published_ones(make, parameters, statistics):
    assert count(make(), 224) == (parameters, statistics)


@pytest.mark.parametrize("make", [darknet19, tiny_darknet])
def test_maps_have_the_sizes_that_their_strides_say(make):
    check_rounded_up(make(), 224, 224)
    check_rounded_up(make(), 97, 111)
    check_rounded_up(make(stem="small"), 64, 64)
    check_rounded_up(make(output_stride=8), 97, 111)
    assert list(darknet19(output_stride=16).backbone.strides.values()) == [1, 2, 4, 8, 16, 16]
    assert list(tiny_darknet(stem="small").backbone.strides.values()) == [1, 1, 2, 4, 8]


def small_darknet(**fields):
    table = (((2, 3),), ((3, 3),), ((4, 3), (2, 1)), ((4, 3),), ((4, 3), (3, 3)), ((4, 3), (5, 3)))
    return Network(Darknet(table=table, **fields), ConvHead(4))


def test_dilated_maps_hold_the_strided_ones():
    check_dilation(small_darknet, 96, 45, {(8, 4): 1})


@pytest.mark.parametrize("norm", ["darknet", "usual"])
def test_only_maps_are_in_bfloat16(norm):
    check_dtypes(functools.partial(small_darknet, norm=norm), 64)


def test_training_moves_the_statistics_of_valid_examples():
    check_training(small_darknet(stem="small"), 20, 24)


def test_darknets_norm_equals_the_usual_one_where_channels_vary():
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 3), np.float32)
    valid = np.asarray([1, 1, 1, 0])
    ours, usual = DarknetNorm(), nn.BatchNorm(momentum=0.99, epsilon=0)
    variables = ours.init(jax.random.key(0), x, train=False, valid=None)
    y, moved = ours.apply(variables, x, train=True, valid=valid, mutable=["batch_stats"])
    expected, statistics = usual.apply(
        variables,
        x,
        use_running_average=False,
        mask=valid[:, None, None, None] > 0,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), moved, statistics)


def test_a_blank_map_has_a_finite_gradient():
    blank = np.zeros((2, 3, 4, 5), np.float32)
    norm = DarknetNorm()
    variables = norm.init(jax.random.key(0), blank, train=False, valid=None)

    @jax.jit
    @jax.grad
    def gradient(blank):
        y, _ = norm.apply(variables, blank, train=True, valid=None, mutable=["batch_stats"])
        return (y + 1).prod()

    assert np.isfinite(gradient(blank)).all()


def test_a_norm_that_darknet_has_not_is_refused():
    with pytest.raises(UserError, match=r"norm 'batch'.*'darknet', 'usual'"):
        darknet19(norm="batch")


@pytest.mark.slow
@pytest.mark.skipif(
    not (FOLDER / "weights/tiny_darknet.weights").is_file(),
    reason="set VOCJAX_DEVKITS to a folder that holds weights/ and VOCdevkit_objects/VOC2009",
)
def test_published_weights_know_aeroplanes_from_dogs():
    network = tiny_darknet()
    like = {
        "/".join(path[1:]): (path, leaf.shape)
        for path, leaf in flatten_dict(shapes(network, (224, 224, 3))).items()
    }
    numbers, start = np.fromfile(FOLDER / "weights/tiny_darknet.weights", "<f4")[4:], 0
    leaves = {}
    for ours, (_, layout) in names.darknet(network).items():
        path, shape = like[ours]
        theirs = foreign_shape(shape, layout)
        array = numbers[start : start + np.prod(theirs)].reshape(theirs)
        leaves[path] = convert(array, layout, shape)
        start += array.size
    assert start == len(numbers)
    variables = unflatten_dict(leaves)
    labels = (FOLDER / "weights/tiny_darknet_labels.txt").read_text().splitlines()
    aircraft = [i for i, label in enumerate(labels) if label in AIRCRAFT]
    devkit = FOLDER / "VOCdevkit_objects/VOC2009"

    def photographs(name):
        lines = (devkit / f"ImageSets/Main/{name}_val.txt").read_text().splitlines()
        ids = [line.split()[0] for line in lines if line.split()[1] == "1"][:40]
        files = [Image.open(devkit / f"JPEGImages/{i}.jpg").convert("RGB") for i in ids]
        return np.stack([np.asarray(f.resize((224, 224)), np.float32) / 255 for f in files])

    def evidence(images):
        logits = apply(network, variables, images)
        return np.exp(logits - logits.max(axis=1, keepdims=True))[:, aircraft].sum(axis=1)

    aeroplanes, dogs = photographs("aeroplane"), photographs("dog")
    assert (evidence(aeroplanes)[:, None] > evidence(dogs)).mean() > 0.99
    arrays = foreign(variables, names.darknet(network))
    expected = reference(CFG[tiny_darknet], arrays, dogs[:2], lambda var: np.sqrt(var) + 1e-6)
    assert error(apply(network, variables, dogs[:2]), expected) < LIMIT
