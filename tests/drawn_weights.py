"""Weights of a whole network, in our layout and as others have them."""

import functools

import numpy as np

from vocjax.models.backbones import BACKBONES, SOURCES, size
from vocjax.pretrained.matching import flatten, restore_names
from vocjax.pretrained.store import IMAGE

CLASSES = 3
shapes = functools.cache(size.shapes)  # tracing a network takes most of an import's time


@functools.cache
def drawn(backbone, source):
    """(our arrays by path, those of them that the source names by its names), all different."""
    chosen, rng = SOURCES[backbone][source], np.random.default_rng(0)
    network = BACKBONES[backbone](CLASSES, **chosen.fields)
    leaves = flatten(shapes(network, IMAGE))
    ours = {path: rng.random(leaf.shape, np.float32) + 0.1 for path, leaf in leaves.items()}
    names = chosen.key_map(network)
    return ours, restore_names({p: a for p, a in ours.items() if p in names}, names)


def same(got, expected):
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], array)
