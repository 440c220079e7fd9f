"""Task 2: which of the chosen classes an image shows, one sigmoid a class."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vocjax import losses, metrics
from vocjax.data.splits import class_columns
from vocjax.errors import UserError
from vocjax.models.autoencoder import Encoder
from vocjax.models.classifier import Classifier
from vocjax.models.layers import STYLE_FIELDS, check_fields, style_of
from vocjax.tasks.task import (
    Baseline,
    Batch,
    Outputs,
    Task,
    applier,
    check_encoder,
    compute_dtype,
    initializer,
    summed,
)


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    columns = jnp.asarray(class_columns(config.data.classes))
    if columns.size < 2:
        raise UserError("data.classes must name at least two classes to tell apart.")
    if config.loss.name != "binary_cross_entropy":
        raise UserError(
            f"loss.name is {config.loss.name!r}; classification has binary_cross_entropy."
        )
    model = build_model(config)

    def target(batch: Batch) -> tuple[jax.Array, jax.Array]:
        states = batch["labels"][:, columns]
        return (states == 1).astype(jnp.float32), (states != 0).astype(jnp.float32)

    def loss(outputs: Outputs, batch: Batch) -> jax.Array:
        return losses.binary_cross_entropy(outputs["logits"], *target(batch))

    def measure(outputs: Outputs, batch: Batch) -> dict[str, metrics.Mean]:
        logits, (truth, weight) = outputs["logits"], target(batch)
        probability = jax.nn.sigmoid(logits)
        values = {
            "log_loss": metrics.log_loss(logits, truth, weight),
            "elementwise_accuracy": metrics.elementwise_accuracy(probability, truth, weight),
            "argmax_accuracy": metrics.argmax_accuracy(logits, truth, weight),
            "exact_match": metrics.exact_match(probability, truth, weight),
        }
        return {name: metrics.mean(value, batch["valid"]) for name, value in values.items()}

    def class_sums(batch: Batch) -> tuple[jax.Array, jax.Array]:
        truth, weight = target(batch)
        weight = weight * batch["valid"][:, None]
        return (truth * weight).sum(axis=0), weight.sum(axis=0)

    def class_frequency(statistic: Any, batch: Batch) -> Outputs:
        present, counted = statistic
        # Half an image keeps the logit finite for a class that is always or never there.
        logits = jnp.log((present + 0.5) / (counted - present + 0.5))
        return {"logits": jnp.broadcast_to(logits, (batch["image"].shape[0], columns.size))}

    return Task(
        init=initializer(model, config),
        fit=None,
        apply=applier(model, ("logits", "code")),
        loss=loss,
        metrics=measure,
        summary=lambda sums: {name: metrics.value(s) for name, s in sums.items()},
        keep=keep,
        baselines={"majority class (frequency)": Baseline(summed(class_sums), class_frequency)},
    )


def build_model(config: ConfigDict) -> Classifier:
    """Return the classifier that `config.model` describes."""
    model = config.model
    if model.name != "classifier":
        raise UserError(f"model.name is {model.name!r}; classification has classifier.")
    check_encoder(config)
    check_fields(model, ("encoder", *(field for field in STYLE_FIELDS if field != "upsample")))
    encoder = Encoder(tuple(model.encoder), style_of(model, compute_dtype(config)))
    return Classifier(encoder, len(config.data.classes), model.kernel_init)


def keep(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
    """Keep every image's probabilities [batch, classes]; show images."""
    return {"probability": jax.nn.sigmoid(outputs["logits"])}, {"image": batch["image"]}


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: Mapping[str, Any],
) -> tuple[dict[str, float], None]:
    """Return one example's probability of each class, and no picture."""
    probability = np.exp(-np.logaddexp(0, -outputs["logits"].astype(np.float64)))
    classes = config["data"]["classes"]
    return {name: float(p) for name, p in zip(classes, probability, strict=True)}, None
