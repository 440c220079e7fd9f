"""Random weights: of a whole network, in our layout and by foreign names; and of a run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.config import to_json
from vocjax.models.backbones import BACKBONES, SOURCES, size
from vocjax.pretrained.matching import flatten, restore_names
from vocjax.pretrained.store import IMAGE, Imported, write_imported
from vocjax.runs.checkpoints import Checkpoints
from vocjax.tasks import make_task

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


def imported(directory, backbone, source, skipped=("head/kernel",), arrays=None):
    """Write imported weights that have all facts and, unless given, no arrays."""
    (_, preprocessing, fields), arrays = SOURCES[backbone][source], arrays or {}
    file, made = {"name": "a.pth", "sha256": "0" * 64, "bytes": 9}, ("", None, {})
    facts = backbone, fields, source, preprocessing, None, list(skipped), [], file
    numbers = sum(array.size for array in arrays.values())
    write_imported(directory, Imported(*facts, numbers, *made, arrays))
    return directory


def write_run(workdir, config):
    """Write a run's config and a checkpoint of random variables; return these."""
    rng = np.random.default_rng(0)
    leaves = jax.eval_shape(make_task(config).init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: jnp.asarray(rng.random(leaf.shape, np.float32)), leaves)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(to_json(config))
    with Checkpoints(workdir, config) as checkpoints:
        checkpoints.save(1, variables)
    return variables


def same(got, expected):
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
