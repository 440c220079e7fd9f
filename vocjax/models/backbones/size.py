"""The shapes of a network's variables."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def shapes(module: nn.Module, image_shape: Sequence[int]) -> dict[str, Any]:
    """Return the variables' tree of a network, a backbone or a stage, with shapes as leaves.

    The module is called with images [1, *image_shape], `train` and `valid`; nothing is computed.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    init = functools.partial(module.init, train=False, valid=None)
    return jax.eval_shape(init, jax.random.key(0), images)
