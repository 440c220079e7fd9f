"""Networks equal torchvision's with the same weights: padding, epsilon, strides, keys, training."""

import functools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from models.backbones.parity import apply, error, foreign, random_variables

from experiments.parity import TORCHVISION, parity_error, torchvision_model
from vocjax.models.backbones import BACKBONES, SOURCES

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

LIMIT = 1e-4  # of the largest value, in float32


# One odd size and one even size: windows that stride lie otherwise.
@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(name, marks=pytest.mark.slow if name.startswith("vgg") else ())
        for name in TORCHVISION
    ],
)
def test_logits_equal_torchvision(backbone):
    assert parity_error(backbone, "torchvision", (97, 112, 3), 10) < LIMIT


def twins(backbone, shape, **fields):
    """(our network, its variables, keys, torchvision's network with the same weights)."""
    name, options = TORCHVISION[backbone]
    source = SOURCES[backbone]["torchvision"]
    network = BACKBONES[backbone](10, **source.fields, **fields)
    variables, keys = random_variables(network, shape), source.key_map(network)
    dilation = {"replace_stride_with_dilation": [False, True, True]} if fields else {}
    arrays = foreign(variables, keys)
    peer = torchvision_model(name, arrays, num_classes=10, **options, **dilation)
    return network, variables, keys, peer


def images_of(shape):
    """Random images, channels last and first."""
    images = np.random.default_rng(1).standard_normal((2, *shape), np.float32)
    return images, torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@pytest.mark.slow
def test_dilated_logits_equal_torchvision():
    network, variables, _, peer = twins("resnet50", (97, 111, 3), output_stride=8)
    ours, theirs = images_of((97, 111, 3))
    with torch.inference_mode():
        expected = peer(theirs).numpy()
    assert error(apply(network, variables, ours), expected) < LIMIT


def test_training_equals_torchvisions():
    shape = (75, 83, 3)
    network, variables, keys, peer = twins("inception_v3", shape)
    ours, theirs = images_of(shape)
    backbone = {collection: tree["backbone"] for collection, tree in variables.items()}
    # Deeper maps have so few values here that batch norm makes much of a rounding.
    early = [name for name in network.backbone.strides if name <= "mixed5d"]

    @jax.jit
    def train(variables, images):
        stages = functools.partial(network.backbone.apply, method="stages", train=True)
        maps, state = stages(variables, images, mutable=["batch_stats"])
        return maps["mixed5d"], {name: state["batch_stats"][name] for name in early}

    deepest, statistics = train(backbone, ours)
    kept = []
    peer.Mixed_5d.register_forward_hook(lambda _, __, y: kept.append(y.numpy()))
    with torch.no_grad():
        peer.train()(theirs)
    assert error(np.asarray(deepest), kept[0].transpose(0, 2, 3, 1)) < LIMIT
    # Running variances differ: torch divides a sum of squares by one less.
    state = peer.state_dict()
    means = {path: x for path, x in flatten_dict(statistics).items() if path[-1] == "mean"}
    assert len(means) == 26
    for path, mean in means.items():
        name, _ = keys["/".join(("backbone", *path))]
        assert error(np.asarray(mean), state[name].numpy()) < LIMIT
