"""The losses that a config can name, with the fields of `config.loss` that each one reads.

To add a loss, write a function and add one line to the table of its kind. A loss of one's own needs
no line: a config names it as "module:function". The fields of a loss are its keyword-only
parameters; a field that the config does not have keeps its default. What a table binds with
`partial` is no field.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from vocjax.errors import UserError, check_choice, check_range
from vocjax.imports import import_function
from vocjax.losses import classes, images, overlap, pixels

Loss = Callable[..., Array]
Term = tuple[float, str, Loss]  # of a sum: the factor, the name, the loss

# Of (logits, truth [B, H, W, K], weight [B, H, W, 1]). The parameter `exclusive`, where a loss has
# it, gets whether the classes exclude each other (softmax) or not (sigmoids).
PIXEL_LOSSES: dict[str, Loss] = {
    "cross_entropy": classes.cross_entropy,
    "focal": classes.focal,
    "soft_dice": overlap.soft_dice,
    "soft_jaccard": overlap.soft_jaccard,
    "tversky": overlap.tversky,
    "lovasz": overlap.lovasz,
}
# Fields that a run's task reads, or that have given it other fields, and no loss.
TASKS_OWN = ("weighting", "auxiliary")
POINTWISE = ("cross_entropy", "focal")  # those that are means over pixels
# Of (prediction, target [B, H, W, C]).
IMAGE_LOSSES: dict[str, Loss] = {
    "mse": images.mse,
    "mae": images.mae,
    "ssim": images.dissimilarity,
}
# Of (logits, truth, weight [B, K]). The value, or the default, of `exclusive` decides whether the
# classes exclude each other; without this parameter they do not.
CLASS_LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": partial(classes.cross_entropy, exclusive=True, reduction="image"),
    "binary_cross_entropy": partial(classes.cross_entropy, exclusive=False, reduction="image"),
    "focal": partial(classes.focal, exclusive=False, reduction="image"),
}


def make_pixel_loss(fields: Mapping[str, Any], exclusive: bool) -> Loss:
    """Return the loss of pixels that `fields`, a config's `loss`, describes.

    `fields["name"]` is a name of `PIXEL_LOSSES`, a function of the user's own, or a sum of these
    with factors: "soft_dice + 0.5 my_losses:boundary". An unknown name or field, or a value out of
    its range, is a `UserError`. `class_weights` and `hardest`, below 1, are of those in `POINTWISE`
    (`losses.pixels`).

    Shapes: the loss takes logits and truth [B, H, W, K] and weight [B, H, W, 1]; it gives [B].
    """
    pixel = jnp.zeros((1, 1, 1, 2))
    trial = pixel, pixel, pixel[..., :1]
    others = _without_tasks_own(fields)
    factors, share = others.pop("class_weights", ()), others.pop("hardest", 1.0)
    if not 0 < share <= 1:
        raise UserError(
            f"loss.hardest is {share!r}; it is the share of the pixels that counts, above 0 and at "
            "most 1."
        )
    terms = _terms(others, PIXEL_LOSSES, trial, exclusive=exclusive)
    if not factors and share == 1:
        return _sum(terms)
    if not any(name in POINTWISE for _, name, _ in terms):
        weighting = fields.get("weighting", "given")
        fields_to_set = "loss.class_weights to () and loss.hardest to 1.0"
        if weighting != "given":  # which has made the weights
            fields_to_set = "loss.weighting to 'given' and loss.hardest to 1.0"
        raise UserError(
            f"loss.name is {fields['name']!r}, loss.weighting {weighting!r} and loss.hardest "
            f"{share}; class weights and hard pixels are of {' and '.join(POINTWISE)}: add one of "
            f"them to the name, or set {fields_to_set}."
        )
    reduction = others.get("reduction", "image")
    return _sum(
        (
            factor,
            name,
            pixels.of_pixels(
                partial(loss, reduction="image"),
                factors,
                share,
                exclusive=exclusive,
                reduction=reduction,
            )
            if name in POINTWISE
            else loss,
        )
        for factor, name, loss in terms
    )


def make_image_loss(fields: Mapping[str, Any]) -> Loss:
    """Return the loss of reconstructed images that `fields` describe, as for `make_pixel_loss`.

    Shapes: the loss takes prediction and target [B, H, W, C]; it gives [B].
    """
    image = jnp.zeros((1, images.SSIM_WINDOW, images.SSIM_WINDOW, 1))
    return _sum(_terms(fields, IMAGE_LOSSES, (image, image)))


def make_class_loss(fields: Mapping[str, Any]) -> Loss:
    """Return the loss of an image's classes that `fields`, a config's `loss`, describes.

    `fields["name"]` is a name of `CLASS_LOSSES` or a function of the user's own. The truth is
    smoothed by `label_smoothing`. `class_weights`, empty or a factor for each class, multiply what
    present classes lose, as PyTorch's pos_weight and weight do: the mean over columns and images
    does not divide by them. Of smoothed targets a row has the factor of its present class, where
    PyTorch's weight multiplies each smoothed column. Errors are as for `make_pixel_loss`.

    Shapes: the loss takes logits, truth (0 or 1) and weight [B, K]; it gives [B].
    """
    others = _without_tasks_own(fields)
    smoothing, factors = others.pop("label_smoothing", 0.0), others.pop("class_weights", ())
    check_range("loss.label_smoothing", smoothing, 0, 1)
    exclusive, row = is_exclusive(fields["name"]), jnp.zeros((1, 2))
    (loss,) = _with_fields([fields["name"]], others, CLASS_LOSSES, (row, row, row))

    def class_loss(logits: Array, truth: Array, weight: Array) -> Array:
        soft = classes.smooth_labels(truth, weight, smoothing, exclusive)
        if not factors:
            return loss(logits, soft, weight)
        return classes.weighed(loss, factors, exclusive)(logits, soft, weight, truth)

    return class_loss


def is_exclusive(name: str) -> bool:
    """Return whether the loss of classes `name` takes them as exclusive (softmax)."""
    parameter = inspect.signature(_find(name, CLASS_LOSSES)).parameters.get("exclusive")
    return parameter is not None and parameter.default is True


def _without_tasks_own(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in TASKS_OWN}


def _terms(
    fields: Mapping[str, Any], table: Mapping[str, Loss], trial: tuple[Array, ...], **given: Any
) -> list[Term]:
    """Return the terms that `fields["name"]` describes, of arrays like those of `trial`."""
    factors, names = zip(*_parse(fields["name"], table), strict=True)
    found = _with_fields(names, fields, table, trial, **given)
    return list(zip(factors, names, found, strict=True))


def _sum(described: Iterable[Term]) -> Loss:
    """Return the sum of terms."""
    factors, _, terms = zip(*described, strict=True)
    if factors == (1.0,):
        return terms[0]

    def loss(*arrays: Array) -> Array:
        values = [factor * term(*arrays) for factor, term in zip(factors, terms, strict=True)]
        return jnp.stack(values).sum(axis=0)

    return loss


def _parse(text: str, table: Mapping[str, Loss]) -> list[tuple[float, str]]:
    """Split "soft_dice + 0.5 cross_entropy" into [(1.0, "soft_dice"), (0.5, "cross_entropy")]."""
    terms = []
    for part in text.split("+"):
        *factors, name = part.split() or [""]
        try:
            (factor,) = map(float, factors or ["1"])
        except ValueError:
            factor = math.nan
        if not (name in table or ":" in name) or not 0 < factor < math.inf:
            first, second, *_ = table
            raise UserError(
                f"loss.name is {text!r}; it is one of {', '.join(table)}, a function of yours such "
                "as 'my_losses:boundary', or a sum of them with positive factors, such as "
                f"'{first} + 0.5 {second}'."
            )
        terms.append((factor, name))
    return terms


def _with_fields(
    names: Sequence[str],
    fields: Mapping[str, Any],
    table: Mapping[str, Loss],
    trial: tuple[Array, ...],
    **given: Any,
) -> list[Loss]:
    """Return the named losses, each with those of the `fields` and the `given` that it reads.

    Raises `UserError` for a field that neither the table's losses nor the named ones read, and for
    a value that a loss of the table refuses: each is traced once, on `trial`.
    """
    found = [_find(name, table) for name in names]
    known = {"name"}.union(*(_parameters(loss) for loss in (*table.values(), *found))) - set(given)
    if unknown := [name for name in fields if name not in known]:
        raise UserError(
            f"the config has loss.{unknown[0]}, which no loss of this task reads; remove or rename "
            f"it: they read {', '.join(sorted(known))}."
        )
    values = {**fields, **given}
    losses: list[Loss] = []
    for name, loss in zip(names, found, strict=True):
        parameters = _parameters(loss)
        if missing := [key for key in parameters if parameters[key] and key not in values]:
            raise UserError(
                f"the loss {name} needs loss.{missing[0]}; set it in the config's file, "
                f"config.loss.{missing[0]} = ..., or give the parameter a default."
            )
        losses.append(partial(loss, **{key: values[key] for key in parameters if key in values}))
        if name in table:
            jax.eval_shape(losses[-1], *trial)
    return losses


def _find(name: str, table: Mapping[str, Loss]) -> Loss:
    """Return the loss of the table, or the function of the user's own, that has this name."""
    if ":" in name:
        return import_function("loss.name", name)
    check_choice("loss.name", name, table)
    return table[name]


def _parameters(loss: Loss) -> dict[str, bool]:
    """Return the keyword-only parameters that a config can set, and whether it must."""
    bound = loss.keywords if isinstance(loss, partial) else {}
    return {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(loss).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in bound
    }
