"""What a task is: a handful of pure functions over batches, and nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.layers import check_poolable, check_widths

Variables = dict[str, Any]  # Flax's {"params": ..., "batch_stats": ...}
Outputs = dict[str, jax.Array]
Batch = dict[str, jax.Array]  # `image` is float32 in [0, 1] here; the rest as in data/pipeline.py

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Baseline(NamedTuple):
    """A trivial predictor that learns one statistic of the training split.

    `statistic(batch)` is a pytree that adds over batches; `outputs(statistic, batch)` are then
    outputs like a model's.
    """

    statistic: Callable[[Batch], Any]
    outputs: Callable[[Any, Batch], Outputs]


class Task(NamedTuple):
    """A task as pure functions. Swap one with `task._replace(loss=...)`.

    - `init(key) -> variables`;
    - `fit(images [n, height, width, channels]) -> variables`, for a model with a closed form: then
      `config.epochs` is 0. None for the others;
    - `apply(variables, batch, train, key) -> (outputs, batch_stats)`;
    - `loss(outputs, batch) -> [batch]` float32;
    - `metrics(outputs, batch) -> pytree` of sums that add over batches, devices and hosts;
    - `summary(sums) -> {name: value}`;
    - `keep(outputs, batch) -> (every, some)`: arrays kept of every example, and larger ones kept
      of the few that are shown;
    - `baselines`: trivial predictors, by name.
    """

    init: Callable[[jax.Array], Variables]
    fit: Callable[[jax.Array], Variables] | None
    apply: Callable[..., tuple[Outputs, Any]]
    loss: Callable[[Outputs, Batch], jax.Array]
    metrics: Callable[[Outputs, Batch], Any]
    summary: Callable[[Any], dict[str, float]]
    keep: Callable[[Outputs, Batch], tuple[Outputs, Outputs]]
    baselines: Mapping[str, Baseline]


def compute_dtype(config: ConfigDict) -> DTypeLike:
    """Return the computation's dtype by `config.precision`; parameters stay float32."""
    if config.precision not in DTYPES:
        raise UserError(f"precision is {config.precision!r}; it is one of {', '.join(DTYPES)}.")
    return DTYPES[config.precision]


def image_shape(config: ConfigDict) -> tuple[int, int, int]:
    """Return (height, width, channels) of the config's images."""
    return config.data.size, config.data.size, config.data.channels


def check_encoder(config: ConfigDict) -> None:
    """Raise `UserError` unless `model.encoder` is widths that halve the config's images."""
    check_widths("model.encoder", config.model.encoder)
    check_poolable(config.data.size, len(config.model.encoder) - 1)


def check_encoder_and_decoder(config: ConfigDict) -> None:
    """Raise `UserError` unless `model.decoder` also doubles as often as the encoder halves."""
    check_encoder(config)
    check_widths("model.decoder", config.model.decoder)
    halvings = len(config.model.encoder) - 1
    if len(config.model.decoder) != halvings:
        raise UserError(
            f"model.decoder has {len(config.model.decoder)} widths; an encoder of {halvings + 1} "
            f"halves the image {halvings} times, so it takes {halvings}."
        )


def initializer(model: nn.Module, config: ConfigDict) -> Callable[[jax.Array], Variables]:
    """Return `init(key)` for a model that takes images."""
    shape = (1, *image_shape(config))

    def init(key: jax.Array) -> Variables:
        variables = model.init(key, jnp.zeros(shape))
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    return init


def applier(model: nn.Module, names: tuple[str, str]) -> Callable[..., tuple[Outputs, Any]]:
    """Return `apply(variables, batch, train, key)` for a model that gives two named outputs."""

    def apply(
        variables: Variables, batch: Batch, train: bool, key: jax.Array
    ) -> tuple[Outputs, Any]:
        outputs, updates = model.apply(
            variables,
            batch["image"],
            train=train,
            valid=batch["valid"],
            rngs={"dropout": key},
            mutable=["batch_stats"] if train else [],
        )
        named = dict(zip(names, outputs, strict=True))
        return named, updates.get("batch_stats", variables["batch_stats"])

    return apply


def group_by_class(labels: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    """Return for each image [n, 20] the first of `columns` present, as its position; 0 for none."""
    if not columns:
        return np.zeros(len(labels), int)
    return np.argmax(labels[:, list(columns)] == 1, axis=1)
