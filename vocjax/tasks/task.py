"""What a task is: a handful of pure functions over batches, and nothing else."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict
from PIL import Image

from vocjax.errors import UserError
from vocjax.metrics import streaming
from vocjax.models import draw

Variables = dict[str, Any]  # Flax's {"params": ..., "batch_stats": ...}
Outputs = dict[str, jax.Array]
Batch = dict[str, jax.Array]  # `image` is float32 in [0, 1] here; the rest as in data/pipeline.py

THUMBNAIL = 40  # pixels
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


# What is fitted takes the training split once, batch by batch, in order, without padding.
Fit = Callable[[Iterator[Batch]], Any]


class Baseline(NamedTuple):
    """A simple predictor that needs no gradient.

    `fit(batches)` gives what it learns of the training split, a pytree; `outputs(fitted, batch)`
    are then outputs like a model's.
    """

    fit: Fit
    outputs: Callable[[Any, Batch], Outputs]


class Features(NamedTuple):
    """What a frozen part of a model gives of an image, which then is computed only once.

    `compute(variables, batch)` gives arrays that `apply` takes from the batch, where they are in
    it, in the place of running `module`, which is the part's path.
    """

    module: str
    compute: Callable[[Variables, Batch], Outputs]


class Whole(NamedTuple):
    """Metrics that need all examples of a split at once.

    `collect(outputs, batch)` gives arrays [batch, ...]; `summary(arrays)` gets them of the whole
    split, as NumPy arrays [n, ...], and gives {name: value} for the `names`.
    """

    collect: Callable[[Outputs, Batch], Outputs]
    summary: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    names: tuple[str, ...]


class Scored(NamedTuple):
    """What is measured once, when training is over, beside the metrics of every epoch.

    `values` {name: value} join the results, `splits` {split: {name: value}} those of a split,
    `baselines` {baseline: {split: {name: value}}} those of the simple predictors; `arrays` are kept
    for pictures.
    """

    values: dict[str, Any]
    splits: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, dict[str, float]]]
    arrays: dict[str, np.ndarray]


# A model's outputs of an image, and that: `image` uint8 as in a batch, `mask` of its own size.
Original = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class Description(NamedTuple):
    """What a task says of one photo: numbers by name, and pictures by the ending of their name."""

    numbers: dict[str, float]
    pictures: dict[str, Image.Image]


class Codec(NamedTuple):
    """The two halves of an autoencoder, on flat codes of `numbers` numbers.

    `encode(variables, images [n, height, width, channels]) -> [n, numbers]`;
    `decode(variables, codes [n, numbers]) -> images`.
    """

    encode: Callable[[Variables, jax.Array], jax.Array]
    decode: Callable[[Variables, jax.Array], jax.Array]
    numbers: int


class Task(NamedTuple):
    """A task as pure functions. Swap one with `task._replace(loss=...)`.

    - `init(key) -> variables`;
    - `fit(variables, batches) -> variables`, for a model that has parts in closed form; None for
      the others;
    - `apply(variables, batch, train, key) -> (outputs, batch_stats)`;
    - `loss(outputs, batch) -> [batch]` float32;
    - `counted(batch) -> [batch]`: 1 for examples that have a part in the mean loss, 0 for those in
      which no class is known, which lose their part of a joint loss, too; None where every example
      has;
    - `metrics(outputs, batch) -> pytree` of sums that add over batches, devices and hosts;
    - `summary(sums) -> {name: value}`;
    - `keep(outputs, batch) -> (every, some)`: arrays kept of every example, and larger ones kept
      of the few that are shown;
    - `baselines`: simple predictors, by name; the most trivial one first;
    - `codec`: encoder and decoder by themselves, for a model that has both;
    - `inspect(variables, fitted) -> (values, arrays)`: what the parameters themselves tell beside
      the fitted baselines: scalars that are logged every epoch, arrays that are kept at the end;
    - `whole`: metrics of a split that don't add over batches;
    - `score(samples, originals, split) -> Scored`: what is measured at the end, from the arrays
      kept of every example and from each image's own mask: `originals(split)` yields `Original`s;
    - `features`: what its frozen part gives. Baselines then find the features before training in
      their batches, and codes before and after training are compared.
    """

    init: Callable[[jax.Array], Variables]
    fit: Callable[[Variables, Iterator[Batch]], Variables] | None
    apply: Callable[..., tuple[Outputs, Any]]
    loss: Callable[[Outputs, Batch], jax.Array]
    metrics: Callable[[Outputs, Batch], Any]
    summary: Callable[[Any], dict[str, float]]
    keep: Callable[[Outputs, Batch], tuple[Outputs, Outputs]]
    baselines: Mapping[str, Baseline]
    codec: Codec | None = None
    inspect: Callable[[Variables, Mapping[str, Any]], tuple[Outputs, Outputs]] | None = None
    whole: Whole | None = None
    score: (
        Callable[[Mapping[str, np.ndarray], Callable[[str], Iterator[Original]], str], Scored]
        | None
    ) = None
    features: Features | None = None
    counted: Callable[[Batch], jax.Array] | None = None


def summed(statistic: Callable[[Batch], Any]) -> Fit:
    """Return a fit that adds `statistic(batch)`, a pytree of sums, over the batches."""
    return lambda batches: functools.reduce(streaming.merge, map(jax.jit(statistic), batches))


def compute_dtype(config: ConfigDict) -> DTypeLike:
    """Return the computation's dtype by `config.precision`; parameters stay float32."""
    if config.precision not in DTYPES:
        raise UserError(f"precision is {config.precision!r}; it is one of {', '.join(DTYPES)}.")
    return DTYPES[config.precision]


