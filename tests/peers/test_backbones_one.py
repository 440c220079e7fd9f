"""Logits equal torchvision's with the same weights: padding, epsilon, strides and names are its."""

import jax.numpy as jnp
import numpy as np
import pytest
from models.backbones.parity import apply, error, foreign, random_variables

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from vocjax.models.backbones import BACKBONES
from vocjax.weights import names

PEERS = {"squeezenet": "squeezenet1_1"}
MODULES = {}
LIMIT = 1e-4  # of the largest logit, in float32


def compare(name, size, **fields):
    network = BACKBONES[name](classes=10, **fields)
    variables = random_variables(network, (*size, 3))
