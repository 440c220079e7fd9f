"""Task 2: which of the chosen classes an image shows, by softmax or one sigmoid a class."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses, painting
from vocjax.data.classes import ALL, chosen, class_columns, classes_of
from vocjax.data.frame import SQUASH, within
from vocjax.data.splits import photographs
from vocjax.errors import UserError, check_range
from vocjax.latent import embeddings
from vocjax.losses.weights import softmax_columns
from vocjax.metrics import streaming
from vocjax.metrics.classification import average_precisions, classification_metrics
from vocjax.models import build, logistic
from vocjax.models.classifier import LOGISTIC, pooled
from vocjax.tasks import classification_baselines, task
from vocjax.tasks.image_classes import mixed_targets, present_and_known

COMMON = 10  # images in train


def make_task(config: ConfigDict, model: nn.Module | None = None) -> task.Task:
    """Build the task of a config; `UserError` where its fields don't fit together.

    A `model` of your own takes the place of the config's: a Linen module as
    `models.classifier.Classifier`, with the methods `classify` and `encode`.
    """
    columns = jnp.asarray(class_columns(config.data))
    if columns.size < 2:
        known = classes_of(config.data).names
        advice = f"Choose from {', '.join(known)}, or give --config.data.classes={ALL}."
        if len(known) < 2:
            advice = (
                f"{config.data.dataset} has one class alone, and one can't be told from nothing: "
                "prepare it with images of another class, such as those without it; or, with "
                "masks, train a segmentation."
            )
        raise UserError(
            "data.classes must name at least two classes to choose from, not "
            f"{', '.join(config.data.classes) or 'none'}: an image is taken that shows one of "
            f"them. {advice}"
        )
    check_loss(config)
    fields = config.loss.to_dict()
    reconstruction = fields.pop("reconstruction")
    class_loss = losses.make_class_loss(fields)
    model = model or build.classifier(config, columns.size)
    exclusive, joint = losses.is_exclusive(config.loss.name), reconstruction > 0

    def targets(batch: task.Batch) -> task.Targets:
        states = present_and_known(batch["labels"][:, columns], exclusive)
        present, known = (of.astype(jnp.float32) for of in states)
        weight = batch["valid"] * (known > 0).any(axis=1)
        found = {"present": present, "wanted": present, "known": known, "weight": weight}
        if "share" in batch:
            other = (batch["other_labels"][:, columns] == 1).astype(jnp.float32)
            found |= mixed_targets(present, other, batch["share"], exclusive)
        return found | {"image": batch["image"], "valid": batch["valid"]}

    def loss(outputs: task.Outputs, targets: task.Targets) -> jax.Array:
        value = class_loss(outputs["logits"], targets["wanted"], targets["known"])
        if joint:
            error = losses.mse(outputs["reconstruction"], targets["image"])
            value = value + reconstruction * error
        return value

    def codes(known: task.Outputs | task.Batch) -> jax.Array:
        return pooled(known["code"], config.model.get("pooling", "flatten"))

    def fit(
        variables: task.Variables, batches: Iterator[task.Batch], ids: np.ndarray
    ) -> tuple[task.Variables, dict[str, Any]]:
        def code(variables: task.Variables, batch: task.Batch) -> jax.Array:
            return codes(apply(model, False, variables, batch, False, jax.random.key(0))[0])

        run = jax.jit(code)
        rows = [(run(variables, batch), targets(batch)) for batch in batches]
        factors = jnp.asarray(config.loss.class_weights or 1.0)
        each = [(x, y["present"], y["known"] * (1 + y["present"] * (factors - 1))) for x, y in rows]
        examples = logistic.Examples(*map(jnp.concatenate, zip(*each, strict=True)))
        linear, strength, values = logistic.cross_validated(
            examples, photographs(ids), exclusive=exclusive
        )
        head = {"Dense_0": linear._asdict()}
        found = {"strength": strength, "cross_validated_log_loss": values.min()}
        return variables | {"params": variables["params"] | {"head": head}}, found

    return task.Task(
        init=task.initializer(model, config),
        fit=fit if config.model.get("head_init") == LOGISTIC else None,
        apply=partial(apply, model, config.evaluation.flip),
        targets=targets,
        loss=loss,
        measure=partial(measure, exclusive, codes),
        summary=partial(summary, exclusive),
        finish=partial(finish, chosen(config.data)),
        baselines=classification_baselines.baselines(targets, exclusive, codes, joint=joint),
        features=task.FrozenFeatures("code", partial(features_of, model)),
    )


def measure(
    exclusive: bool,
    codes: Callable[[task.Outputs], jax.Array],
    outputs: task.Outputs,
    targets: task.Targets,
) -> task.Measures:
    """Sum log-loss and accuracies; keep each image's probabilities, pooled code and thumbnail."""
    logits, present, known = outputs["logits"], targets["present"], targets["known"]
    if exclusive:  # an excluded class has no part in the softmax, as in the loss
        probability = jax.nn.softmax(logits, where=softmax_columns(known))
    else:
        probability = jax.nn.sigmoid(logits)
    values = {
        "log_loss": losses.cross_entropy(logits, present, known, exclusive=exclusive),
        "elementwise_accuracy": streaming.elementwise_accuracy(probability, present, known),
        "argmax_accuracy": streaming.argmax_accuracy(logits, present, known),
        "exact_match": streaming.exact_match(probability, present, known),
    }
    sums = {name: streaming.mean(value, targets["weight"]) for name, value in values.items()}
    rows = {"probability": probability, "target": present, "weight": known}
    kept = rows | {"thumbnail": task.thumbnails(targets["image"])}
    shown = {"image": targets["image"]}
    if "reconstruction" in outputs:
        error = losses.mse(outputs["reconstruction"], targets["image"])
        sums["mse"] = streaming.mean(error, targets["valid"])
        shown["reconstruction"] = outputs["reconstruction"]
    if "code" in outputs:
        kept["code"] = codes(outputs)
    if "evidence" in outputs:
        shown["evidence"] = outputs["evidence"]
    return task.Measures(sums, rows, kept, shown)


