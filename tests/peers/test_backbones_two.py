"""Inception v1 and v3: logits, auxiliary heads and moved statistics equal torchvision's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.backbones.parity import apply, error, foreign, random_variables

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from vocjax.models.backbones.inception_v1 import inception_v1
from vocjax.models.backbones.inception_v3 import inception_v3
from vocjax.weights.names import inception_v1 as names_v1
from vocjax.weights.names import inception_v3 as names_v3

# ours, its names, torchvision's, the modules whose output the auxiliary heads have
V1 = (inception_v1, names_v1, torchvision.models.GoogLeNet, ("aux1", "aux2"))
V3 = (inception_v3, names_v3, torchvision.models.Inception3, ("AuxLogits",))
LIMIT = 1e-4  # of the largest logit, in float32


def twins(family, size, auxiliary=False):
    """Our network, its random variables, and torchvision's with the same."""
    make, names, peer_class, _ = family
    network = make(classes=10, auxiliary=auxiliary)
    variables = random_variables(network, (*size, 3))
    peer = peer_class(num_classes=10, aux_logits=auxiliary, init_weights=False).eval()
    arrays = {
        name: torch.from_numpy(np.ascontiguousarray(array))
        for name, array in foreign(variables, names.torchvision(network)).items()
    }
    missing, left = peer.load_state_dict(arrays, strict=False)
    assert not left
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network, variables, peer


def images(size, batch=2):
    return np.random.default_rng(1).standard_normal((batch, *size, 3), np.float32)


def channels_first(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize(
    ("family", "size"),
    [(V1, (224, 224)), (V1, (97, 111)), (V3, (299, 299)), (V3, (107, 122))],
    ids=str,
)
def test_logits_equal_torchvisions(family, size):
    network, variables, peer = twins(family, size)
    x = images(size)
    with torch.no_grad():
        expected = peer(channels_first(x)).numpy()
    assert error(apply(network, variables, x), expected) < LIMIT
