"""What tests of backbones share: random weights, those by a peer's names, and a comparison."""

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from vocjax.models.backbones.size import shapes
from vocjax.pretrained.layouts import restore
from vocjax.pretrained.parity import error, random_variables

__all__ = ["apply", "error", "foreign", "random_variables", "shapes"]


def foreign(variables, names):
    """Arrays by the peer's names; every variable has one, and no two the same."""
    flat = {"/".join(path[1:]): leaf for path, leaf in flatten_dict(variables).items()}
    assert set(flat) == set(names)
    arrays = {name: restore(flat[path], layout) for path, (name, layout) in names.items()}
    assert len(arrays) == len(names)
    return arrays


def apply(network, variables, images):
    return np.asarray(jax.jit(network.apply)(variables, images))
