"""Encoders: the study's stages, and every backbone as the encoder of every network."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import draw_variables

from vocjax.config import load_config, with_backbone
from vocjax.errors import UserError
from vocjax.models import build
from vocjax.models.autoencoder import Encoder
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import CAFFE, apply
from vocjax.models.encoders import make_encoder
from vocjax.models.layers import ConvBlock, Style
from vocjax.models.ops import max_pool
from vocjax.training.phases import in_evaluation_mode

CONFIGS = Path(__file__).parents[2] / "configs"
OUTPUTS = 3
BUILDERS = {
    "reconstruction": build.autoencoder,
    "classification": lambda config: build.classifier(config, OUTPUTS),
    "segmentation": lambda config: build.segmenter(config, OUTPUTS),
}


@pytest.mark.parametrize(
    ("downsample", "stem"), [("pool", "same"), ("pool", "stride"), ("stride", "stride")]
)
def test_stages_are_before_halving_shallow_to_deep(downsample, stem):
    first = 2 if stem == "stride" else 1
    encoder = Encoder((3, 4, 5), Style(downsample=downsample), stem)
    assert encoder.strides == {"stage1": first, "stage2": 2 * first, "stage3": 4 * first}
    images = jnp.asarray(np.random.default_rng(0).random((2, 13, 23, 1)), jnp.float32)
    variables = draw_variables(encoder, images)

    @jax.jit
    def run(images):
        maps = encoder.apply(variables, images, method="stages")
        pool = functools.partial(max_pool, padding="VALID")
        halve = pool if downsample == "pool" else lambda x: x
        sampling = "same" if downsample == "pool" else "stride"
        again = {"stage1": ConvBlock(3, stem, encoder.style)}
        again |= {f"stage{i + 1}": ConvBlock((4, 5)[i - 1], sampling) for i in (1, 2)}
        inputs = [images, halve(maps["stage1"]), halve(maps["stage2"])]
        expected = {
            name: block.apply({"params": variables["params"][f"ConvBlock_{i}"]}, x, train=False)
            for i, ((name, block), x) in enumerate(zip(again.items(), inputs, strict=True))
        }
        return maps, expected, encoder.apply(variables, images)

    maps, expected, code = run(images)
    assert list(maps) == list(encoder.strides)
    for (name, stride), features in zip(encoder.strides.items(), encoder.filters, strict=True):
        np.testing.assert_allclose(maps[name], expected[name], rtol=1e-6, atol=1e-7)
        rounded_up = [-(-n // stride) for n in (13, 23)]
        if downsample == "stride":
            assert maps[name].shape == (2, *rounded_up, features)
    if downsample == "pool":  # odd sizes are rounded down; the stem's stride rounds up
        deepest = {"same": (3, 5), "stride": (1, 3)}[stem]
        assert maps["stage3"].shape == (2, *deepest, 5)
    np.testing.assert_array_equal(maps["stage3"], code)


@pytest.mark.parametrize(("size", "pools"), [((1, 8), 1), ((8, 3), 2)])
def test_images_that_pooling_would_empty_are_refused(size, pools):
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    message = f"images of {size[0]}x{size[1]} pixels can't be pooled {pools} times"
    with pytest.raises(UserError, match=message):
        jax.eval_shape(Encoder((2, 2, 2)).init, jax.random.key(0), images)


def with_model(name, **fields):
    """A config of configs/ with a backbone, at 96 pixels."""
    config = load_config(CONFIGS / f"{name}.py")
    with config.unlocked():
        with_backbone(config)
        config.data.size, config.data.channels = 96, 3
        config.update_from_flattened_dict({f"model.{k}": v for k, v in fields.items()})
    return config


def network_of(config):
    return BUILDERS[config.task](config)


def shapes(config):
    """Shapes of the outputs of a config's network for two images."""
    model = network_of(config)
    images = jax.ShapeDtypeStruct((2, *2 * (config.data.size,), config.data.channels), jnp.float32)
    outputs, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    return [x.shape for x in outputs]


FAST = ("squeezenet", "mobilenet_v2", "vgg16")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in BACKBONES]
)
def test_it_serves_as_the_encoder_of_a_unet(name):
    backbone = BACKBONES[name]().backbone
    strides = sorted(set(backbone.strides.values()))
    config = with_model("segmentation_unet", **{"backbone.name": name})
    config.model.decoder = tuple(4 for _ in strides[1:])
    assert shapes(config)[0] == (2, 96, 96, OUTPUTS)


