"""Inception v1 and v3 equal torchvision's with the same weights: maps, logits, training.

Padding, rounding, epsilon and names are its.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from models.backbones.parity import error, foreign, random_variables

from vocjax.models.backbones.inception_v1 import MODULES, inception_v1
from vocjax.models.backbones.inception_v3 import MIXED, STEM, inception_v3
from vocjax.pretrained.names import inception_v1 as names_v1
from vocjax.pretrained.names import inception_v3 as names_v3
from vocjax.pretrained.parity import torchvision_model

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

LIMIT = 1e-4  # of the largest value, in float32


class Family(NamedTuple):
    """Ours, its peer's name, its modules by our stages, auxiliary heads by the stage before."""

    make: Any
    names: Any
    peer: str
    modules: dict[str, str]
    heads: dict[str, str]


FAMILIES = {
    "v1": Family(
        inception_v1,
        names_v1,
        "googlenet",
        {"conv1": "conv1", "conv2": "conv3"} | {name: name for name in MODULES},
        {"inception4a": "aux1", "inception4d": "aux2"},
    ),
    "v3": Family(
        inception_v3,
        names_v3,
        "inception_v3",
        {
            **{stage: f"Conv2d_{stage[-2:]}_{side}x{side}" for stage, (_, side) in STEM.items()},
            **{stage: f"Mixed_{stage[-2:]}" for stage in MIXED},
        },
        {"mixed6e": "AuxLogits"},
    ),
}


def twins(family, size, auxiliary):
    """Our network, its random variables, and torchvision's network with the same."""
    network = family.make(classes=10, auxiliary=auxiliary)
    variables = random_variables(network, (*size, 3))
    arrays = foreign(variables, family.names.torchvision(network))
    fields = {"num_classes": 10, "aux_logits": auxiliary, "init_weights": False}
    peer = torchvision_model(family.peer, arrays, **fields)
    return network, variables, peer


def both(size):
    """Random images, channels last and first."""
    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)
    return images, torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def outputs(peer, images):
    """The network's output and, by name, those of its modules."""
    kept = {}
    for name, module in peer.named_children():
        module.register_forward_hook(lambda _, __, y, name=name: kept.update({name: y}))
    with torch.no_grad():
        return peer(images), kept


def channels_last(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("v1", (97, 111)),
        ("v3", (107, 122)),
        pytest.param("v1", (224, 224), marks=pytest.mark.slow),
        pytest.param("v3", (299, 299), marks=pytest.mark.slow),
    ],
)
def test_maps_and_logits_equal_torchvisions(family, size):
    family = FAMILIES[family]
    network, variables, peer = twins(family, size, auxiliary=False)
    ours, theirs = both(size)

    def run(network, images):
        maps = network.backbone.stages(images)
        return maps, network.head(maps[list(maps)[-1]])

    maps, logits = jax.jit(functools.partial(network.apply, method=run))(variables, ours)
    expected_logits, expected = outputs(peer.eval(), theirs)
    assert set(maps) == set(family.modules)
    for stage, module in family.modules.items():
        assert error(np.asarray(maps[stage]), channels_last(expected[module])) < LIMIT
    assert error(np.asarray(logits), expected_logits.numpy()) < LIMIT


@pytest.mark.parametrize(
    ("family", "size"),
    [("v1", (97, 111)), pytest.param("v3", (299, 299), marks=pytest.mark.slow)],
)
def test_auxiliary_logits_equal_torchvisions(family, size):
    family = FAMILIES[family]
    network, variables, peer = twins(family, size, auxiliary=True)
    ours, theirs = both(size)
    apply = jax.jit(functools.partial(network.apply, mutable=["auxiliary"]))
    logits, state = apply(variables, ours)
    expected, maps = outputs(peer.eval(), theirs)
    assert error(np.asarray(logits), expected.numpy()) < LIMIT
    assert set(state["auxiliary"]) == set(family.heads)
    for stage, head in family.heads.items():
        with torch.no_grad():
            expected = getattr(peer, head)(maps[family.modules[stage]])
        assert error(np.asarray(state["auxiliary"][stage]), expected.numpy()) < LIMIT


def test_training_equals_torchvisions():
    family, size = FAMILIES["v3"], (75, 83)
    network, variables, peer = twins(family, size, auxiliary=False)
    ours, theirs = both(size)
    backbone = {collection: tree["backbone"] for collection, tree in variables.items()}
    # Deeper maps have so few values here that batch norm makes much of a rounding.
    early = [name for name in network.backbone.strides if name <= "mixed5d"]

    @jax.jit
    def train(variables, images):
        stages = functools.partial(network.backbone.apply, method="stages", train=True)
        maps, state = stages(variables, images, mutable=["batch_stats"])
        return maps["mixed5d"], {name: state["batch_stats"][name] for name in early}

    deepest, statistics = train(backbone, ours)
    _, expected = outputs(peer.train(), theirs)
    assert error(np.asarray(deepest), channels_last(expected["Mixed_5d"])) < LIMIT
    # Running variances differ: torch divides a sum of squares by one less.
    state = peer.state_dict()
    names = family.names.torchvision(network)
    means = {path: x for path, x in flatten_dict(statistics).items() if path[-1] == "mean"}
    assert len(means) == 26
    for path, mean in means.items():
        name, _ = names["/".join(("backbone", *path))]
        assert error(np.asarray(mean), state[name].numpy()) < LIMIT
