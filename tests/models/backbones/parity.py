"""What tests of networks share: random variables, arrays by a peer's names, and an error."""

import jax
import numpy as np

from experiments.parity import error, random_variables
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.matching import flatten, restore_names

__all__ = ["apply", "error", "foreign", "random_variables", "shapes"]


def foreign(variables, key_map):
    """Arrays by the peer's names: every variable has one, and no two have the same."""
    flat = flatten(variables)
    assert set(flat) == set(key_map)
    arrays = restore_names(flat, key_map)
    assert len(arrays) == len(key_map)
    return arrays


def apply(network, variables, images):
    return np.asarray(jax.jit(network.apply)(variables, images))