@pytest.mark.parametrize("backbone", ["resnet18", "vgg16"])
@pytest.mark.parametrize(
    ("name", "fields", "output", "code"),
    [
        ("classifier_256", {}, (2, OUTPUTS), (3, 3)),
        ("autoencoder_256", {"decoder": 5 * (4,)}, (2, 96, 96, 3), (3, 3)),
        ("segmentation_fcn", {}, (2, 96, 96, OUTPUTS), (3, 3)),
        ("segmentation_deeplab", {"backbone.output_stride": 16}, (2, 96, 96, OUTPUTS), (6, 6)),
        ("segmentation_deeplab", {"backbone.output_stride": 8}, (2, 96, 96, OUTPUTS), (12, 12)),
    ],
)
def test_it_serves_every_other_network(backbone, name, fields, output, code):
    first, second = shapes(with_model(name, **{"backbone.name": backbone} | fields))
    assert (first, second[1:3]) == (output, code)


def test_a_frozen_backbone_stands_still_below_a_decoder():
    backbone = {"backbone.name": "resnet18", "backbone.stem": "small", "backbone.last": "conv3"}
    config = with_model("segmentation_unet", **backbone, decoder=(4,), norm="batch")
    model, images = network_of(config), jnp.ones((2, 16, 16, 3))
    variables = draw_variables(model, images)
    with in_evaluation_mode(frozenset({"encoder", "encoder/backbone"})):
        apply = functools.partial(model.apply, train=True, mutable=["batch_stats"])
        after = jax.jit(apply)(variables, images)[1]["batch_stats"]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), variables["batch_stats"], after)
    assert not any(jax.tree.leaves(moved["encoder"]))
    assert all(jax.tree.leaves(moved["decoder"]))


@pytest.mark.parametrize("network", ["autoencoder_256", "segmentation_dice"])
def test_a_map_that_no_doubling_brings_back_is_refused(network):
    config = with_model(network, **{"backbone.name": "squeezenet", "decoder": 4 * (4,)})
    with pytest.raises(UserError, match="squeezenet makes a map of 5 x 5 of 96 pixels, not of 6"):
        network_of(config)
    config.model.backbone.stem = "small"
    config.model.decoder = config.model.decoder[:2]
    network_of(config)


def test_images_are_prepared_inside():
    backbone = {"backbone.name": "squeezenet", "backbone.stem": "small", "backbone.last": "fire2"}
    config = with_model("classifier_256", **backbone)
    plain = make_encoder(config)
    config.model.backbone.preprocessing.update(CAFFE._asdict())
    preparing = make_encoder(config)
    images = jnp.asarray(np.random.default_rng(0).random((2, 8, 8, 3), np.float32))
    variables = draw_variables(plain, images)

    @jax.jit
    def both(images):
        return plain.apply(variables, apply(CAFFE, images)), preparing.apply(variables, images)

    expected, got = both(images)
    assert np.any(expected)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone.name": "vgg11"}, "model.backbone.name is 'vgg11'; it is one of alexnet, vgg16"),
        ({"backbone.stem": "tiny"}, "stem is 'tiny'; it is one of imagenet, small"),
        ({"backbone.output_stride": 4}, "output_stride is 4; it is one of 8, 16, 32"),
        ({"backbone.last": "conv9"}, "last is 'conv9'; it is one of conv1, fire2"),
        ({"backbone.fields": (("variant", "keras"),)}, "fields is .*squeezenet does not know"),
        ({"backbone.fields": ("keras",)}, "fields is .*squeezenet does not know"),
        ({"backbone.preprocessing.mean": (0.0,)}, "preprocessing is .*three channels"),
        ({"encoder": (4, 4)}, r"has model\.backbone and model\.encoder"),
    ],
)
def test_mistakes_are_named(fields, message):
    config = with_model("classifier_256", **{"backbone.name": "squeezenet"} | fields)
    with pytest.raises(UserError, match=message):
        network_of(config)


@pytest.mark.parametrize(
    ("backbone", "data", "message"),
    [
        ("alexnet", {"channels": 1}, r"have 1 channels, .* set data.channels to 3"),
        ("vgg16", {"size": 8}, "must be at least 32"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_what_to_do(backbone, data, message):
    config = with_model("segmentation_unet", **{"backbone.name": backbone})
    config.model.decoder = (4,) * (3 if backbone == "alexnet" else 5)
    config.data.update(data)
    with pytest.raises(UserError, match=message):
        shapes(config)
