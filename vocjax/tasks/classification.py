"""Task 2: which of the chosen classes an image shows, by softmax or one sigmoid a class."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses, painting
from vocjax.data.splits import class_columns
from vocjax.errors import UserError
from vocjax.losses.weights import softmax_columns
from vocjax.metrics import streaming
from vocjax.metrics.classification import METRICS, classification_metrics
from vocjax.models.autoencoder import Encoder
from vocjax.models.classifier import POOLINGS, Classifier, Head, pooled
from vocjax.models.layers import (
    INITIALIZERS,
    STYLE_FIELDS,
    check_fields,
    check_poolable,
)
from vocjax.tasks import probes
from vocjax.tasks.encoders import ENCODERS, encoder_and_decoder, make_encoder
from vocjax.tasks.task import (
    Batch,
    Description,
    Features,
    Outputs,
    Task,
    Variables,
    Whole,
    applier,
    initializer,
    thumbnails,
)

EXCLUSIVE = "softmax_cross_entropy"
Labels = TypeVar("Labels", jax.Array, np.ndarray)
LOSSES = (EXCLUSIVE, "binary_cross_entropy", "focal")
LOSS_FIELDS = ("name", "label_smoothing", "class_weights", "gamma", "reconstruction")
HEAD_FIELDS = ("hidden", "pooling", "head_dropout", "head_init")
MODEL_FIELDS = (*ENCODERS, "decoder", *HEAD_FIELDS, *STYLE_FIELDS)


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    columns = jnp.asarray(class_columns(config.data.classes))
    if columns.size < 2:
        raise UserError(
            f"data.classes must name at least two classes to tell apart, not "
            f"{', '.join(config.data.classes) or 'none'}: an image is taken that shows one of them."
        )
    check_loss(config)
    model, exclusive = build_model(config), config.loss.name == EXCLUSIVE
    names = ("logits", "code", *(() if model.decoder is None else ("reconstruction",)))

    def target(batch: Batch) -> tuple[jax.Array, jax.Array]:
        present, known = present_and_known(batch["labels"][:, columns], exclusive)
        return present.astype(jnp.float32), known.astype(jnp.float32)

    def counted(batch: Batch) -> jax.Array:
        return (target(batch)[1] > 0).any(axis=1)

    def probability(outputs: Outputs, weight: jax.Array) -> jax.Array:
        logits = outputs["logits"]
        if exclusive:  # what is excluded has no part in the softmax, as in the loss
            return jax.nn.softmax(logits, where=softmax_columns(weight))
        return jax.nn.sigmoid(logits)

    def loss(outputs: Outputs, batch: Batch) -> jax.Array:
        truth, weight = target(batch)
        value = class_loss(config.loss, outputs["logits"], truth, weight)
        if config.loss.reconstruction:
            error = losses.mse(outputs["reconstruction"], batch["image"])
            value = value + config.loss.reconstruction * error
        return value

    def measure(outputs: Outputs, batch: Batch) -> dict[str, streaming.Mean]:
        logits, (truth, weight) = outputs["logits"], target(batch)
        entropy = losses.softmax_cross_entropy if exclusive else losses.binary_cross_entropy
        p = probability(outputs, weight)
        values = {
            "log_loss": entropy(logits, truth, weight),
            "elementwise_accuracy": streaming.elementwise_accuracy(p, truth, weight),
            "argmax_accuracy": streaming.argmax_accuracy(logits, truth, weight),
            "exact_match": streaming.exact_match(p, truth, weight),
        }
        decidable = batch["valid"] * counted(batch)
        means = {name: streaming.mean(value, decidable) for name, value in values.items()}
        if "reconstruction" in outputs:
            error = losses.mse(outputs["reconstruction"], batch["image"])
            means["mse"] = streaming.mean(error, batch["valid"])
        return means

    def collect(outputs: Outputs, batch: Batch) -> Outputs:
        truth, weight = target(batch)
        return {"probability": probability(outputs, weight), "target": truth, "weight": weight}

    def codes(known: Outputs | Batch) -> jax.Array:
        return pooled(known["code"], config.model.pooling)

    def keep(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
        every = collect(outputs, batch)
        every |= {"code": codes(outputs), "thumbnail": thumbnails(batch["image"])}
        some = {"image": batch["image"], "evidence": outputs["evidence"]}
        if "reconstruction" in outputs:
            some["reconstruction"] = outputs["reconstruction"]
        return every, some

    return Task(
        init=initializer(model, config),
        fit=None,
        apply=explained(applier(model, names, ("code",)), model),
        loss=loss,
        metrics=measure,
        summary=lambda sums: {name: streaming.value(s) for name, s in sums.items()},
        keep=keep,
        baselines=probes.baselines(target, exclusive, codes, joint=model.decoder is not None),
        whole=Whole(
            collect,
            lambda arrays: classification_metrics(**arrays, exclusive=exclusive),
            METRICS,
        ),
        features=Features(
            "encoder", lambda variables, batch: {"code": encode(model, variables, batch)}
        ),
        counted=counted,
    )


def build_model(config: ConfigDict) -> Classifier:
    """Return the classifier that `config.model` describes."""
    model = config.model
    if model.name != "classifier":
        raise UserError(f"model.name is {model.name!r}; classification has classifier.")
    check_fields(model, MODEL_FIELDS)
    if model.pooling not in POOLINGS:
        raise UserError(f"model.pooling is {model.pooling!r}; it is one of {', '.join(POOLINGS)}.")
    if not 0 <= model.head_dropout < 1:
        raise UserError(f"model.head_dropout is {model.head_dropout}; it must be in [0, 1).")
    if model.head_init not in INITIALIZERS:
        raise UserError(
            f"model.head_init is {model.head_init!r}; it is one of {', '.join(INITIALIZERS)}."
        )
    if not all(type(width) is int and width > 0 for width in model.hidden):
        raise UserError(f"model.hidden is {model.hidden!r}; it is positive integers, (128,).")
    head = Head(
        len(config.data.classes),
        tuple(model.hidden),
        model.pooling,
        model.head_dropout,
        model.activation,
        model.kernel_init,
        model.head_init,
    )
    if not model.decoder:
        encoder = make_encoder(config)
        if isinstance(encoder, Encoder):  # its poolings leave nothing out then
            check_poolable(config.data.size, int(math.log2(max(encoder.strides.values()))))
        return Classifier(encoder, head)
    if model.upsample == "unpool":
        raise UserError(
            "model.upsample is 'unpool', which needs the encoder's switches; a joint network "
            "decodes the code alone: nearest, bilinear or transposed."
        )
    encoder, decoder = encoder_and_decoder(config, config.data.channels)
    return Classifier(encoder, head, decoder)


def check_loss(config: ConfigDict) -> None:
    """Raise `UserError` for a loss that is none, or that does not fit the model."""
    loss = config.loss
    if loss.name not in LOSSES:
        raise UserError(f"loss.name is {loss.name!r}; it is one of {', '.join(LOSSES)}.")
    if unknown := set(loss) - set(LOSS_FIELDS):
        raise UserError(
            f"loss has no field {', '.join(sorted(unknown))}; it has {', '.join(LOSS_FIELDS)}."
        )
    if not 0 <= loss.label_smoothing < 1:
        raise UserError(f"loss.label_smoothing is {loss.label_smoothing}; it must be in [0, 1).")
    if not 0 <= loss.gamma < math.inf:
        raise UserError(f"loss.gamma is {loss.gamma}; it must be at least 0.")
    classes, factors = config.data.classes, loss.class_weights
    numbers = all(isinstance(f, int | float) and 0 < f < math.inf for f in factors)
    if factors and (len(factors) != len(classes) or not numbers):
        raise UserError(
            f"loss.class_weights is {factors!r}; it is empty or {len(classes)} positive numbers, "
            f"for {', '.join(classes)}."
        )
    joint = bool(config.model.decoder)
    if not 0 <= loss.reconstruction < math.inf or bool(loss.reconstruction) != joint:
        raise UserError(
            f"loss.reconstruction is {loss.reconstruction} and model.decoder "
            f"{config.model.decoder!r}: a joint network has a weight above 0 and a decoder's "
            "widths, any other has neither."
        )


def class_loss(
    config: ConfigDict, logits: jax.Array, truth: jax.Array, weight: jax.Array
) -> jax.Array:
    """Return the loss [batch] that `config` (a config's `loss`) names, of the classes alone.

    Class weights multiply what present classes lose, as PyTorch's pos_weight and weight do, and the
    mean over columns and images does not divide by them.

    Shapes: `logits`, `truth` (0 or 1) and `weight` (0 where difficult) [batch, classes].
    """
    exclusive = config.name == EXCLUSIVE
    soft = losses.smooth_labels(truth, weight, config.label_smoothing, exclusive)
    columns = weight
    if config.class_weights:
        factors = jnp.asarray(config.class_weights)
        weight = losses.class_weights(truth, weight, factors, exclusive)
    if exclusive:
        return losses.softmax_cross_entropy(logits, soft, weight)
    if config.name == "focal":
        value = losses.focal(logits, soft, weight, config.gamma)
    else:
        value = losses.binary_cross_entropy(logits, soft, weight)
    if not config.class_weights:
        return value
    # A mean by weights would not let an image of a class that counts more count more.
    return value * weight.sum(axis=1) / jnp.maximum(columns.sum(axis=1), 1)


def present_and_known(states: Labels, exclusive: bool) -> tuple[Labels, Labels]:
    """Return which classes [n, classes] are present, and which of them count, both bool.

    Difficult ones (state 0) don't; of exclusive classes none does where all but one are difficult,
    as there is nothing to decide.
    """
    known = states != 0
    if exclusive:
        known = known & (known.sum(axis=1, keepdims=True) > 1)
    return states == 1, known


def encode(model: Classifier, variables: Variables, batch: Batch) -> jax.Array:
    """Return the codes [batch, h, w, features] of a batch in evaluation mode."""
    code = model.apply(variables, batch["image"], method="encode")
    assert isinstance(code, jax.Array)
    return code


def explained(
    apply: Callable[..., tuple[Outputs, Any]], model: Classifier
) -> Callable[..., tuple[Outputs, Any]]:
    """Add the `evidence` of the likeliest class to a classifier's outputs, in evaluation."""

    def with_evidence(
        variables: Variables, batch: Batch, train: bool, key: jax.Array
    ) -> tuple[Outputs, Any]:
        outputs, batch_stats = apply(variables, batch, train, key)
        if not train:
            outputs = outputs | {"evidence": evidence(model, variables, outputs["code"])}
        return outputs, batch_stats

    return with_evidence


def evidence(model: Classifier, variables: Variables, code: jax.Array) -> jax.Array:
    """Return what each place of the code adds to the logit of the likeliest class, [batch, h, w].

    The logit's gradient times the code, summed over features: for a head of one layer these are
    the very terms of the logit, but for the bias (Zhou et al. 2016, "Learning deep features for
    discriminative localization"); else their linear part (Selvaraju et al. 2017, "Grad-CAM").
    """

    def likeliest(code: jax.Array) -> jax.Array:
        logits = model.apply(variables, code, method="classify")
        assert isinstance(logits, jax.Array)
        return logits.max(axis=1).sum()

    return (jax.grad(likeliest)(code) * code).astype(jnp.float32).sum(axis=-1)


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: ConfigDict,
    results: Mapping[str, Any],
) -> Description:
    """Return one example's probability of each class, and the likeliest one's evidence on `photo`.

    Where the photograph is red it speaks for the class, where it is blue against it.
    """
    logits, classes = outputs["logits"].astype(np.float32), config.data.classes
    if config.loss.name == EXCLUSIVE:
        probability = jax.nn.softmax(logits)
    else:
        probability = jax.nn.sigmoid(logits)
    numbers = {name: float(p) for name, p in zip(classes, probability, strict=True)}
    heat = painting.heat_map(photo, outputs["evidence"])
    return Description(numbers, {"": Image.fromarray(heat)})
