"""Inception v1 and v3 equal torchvision's with the same weights: logits, auxiliary heads, training.

Padding, rounding, epsilon and names are its.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from models.backbones.parity import error, foreign, random_variables

from vocjax.models.backbones.inception_v1 import inception_v1
from vocjax.models.backbones.inception_v3 import inception_v3
from vocjax.weights.names import inception_v1 as names_v1
from vocjax.weights.names import inception_v3 as names_v3

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

LIMIT = 1e-4  # of the largest value, in float32


class Family(NamedTuple):
    """Ours and its peer; the peer's module before each auxiliary head, and that head, by stage."""

    make: Any
    names: Any
    peer: Any
    heads: dict[str, tuple[str, str]]


FAMILIES = {
    "v1": Family(
        inception_v1,
        names_v1,
        torchvision.models.GoogLeNet,
        {"inception4a": ("inception4a", "aux1"), "inception4d": ("inception4d", "aux2")},
    ),
    "v3": Family(
        inception_v3,
        names_v3,
        torchvision.models.Inception3,
        {"mixed6e": ("Mixed_6e", "AuxLogits")},
    ),
}


def twins(family, size, auxiliary):
    """Our network, its random variables, and torchvision's network with the same."""
    network = family.make(classes=10, auxiliary=auxiliary)
    variables = random_variables(network, (*size, 3))
    peer = family.peer(num_classes=10, aux_logits=auxiliary, init_weights=False)
    arrays = foreign(variables, family.names.torchvision(network))
    tensors = {name: torch.tensor(np.ascontiguousarray(a)) for name, a in arrays.items()}
    missing, left = peer.load_state_dict(tensors, strict=False)
    assert not left
    assert all(name.endswith("num_batches_tracked") for name in missing)
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


@pytest.mark.parametrize(
    ("family", "size", "auxiliary"),
    [
        ("v1", (97, 111), True),
        ("v3", (107, 122), False),
        pytest.param("v1", (224, 224), False, marks=pytest.mark.slow),
        pytest.param("v3", (299, 299), True, marks=pytest.mark.slow),
    ],
)
def test_logits_equal_torchvisions(family, size, auxiliary):
    family = FAMILIES[family]
    network, variables, peer = twins(family, size, auxiliary)
    ours, theirs = both(size)
    apply = jax.jit(functools.partial(network.apply, mutable=["auxiliary"]))
    logits, state = apply(variables, ours)
    expected, maps = outputs(peer.eval(), theirs)
    assert error(np.asarray(logits), expected.numpy()) < LIMIT

    heads = state.get("auxiliary", {})
    assert set(heads) == (set(family.heads) if auxiliary else set())
    for stage, got in heads.items():
        before, head = family.heads[stage]
        with torch.no_grad():
            expected = getattr(peer, head)(maps[before])
        assert error(np.asarray(got), expected.numpy()) < LIMIT


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
    assert error(np.asarray(deepest).transpose(0, 3, 1, 2), expected["Mixed_5d"].numpy()) < LIMIT
    # Running variances differ: torch divides a sum of squares by one less.
    state = peer.state_dict()
    names = family.names.torchvision(network)
    means = {path: x for path, x in flatten_dict(statistics).items() if path[-1] == "mean"}
    assert len(means) == 26
    for path, mean in means.items():
        name, _ = names["/".join(("backbone", *path))]
        assert error(np.asarray(mean), state[name].numpy()) < LIMIT