def summary(
    exclusive: bool, sums: dict[str, streaming.Mean], rows: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Divide the sums; with rows, add the classification metrics of the whole split."""
    means = {name: streaming.value(mean) for name, mean in sums.items()}
    return means | (classification_metrics(**rows, exclusive=exclusive) if rows else {})


def finish(names: Sequence[str], trained: task.Trained) -> task.Final:
    """Return each class's average precision, and the mean over those that are common in train.

    The codes are embedded in the plane, too, those before training and those after it.
    """
    measured = trained.kept(trained.split)
    final = by_class(names, _images_in_train(names, trained), measured, trained.split)
    if not trained.artifacts or not trained.before:
        return final
    after = {split: trained.kept(split)["code"] for split in ("train", "val")}
    before = {split: trained.before[f"{split}/code"] for split in after}
    earlier = {f"before/{k}": v for k, v in embeddings(before, trained.key).items()}
    return final._replace(arrays=embeddings(after, trained.key) | earlier)


def _images_in_train(names: Sequence[str], trained: task.Trained) -> np.ndarray:
    """Return the images of each class [classes] with which the run was trained; 0 if unknown."""
    if trained.results is not None:
        known = trained.results.get("by_class", {})
        return np.array([known.get(name, {}).get("images", 0) for name in names])
    return counted(trained.kept("train"))


def counted(kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how many of the examples that the task keeps show each class, [classes]."""
    return (kept["target"] * kept["weight"]).sum(axis=0).astype(int)


def by_class(
    names: Sequence[str], images: np.ndarray, measured: Mapping[str, np.ndarray], split: str
) -> task.Final:
    """Return each class's average precision in a split, and its `images` [classes] in train.

    `measured` is what the task keeps of every example of the split. The mean over the classes with
    at least `COMMON` images in train joins the metrics of the split: of rarer classes hardly
    anything can be learnt.
    """
    probability, target, weight = (measured[name] for name in ("probability", "target", "weight"))
    precision = average_precisions(probability, target, weight, "11 points")
    common = precision[(images >= COMMON) & ~np.isnan(precision)]
    mean = float(common.mean()) if common.size else math.nan
    found = {
        name: {"images": int(n), "average_precision": None if np.isnan(ap) else float(ap)}
        for name, n, ap in zip(names, images, precision, strict=True)
    }
    return task.Final({"by_class": found}, {split: {"map_of_common_classes": mean}})


def check_loss(config: ConfigDict) -> None:
    """Raise `UserError` for a loss that does not fit the classes or the model."""
    losses.check_factors(config.loss.class_weights, chosen(config.data))
    check_range("loss.reconstruction", config.loss.reconstruction, 0)
    if bool(config.loss.reconstruction) != bool(config.model.get("decoder")):
        raise UserError(
            f"loss.reconstruction is {config.loss.reconstruction} and model.decoder "
            f"{config.model.get('decoder')!r}: a joint network has a weight above 0 and the widths "
            "of a decoder, any other has neither."
        )


def apply(
    model: nn.Module,
    flips: bool,
    variables: task.Variables,
    batch: task.Batch,
    train: bool,
    key: jax.Array,
) -> tuple[task.Outputs, Any]:
    """Return logits and code of a batch, and the batch statistics after it.

    A joint network adds its `reconstruction`, evaluation adds the `evidence` of the likeliest
    class. A `code` in the batch takes the place of the encoder's. In evaluation, `flips` averages
    the logits with those of the mirrored images; the code and the evidence stay the image's.
    """
    (logits, code, *reconstruction), updates = model.apply(
        variables,
        batch["image"],
        batch.get("code"),
        train=train,
        valid=batch["valid"],
        rngs={"dropout": key},
        mutable=["batch_stats"] if train else [],
    )
    outputs = {"logits": logits, "code": code}
    if reconstruction:
        outputs["reconstruction"] = reconstruction[0]
    if not train:
        outputs["evidence"] = evidence(model, variables, code)
    if flips and not train:
        images, valid = batch["image"][:, :, ::-1], batch["valid"]
        mirrored, *_ = model.apply(variables, images, train=False, valid=valid)
        outputs["logits"] = (logits + mirrored) / 2
    return outputs, updates.get("batch_stats", variables["batch_stats"])


def features_of(
    model: nn.Module, frozen: frozenset[str]
) -> Callable[[task.Variables, task.Batch], jax.Array] | None:
    """Return what computes the code [batch, h, w, features], None if the encoder learns."""
    if task.ENCODER not in frozen:
        return None

    def code(variables: task.Variables, batch: task.Batch) -> jax.Array:
        return apply(model, False, variables, batch, False, jax.random.key(0))[0]["code"]

    return code


def evidence(model: nn.Module, variables: task.Variables, code: jax.Array) -> jax.Array:
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
) -> task.Description:
    """Return one example's probability of each class, and the likeliest one's evidence on `photo`.

    Where the photograph is red it speaks for the class, where it is blue against it.
    """
    to_probability = jax.nn.softmax if losses.is_exclusive(config.loss.name) else jax.nn.sigmoid
    probability = to_probability(outputs["logits"].astype(np.float32))
    numbers = {n: float(p) for n, p in zip(chosen(config.data), probability, strict=True)}
    heat = painting.heat_map(photo, evidence_of_photo(outputs["evidence"], image, photo, config))
    return task.Description(numbers, {"": Image.fromarray(heat)})


def evidence_of_photo(
    evidence: np.ndarray, image: np.ndarray, photo: np.ndarray, config: ConfigDict
) -> np.ndarray:
    """Return the evidence [h, w] that lies on a photo: all of it, or without that of padding."""
    if config.data.get("fit", SQUASH) == SQUASH:
        return evidence
    height, width = image.shape[:2]
    whole = Image.fromarray(evidence).resize((width, height), Image.Resampling.BILINEAR)
    rows, columns = within(photo.shape[:2], (height, width))
    return np.asarray(whole)[:rows, :columns]
