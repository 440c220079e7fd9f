"""The contract of a task: pure functions over batches, and what they hand to each other."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image

from vocjax.metrics import streaming
from vocjax.models import draw
from vocjax.models.fields import image_shape

Variables = dict[str, Any]  # Flax's {"params": ..., "batch_stats": ...}
Batch = dict[str, jax.Array]  # `image` is float32 in [0, 1] here; the rest as in data/pipeline.py
Outputs = dict[str, jax.Array]  # of a model or a baseline, by name
Targets = dict[str, jax.Array]  # what loss and metrics compare outputs with; `weight` [batch]

THUMBNAIL = 40  # pixels
ENCODER = "encoder"  # the path of a network's encoder among its modules


class Measures(NamedTuple):
    """What a task measures of a batch: sums, and arrays [batch, ...] by name."""

    sums: Any  # a pytree that adds over batches, devices and hosts
    rows: Outputs  # for the metrics that need all examples of a split at once
    kept: Outputs  # what a finished run keeps of every example
    shown: Outputs  # larger arrays that it keeps of a few examples, for pictures


# A fit takes the training split once, batch by batch, in order, without padding.
Fit = Callable[[Iterator[Batch]], Any]
# Of a model's part with a closed form: also the variables that it completes, and the images' ids
# [n]. It returns the variables and, for run.json, what it found.
FitOfModel = Callable[[Variables, Iterator[Batch], np.ndarray], tuple[Variables, dict[str, Any]]]


class Baseline(NamedTuple):
    """A simple predictor that needs no gradient.

    `fit(batches)` returns what it learns from the training split, a pytree; `outputs(fitted,
    batch)` are outputs like those of a model.
    """

    fit: Fit
    outputs: Callable[[Any, Batch], Outputs]


class FrozenFeatures(NamedTuple):
    """What the frozen part of a network computes; `apply` reads it from a batch that holds `name`.

    `of(frozen)` gets the paths of the modules that are frozen, and returns what computes a pytree
    of arrays [batch, ...] from variables and a batch, or None where there is nothing to save.
    `before`: baselines and the final evaluation need them, too, of the network before training.
    """

    name: str
    of: Callable[[frozenset[str]], Callable[[Variables, Batch], Any] | None]
    before: bool = True


# The outputs of an image as NumPy arrays, and the example: `image` uint8 as in a batch, `mask` at
# the image's own size.
Original = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class Trained(NamedTuple):
    """What the final evaluation of a task works with."""

    variables: Variables
    fitted: Mapping[str, Any]  # what each baseline has learnt
    kept: Callable[[str], Mapping[str, np.ndarray]]  # of a split: arrays of every example
    shown: Mapping[str, np.ndarray]  # of a few examples from val
    before: Mapping[str, np.ndarray]  # `SPLIT/NAME` of the frozen features before training
    originals: Callable[[str], Iterator[Original]]  # of a split
    split: str  # to evaluate
    key: jax.Array  # for what is drawn
    artifacts: bool  # whether arrays for pictures are wanted, or only values
    # Where other data than the run's are measured: what its results.json holds. Nothing is chosen
    # or counted on train then, and `kept` knows `split` alone.
    results: Mapping[str, Any] | None = None


class Final(NamedTuple):
    """What the final evaluation adds to a run's results; `arrays` are kept for pictures."""

    values: Mapping[str, Any] = {}
    splits: Mapping[str, dict[str, float]] = {}  # by split
    baselines: Mapping[str, dict[str, dict[str, float]]] = {}  # by baseline and split
    arrays: Mapping[str, np.ndarray] = {}


class Description(NamedTuple):
    """What a task says about one photo: numbers by name, and pictures by the end of their name."""

    numbers: dict[str, float]
    pictures: dict[str, Image.Image]


class Task(NamedTuple):
    """A task as pure functions. Replace one with `task._replace(loss=...)`.

    - `init(key) -> variables`: a fresh draw;
    - `fit`: what then fits parts with a closed form to the training split; None for nothing;
    - `apply(variables, batch, train, key) -> (outputs, batch_stats)`;
    - `targets(batch) -> targets`: what loss and metrics need of a batch, computed once, with the
      example weight `weight` [batch], 0 for padding and for examples in which nothing is known;
    - `loss(outputs, targets) -> [batch]` float32; the mean over examples divides by their weights;
    - `measure(outputs, targets) -> Measures`; outputs are a model's or a baseline's;
    - `summary(sums, rows) -> {name: value}` of a split; without rows (`{}`) it leaves out the
      metrics that need them, with empty ones these are NaN;
    - `finish(trained) -> Final`: the final evaluation, each task's own;
    - `inspect(variables, fitted) -> {name: scalar}`: what the parameters show in comparison with
      the fitted baselines, logged every epoch; None for nothing;
    - `baselines`: simple predictors by name, the most trivial one first;
    - `features`: what a frozen part of the network needs to compute only once;
    - `own_size(run, photo)`: logits [h, w, outputs] of a photo uint8 [height, width, 3] at its own
      size, where `run` maps images uint8 [n, height, width, channels] to logits; None where the
      final evaluation and predictions see images as training does.
    """

    init: Callable[[jax.Array], Variables]
    apply: Callable[..., tuple[Outputs, Any]]
    targets: Callable[[Batch], Targets]
    loss: Callable[[Outputs, Targets], jax.Array]
    measure: Callable[[Outputs, Targets], Measures]
    summary: Callable[[Any, Mapping[str, np.ndarray]], dict[str, float]]
    finish: Callable[[Trained], Final]
    inspect: Callable[[Variables, Mapping[str, Any]], Outputs] | None = None
    baselines: Mapping[str, Baseline] = {}
    features: FrozenFeatures | None = None
    fit: FitOfModel | None = None
    own_size: Callable[[Callable[[np.ndarray], np.ndarray], np.ndarray], np.ndarray] | None = None


def summed(statistic: Callable[[Batch], Any]) -> Fit:
    """Return a fit that adds `statistic(batch)`, a pytree of sums, over the batches."""
    return lambda batches: functools.reduce(streaming.add, map(jax.jit(statistic), batches))


def initializer(model: nn.Module, config: ConfigDict) -> Callable[[jax.Array], Variables]:
    """Return `init(key)` of a model that takes images."""
    images, jitted = np.zeros((1, *image_shape(config)), np.float32), jax.jit(model.init)

    def init(key: jax.Array) -> Variables:
        variables = draw.variables(jitted, key, images)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    return init


def thumbnails(images: jax.Array) -> jax.Array:
    """Shrink images [batch, height, width, channels] in [0, 1] to uint8.

    Their longer side has `THUMBNAIL` pixels at most.
    """
    sides = images.shape[1:3]
    factor = min(1, THUMBNAIL / max(sides))
    height, width = (max(1, round(factor * side)) for side in sides)
    small = jax.image.resize(images, (len(images), height, width, images.shape[-1]), "cubic")
    return jnp.rint(255 * small.clip(0, 1)).astype(jnp.uint8)
