"""What every backbone promises: shapes by stride, parameters by stage, published sizes."""

import functools

import jax
import jax.numpy as jnp
import pytest
from models.backbones.parity import shapes

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES

# Values that 224, 97 and, with the small stem, 64 pixels have in the map of each stage.
VALUES = {
    "alexnet": ((55, 27, 13, 13, 13, 6), (23, 11, 5, 5, 5, 2), (64, 64, 31, 31, 31, 15)),
    "vgg16": ((224, 112, 56, 28, 14, 7), (97, 48, 24, 12, 6, 3), (64, 64, 32, 16, 8, 4)),
    "resnet18": ((112, 56, 28, 14, 7), (49, 25, 13, 7, 4), (64, 64, 32, 16, 8)),
    "resnet50": ((112, 56, 28, 14, 7), (49, 25, 13, 7, 4), (64, 64, 32, 16, 8)),
    "mobilenet": (
        (112, 112, 56, 56, 28, 28, *(14,) * 6, 7, 7),
        (49, 49, 24, 24, 12, 12, *(6,) * 6, 3, 3),
        (64, 64, 32, 32, 16, 16, *(8,) * 6, 4, 4),
    ),
    "mobilenet_v2": (
        (112, 112, 56, 56, 28, 28, 28, *(14,) * 7, *(7,) * 5),
        (49, 49, 25, 25, 13, 13, 13, *(7,) * 7, *(4,) * 5),
        (64, 64, 32, 32, 16, 16, 16, *(8,) * 7, *(4,) * 5),
    ),
    "squeezenet": (
        (111, 55, 55, 27, 27, 13, 13, 13, 13),
        (48, 24, 24, 12, 12, 6, 6, 6, 6),
        (64, 64, 64, 32, 32, 16, 16, 16, 16),
    ),
}
PARAMETERS = {  # torchvision's, without statistics
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "squeezenet": 1_235_496,
}
VARIABLES = {  # Keras's, with statistics
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet50": 25_636_712,
    "mobilenet": 4_253_864,
    "mobilenet_v2": 3_538_984,
}
HAVE_KERAS_VARIANT = ("resnet50", "mobilenet_v2")

variables_of = functools.cache(
    lambda name, **fields: shapes(BACKBONES[name](**fields), (224, 224, 3))
)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@functools.cache
def maps_of(name, image_shape, **fields):
    """Shapes of the stages' maps in the backbone's order."""
    backbone = BACKBONES[name](**fields).backbone
    # Other parameters than of the plain network would be refused.
    variables = {kind: tree["backbone"] for kind, tree in variables_of(name).items()}
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    stages = functools.partial(backbone.apply, method="stages")
    maps = jax.eval_shape(stages, variables, images)
    assert set(maps) == set(backbone.strides)
    return backbone, [maps[name] for name in backbone.strides]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_as_torchvision_publishes_them(name):
    assert size(variables_of(name)["params"]) == PARAMETERS[name]


@pytest.mark.parametrize("name", VARIABLES)
def test_parameters_as_keras_publishes_them(name):
    fields = {"variant": "keras"} if name in HAVE_KERAS_VARIANT else {}
    assert size(variables_of(name, **fields)) == VARIABLES[name]


@pytest.mark.parametrize("name", VALUES)
def test_maps_have_the_published_shapes(name):
    backbone, maps = maps_of(name, (224, 97, 3))
    assert tuple(m.shape[1] for m in maps) == VALUES[name][0]
    assert tuple(m.shape[2] for m in maps) == VALUES[name][1]
    assert [m.shape[3] for m in maps] == list(backbone.channels.values())
    assert list(backbone.channels) == list(backbone.strides)
    # AlexNet and SqueezeNet don't pad all that strides.
    short = 1 if name in ("alexnet", "squeezenet") else 0
    for m, stride in zip(maps, backbone.strides.values(), strict=True):
        for pixels, values in zip((224, 97), m.shape[1:3], strict=True):
            assert pixels // stride - short <= values <= -(-pixels // stride)


@pytest.mark.parametrize("name", VALUES)
def test_the_small_stem_keeps_more_of_an_image_with_the_same_parameters(name):
    backbone, maps = maps_of(name, (64, 64, 3), stem="small")
    assert tuple(m.shape[1] for m in maps) == VALUES[name][2]
    first, *_, deepest = backbone.strides.values()
    assert first == 1
    *_, plain = BACKBONES[name]().backbone.strides.values()
    assert plain // deepest == {"alexnet": 8, "vgg16": 2, "mobilenet": 2, "mobilenet_v2": 2}.get(
        name, 4
    )


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", VALUES)
def test_dilation_keeps_maps_large_and_parameters_as_they_are(name, output_stride):
    strided, expected = maps_of(name, (224, 97, 3))
    backbone, maps = maps_of(name, (224, 97, 3), output_stride=output_stride)
    assert backbone.channels == strided.channels
    assert list(backbone.strides.values()) == [
        min(stride, output_stride) for stride in strided.strides.values()
    ]
    largest = [
        m for m, s in zip(expected, strided.strides.values(), strict=True) if s <= output_stride
    ]
    assert [m.shape[1] for m in maps[: len(largest)]] == [m.shape[1] for m in largest]
    assert {m.shape[1] for m in maps[len(largest) :]} <= {largest[-1].shape[1]}


@pytest.mark.parametrize("name", VALUES)
def test_parameters_of_a_stage_lie_under_its_name(name):
    variables = variables_of(name)
    assert set(variables["params"]) == {"backbone", "head"}
    stages = list(BACKBONES[name]().backbone.strides)
    assert set(variables["params"]["backbone"]) <= set(stages)
    assert set(variables["params"]["backbone"]) >= set(stages) - {"pool5"}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "squeezenet"])  # one of each head
def test_a_call_gives_the_deepest_map_and_logits_in_float32(name):
    network = BACKBONES[name](classes=7, dtype=jnp.bfloat16, stem="small")
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = shapes(network, (64, 64, 3))
    logits = jax.eval_shape(network.apply, variables, images)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)
    of_backbone = {kind: tree["backbone"] for kind, tree in variables.items() if "backbone" in tree}
    deepest = jax.eval_shape(network.backbone.apply, of_backbone, images)
    last = list(network.backbone.strides)[-1]
    stages = functools.partial(network.backbone.apply, method="stages")
    expected = jax.eval_shape(stages, of_backbone, images)[last]
    assert (deepest.shape, deepest.dtype) == (expected.shape, jnp.bfloat16)


@pytest.mark.parametrize(("name", "smallest"), [("vgg16", 32), ("alexnet", 63)])
def test_images_that_are_too_small_are_refused(name, smallest):
    _, maps = maps_of(name, (smallest, smallest, 3))
    assert maps[-1].shape[1:3] == (1, 1)
    for pixels in (smallest - 1, 8):
        with pytest.raises(UserError, match=rf"{pixels}x{pixels} pixels .* stage (pool|conv)\d"):
            maps_of(name, (pixels, pixels, 3))