def image_shape(config: ConfigDict) -> tuple[int, int, int]:
    """Return (height, width, channels) of the config's images."""
    return config.data.size, config.data.size, config.data.channels


def initializer(model: nn.Module, config: ConfigDict) -> Callable[[jax.Array], Variables]:
    """Return `init(key)` for a model that takes images."""
    images = np.zeros((1, *image_shape(config)), np.float32)

    def init(key: jax.Array) -> Variables:
        variables = draw.variables(model, key, images)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    return init


def applier(
    model: nn.Module, names: tuple[str, ...], known: tuple[str, ...] = ()
) -> Callable[..., tuple[Outputs, Any]]:
    """Return `apply(variables, batch, train, key)` for a model that gives outputs of these names.

    It takes the images, and of `known` what is in the batch (see `Features`).
    """

    def apply(
        variables: Variables, batch: Batch, train: bool, key: jax.Array
    ) -> tuple[Outputs, Any]:
        outputs, updates = model.apply(
            variables,
            batch["image"],
            *(batch[name] for name in known if name in batch),
            train=train,
            valid=batch["valid"],
            rngs={"dropout": key},
            mutable=["batch_stats"] if train else [],
        )
        named = dict(zip(names, outputs, strict=True))
        return named, updates.get("batch_stats", variables["batch_stats"])

    return apply


def thumbnails(images: jax.Array) -> jax.Array:
    """Shrink images [batch, height, width, channels] in [0, 1] to `THUMBNAIL` pixels, uint8."""
    side = min(THUMBNAIL, images.shape[1])
    small = jax.image.resize(images, (len(images), side, side, images.shape[-1]), "cubic")
    return jnp.rint(255 * small.clip(0, 1)).astype(jnp.uint8)


def codec_of(model: nn.Module, config: ConfigDict) -> Codec:
    """Return the codec of a model with the methods `encode` and `decode`."""
    images = jnp.zeros((1, *image_shape(config)))

    def run(variables: Variables, argument: jax.Array, method: str) -> jax.Array:
        result = model.apply(variables, argument, method=method)
        assert isinstance(result, jax.Array)  # nothing is mutable, so nothing else comes back
        return result

    def code(key: jax.Array) -> jax.Array:
        return run(dict(model.init(key, images)), images, "encode")

    shape = jax.eval_shape(code, jax.random.key(0)).shape[1:]

    def encode(variables: Variables, images: jax.Array) -> jax.Array:
        codes = run(variables, images, "encode")
        return codes.reshape(images.shape[0], -1).astype(jnp.float32)

    def decode(variables: Variables, codes: jax.Array) -> jax.Array:
        return run(variables, codes.reshape(-1, *shape), "decode")

    return Codec(encode, decode, math.prod(shape))
