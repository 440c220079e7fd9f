"""Every backbone is an encoder of every task; what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.config import with_backbone
from vocjax.errors import UserError
from vocjax.models import build, draw
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import CAFFE, apply
from vocjax.models.encoders import make_encoder
from vocjax.tasks import make_task
from vocjax.training.phases import in_evaluation_mode


def batch_of(config, n=2):
    side, channels = config.data.size, config.data.channels
    return {
        "image": jax.ShapeDtypeStruct((n, side, side, channels), jnp.float32),
        "valid": jax.ShapeDtypeStruct((n,), jnp.float32),
    }


def shapes(task, config, n=2):
    """Shapes of the outputs of a task's network for a batch of images."""
    batch = batch_of(config, n)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, key)
    outputs, _ = jax.eval_shape(lambda v, b, k: task.apply(v, b, True, k), variables, batch, key)
    return {name: x.shape for name, x in outputs.items()}


def with_model(tiny_config, name, **fields):
    """A config of configs/ with a backbone, at 96 pixels."""
    config = tiny_config(name)
    with config.unlocked():
        with_backbone(config)
        config.data.size, config.data.channels = 96, 3
        config.update_from_flattened_dict({f"model.{k}": v for k, v in fields.items()})
    return config


def some_slow(names, fast):
    """Parameters of which a few run with the fast tests."""
    return [pytest.param(n, marks=() if n in fast else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", some_slow(BACKBONES, ("squeezenet", "vgg16")))
def test_it_serves_as_the_encoder_of_a_unet(tiny_config, name):
    backbone = BACKBONES[name]().backbone
    strides = sorted(set(backbone.strides.values()))
    config = with_model(tiny_config, "segmentation_unet", **{"backbone.name": name})
    config.model.decoder = tuple(4 for _ in strides[1:])
    assert shapes(make_task(config), config)["logits"] == (2, 96, 96, 1)


@pytest.mark.parametrize("name", some_slow(["resnet18", "mobilenet_v2", "vgg16"], ("resnet18",)))
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("head", ["deeplab", "fcn"])
def test_it_serves_deeplab_and_fcn_at_each_output_stride(tiny_config, name, output_stride, head):
    fields = {"backbone.name": name, "backbone.output_stride": output_stride}
    config = with_model(tiny_config, f"segmentation_{head}", **fields)
    found = shapes(make_task(config), config)
    assert found["logits"] == (2, 96, 96, 21)
    assert found["code"][1:3] == (96 // output_stride, 96 // output_stride)


@pytest.mark.parametrize(
    "config", ["segmentation_unet", "segmentation_fcn", "segmentation_deeplab"]
)
def test_it_stands_still_below_each_decoder(tiny_config, config):
    config = with_model(tiny_config, config, **{"backbone.name": "resnet18"})
    config.model.update({"decoder": (4,) * 4} if config.model.name == "unet" else {})
    task, key = make_task(config), jax.random.key(0)
    variables = jax.eval_shape(task.init, key)

    def after(statistics, params, batch):
        return task.apply({"params": params, "batch_stats": statistics}, batch, True, key)[1]

    with in_evaluation_mode(frozenset({"encoder", "encoder/backbone"})):
        statistics, params = variables["batch_stats"], variables["params"]
        traced = jax.make_jaxpr(after)(statistics, params, batch_of(config)).jaxpr
    # What stands still comes out as the very variable that went in.
    paths = [path for path, _ in jax.tree.leaves_with_path(statistics)]
    pairs = zip(paths, traced.outvars, traced.invars, strict=False)
    moved = [path[0].key for path, new, old in pairs if new is not old]
    assert tuple({path[0].key for path in paths} - set(moved)) == ("encoder",)
    assert bool(moved) == (config.model.norm == "batch")


@pytest.mark.parametrize("name", ["squeezenet", "resnet18"])
def test_it_serves_a_classifier(tiny_config, name):
    config = with_model(tiny_config, "classifier_256", **{"backbone.name": name})
    assert shapes(make_task(config), config)["logits"] == (2, 2)


@pytest.mark.parametrize("name", some_slow(["resnet18", "vgg16"], ("vgg16",)))
def test_it_serves_an_autoencoder(tiny_config, name):
    config = with_model(
        tiny_config, "autoencoder_256", **{"backbone.name": name, "decoder": 5 * (4,)}
    )
    assert shapes(make_task(config), config)["image"] == (2, 96, 96, 3)


@pytest.mark.parametrize("network", ["autoencoder_256", "segmentation_dice"])
def test_a_map_that_no_doubling_brings_back_is_refused(tiny_config, network):
    config = with_model(
        tiny_config, network, **{"backbone.name": "squeezenet", "decoder": 4 * (4,)}
    )
    with pytest.raises(UserError, match="squeezenet makes a map of 5 x 5 of 96 pixels, not of 6"):
        make_task(config)
    config.model.backbone.stem = "small"
    config.model.decoder = config.model.decoder[:2]
    make_task(config)


def test_images_are_prepared_inside(tiny_config):
    fields = {"backbone.name": "squeezenet", "backbone.last": "fire2"}
    config = with_model(tiny_config, "classifier_256", **fields)
    plain = make_encoder(config)
    config.model.backbone.preprocessing.update(CAFFE._asdict())
    preparing = make_encoder(config)
    images = jnp.asarray(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    variables = draw.variables(plain, jax.random.key(0), images)
    expected = jax.jit(plain.apply)(variables, apply(CAFFE, images))
    assert np.any(expected)
    ours = jax.jit(preparing.apply)(variables, images)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "vgg11"}, "model.backbone.name is 'vgg11'; it is one of alexnet, vgg16"),
        ({"stem": "tiny"}, "no stem 'tiny'"),
        ({"output_stride": 4}, "no output_stride 4"),
        ({"last": "conv9"}, "no last 'conv9'; set it to one of '', 'conv1', 'fire2'"),
        ({"fields": (("variant", "keras"),)}, "fields is .*squeezenet does not know"),
        ({"fields": ("keras",)}, "fields is .*squeezenet does not know"),
        ({"preprocessing.mean": (0.0,)}, "preprocessing is .*three channels"),
    ],
)
def test_mistakes_are_named(tiny_config, fields, message):
    config = with_model(tiny_config, "classifier_256", **{"backbone.name": "squeezenet"})
    with config.unlocked():
        config.update_from_flattened_dict({f"model.backbone.{k}": v for k, v in fields.items()})
    with pytest.raises(UserError, match=message):
        make_task(config)


def test_two_encoders_are_refused(tiny_config):
    config = with_model(tiny_config, "classifier_256", **{"backbone.name": "squeezenet"})
    with config.unlocked():
        config.model.encoder = (4, 4)
    with pytest.raises(UserError, match=r"has model\.backbone and model\.encoder"):
        make_task(config)


def test_grey_images_are_refused(tiny_config):
    config = with_model(tiny_config, "segmentation_unet", **{"backbone.name": "alexnet"})
    config.data.channels, config.model.decoder = 1, (4, 4, 4)
    with pytest.raises(UserError, match=r"have 1 channels, .* set data.channels to 3"):
        shapes(make_task(config), config)


def test_small_images_are_refused_with_what_to_do(tiny_config):
    config = with_model(tiny_config, "segmentation_unet", **{"backbone.name": "vgg16"})
    config.data.size, config.model.decoder = 8, (4, 4, 4, 4, 4)
    with pytest.raises(UserError, match="must be at least 32"):
        build.segmenter(config, 1)
