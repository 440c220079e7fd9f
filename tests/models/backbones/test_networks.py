"""Whole networks as shapes: sizes of maps, keys of every source, and what is published."""

import functools

import jax
import pytest
from models.backbones.cases import CASES, SHAPE, of_each, traced

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.keys import foreign_shape
from vocjax.pretrained.matching import flatten


@functools.cache
def variables_of(name, **fields):
    """Shapes of a network's variables by path: "backbone/conv1/conv/kernel"."""
    network = BACKBONES[name](**fields)
    variables, maps = traced(network.backbone)
    *_, deepest = maps.values()
    head = jax.eval_shape(network.head.init, jax.random.key(0), deepest)
    parts = {"backbone": flatten(variables), "head": flatten(head)}
    return {f"{part}/{path}": leaf for part, flat in parts.items() for path, leaf in flat.items()}


@of_each(CASES)
def test_maps_have_the_sizes_and_channels_that_are_stated(name, fields):
    backbone = BACKBONES[name](**fields).backbone
    variables, maps = traced(backbone)
    assert list(backbone.channels) == list(backbone.strides) == list(backbone.plan)
    assert list(backbone.strides.values()) == sorted(backbone.strides.values())
    assert set(variables["params"]) <= set(maps)  # a stage's parameters lie under its name
    for stage, stride in backbone.strides.items():
        assert maps[stage].shape[3] == backbone.channels[stage]
        for pixels, values in zip(SHAPE, maps[stage].shape[1:3], strict=False):
            missing = -(-pixels // stride) - values
            assert 0 <= missing <= (0 if fields.get("padding") == "same" else 5)


@pytest.mark.parametrize(
    ("name", "source"), [(name, source) for name in SOURCES for source in SOURCES[name]]
)
def test_a_key_map_has_every_variable_once(name, source):
    _, _, fields = SOURCES[name][source]
    network, paths = BACKBONES[name](**fields), variables_of(name, **fields)
    assert {field: getattr(network.backbone, field) for field in fields} == fields
    key_map = SOURCES[name][source].key_map(network)
    assert len({theirs for theirs, _ in key_map.values()}) == len(key_map)
    assert set(key_map) <= set(paths)
    missing = set(paths) - set(key_map)
    heads = {path for path in paths if path.startswith("head/")}
    assert missing == (heads if (name, source) == ("mobilenet_v2", "gluon") else set())


@pytest.mark.parametrize(
    ("name", "smallest", "words"),
    [
        ("vgg16", 32, r"31x31 pixels .* stage pool5"),
        ("alexnet", 63, r"62x62 pixels .* stage pool5"),
        ("inception_v3", 75, r'74x74 pixels and needs at least 75x75.*padding to "same"'),
    ],
)
def test_images_that_are_too_small_are_refused(name, smallest, words):
    backbone = BACKBONES[name]().backbone
    *_, deepest = traced(backbone, (smallest, smallest, 3))[1].values()
    assert deepest.shape[1:3] == (1, 1)
    with pytest.raises(UserError, match=words):
        traced(backbone, (smallest - 1, smallest - 1, 3))


# What is published: rows of the maps of 224 or 299 pixels, and columns of those of 97 pixels.
VALUES = {
    "alexnet": (224, (55, 27, 13, 13, 13, 6), (23, 11, 5, 5, 5, 2)),
    "vgg16": (224, (224, 112, 56, 28, 14, 7), (97, 48, 24, 12, 6, 3)),
    "resnet18": (224, (112, 56, 28, 14, 7), (49, 25, 13, 7, 4)),
    "resnet50": (224, (112, 56, 28, 14, 7), (49, 25, 13, 7, 4)),
    "darknet19": (224, (224, 112, 56, 28, 14, 7), (97, 49, 25, 13, 7, 4)),
    "tiny_darknet": (224, (224, 112, 56, 28, 14), (97, 49, 25, 13, 7)),
    "mobilenet": (
        224,
        (112, 112, 56, 56, 28, 28, *(14,) * 6, 7, 7),
        (49, 49, 24, 24, 12, 12, *(6,) * 6, 3, 3),
    ),
    "mobilenet_v2": (
        224,
        (112, 112, 56, 56, 28, 28, 28, *(14,) * 7, *(7,) * 5),
        (49, 49, 25, 25, 13, 13, 13, *(7,) * 7, *(4,) * 5),
    ),
    "squeezenet": (224, (111, 55, 55, *(27,) * 2, *(13,) * 4), (48, 24, 24, 12, 12, *(6,) * 4)),
    "inception_v1": (
        224,
        (112, 56, 28, 28, *(14,) * 5, 7, 7),
        (49, 24, 12, 12, *(6,) * 5, 3, 3),  # a convolution rounds up, a pool of 3 down
    ),
    "inception_v3": (
        299,
        (149, 147, 147, 73, 71, *(35,) * 3, *(17,) * 5, *(8,) * 3),
        (48, 46, 46, 22, 20, *(9,) * 3, *(4,) * 5, *(1,) * 3),
    ),
    "xception": (299, (147, 74, 37, *(19,) * 9, 10, 10), (46, 23, 12, *(6,) * 9, 3, 3)),
}
PUBLISHED = {  # torchvision's parameters without statistics, the others' with
    "torchvision": {
        "alexnet": 61_100_840,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
        "resnet18": 11_689_512,
        "resnet50": 25_557_032,
        "inception_v1": 6_624_904,
        "inception_v3": 23_834_568,
        "mobilenet_v2": 3_504_872,
        "squeezenet": 1_235_496,
    },
    "keras": {
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
        "resnet50": 25_636_712,
        "inception_v3": 23_851_784,
        "xception": 22_910_480,
        "mobilenet": 4_253_864,
        "mobilenet_v2": 3_538_984,
    },
    "darknet": {"darknet19": 20_856_776, "tiny_darknet": 1_046_488},
}


@pytest.mark.parametrize("name", VALUES)
def test_maps_have_the_published_sizes(name):
    height, rows, columns = VALUES[name]
    source, *_ = SOURCES[name].values()
    _, maps = traced(BACKBONES[name](**source.fields).backbone, (height, 97, 3))
    assert tuple(leaf.shape[1] for leaf in maps.values()) == rows
    assert tuple(leaf.shape[2] for leaf in maps.values()) == columns


@pytest.mark.parametrize(
    ("source", "name"), [(source, name) for source in PUBLISHED for name in PUBLISHED[source]]
)
def test_variables_are_as_many_as_published(source, name):
    leaves = variables_of(name, **SOURCES[name][source].fields)
    left_out = ("norm/mean", "norm/var") if source == "torchvision" else ()
    counted = sum(leaf.size for path, leaf in leaves.items() if not path.endswith(left_out))
    assert counted == PUBLISHED[source][name]


# Shapes of some tensors in the state dicts of timm's models.
TIMM = {
    "vgg16": {
        "features.28.weight": (512, 512, 3, 3),
        "pre_logits.fc1.weight": (4096, 512, 7, 7),
        "pre_logits.fc2.weight": (4096, 4096, 1, 1),
        "head.fc.weight": (1000, 4096),
    },
    "mobilenet_v2": {
        "conv_stem.weight": (32, 3, 3, 3),
        "blocks.0.0.conv_dw.weight": (32, 1, 3, 3),
        "blocks.0.0.conv_pw.weight": (16, 32, 1, 1),
        "blocks.0.0.bn2.bias": (16,),
        "blocks.1.0.conv_pw.weight": (96, 16, 1, 1),
        "blocks.3.3.conv_pwl.weight": (64, 384, 1, 1),
        "blocks.6.0.bn3.running_var": (320,),
        "conv_head.weight": (1280, 320, 1, 1),
        "classifier.bias": (1000,),
    },
}


@pytest.mark.parametrize("name", TIMM)
def test_timms_tensors_have_the_shapes_of_its_models(name):
    source = SOURCES[name]["timm"]
    leaves = variables_of(name, **source.fields)
    key_map = source.key_map(BACKBONES[name](**source.fields))
    made = {
        theirs: foreign_shape(leaves[path].shape, layout)
        for path, (theirs, layout) in key_map.items()
    }
    assert {tensor: made[tensor] for tensor in TIMM[name]} == TIMM[name]
