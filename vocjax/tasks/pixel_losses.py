"""The losses of task 3 as a config names them: one of them, or a weighted sum."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vocjax import losses
from vocjax.errors import UserError
from vocjax.tasks.pixel_classes import PixelClasses

# Of logits and truth [batch, height, width, outputs], weight [batch, height, width, 1]; [batch].
PixelLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

FIELDS = ("name", "reduction", "smoothing", "classes", "gamma", "alpha", "beta")


def make_loss(fields: ConfigDict, target: PixelClasses) -> PixelLoss:
    """Return the loss that a config's `loss` describes.

    `loss.name` is one of those below, or a sum such as "soft_dice + 0.5 cross_entropy".
    """
    check(fields)
    exclusive = target.kind == "softmax"
    shared = {"reduction": fields.reduction}
    by_class = shared | {"classes": fields.classes}
    overlap = by_class | {"exclusive": exclusive, "smoothing": fields.smoothing}
    entropy = losses.softmax_cross_entropy if exclusive else losses.binary_cross_entropy
    focal = losses.softmax_focal if exclusive else losses.focal
    lovasz = losses.lovasz_softmax if exclusive else losses.lovasz_hinge
    known: dict[str, PixelLoss] = {
        "cross_entropy": partial(entropy, **shared),
        "focal": partial(focal, gamma=fields.gamma, **shared),
        "soft_dice": partial(losses.soft_dice, **overlap),
        "soft_jaccard": partial(losses.soft_jaccard, **overlap),
        "tversky": partial(losses.tversky, alpha=fields.alpha, beta=fields.beta, **overlap),
        "lovasz": partial(lovasz, **by_class),
    }
    terms = [(factor, known[name]) for factor, name in parse(fields.name, tuple(known))]

    def loss(logits: jax.Array, truth: jax.Array, weight: jax.Array) -> jax.Array:
        values = [factor * term(logits, truth, weight) for factor, term in terms]
        return jnp.stack(values).sum(axis=0)

    pixel = jnp.zeros((1, 1, 1, target.outputs))
    jax.eval_shape(loss, pixel, pixel, pixel[..., :1])  # a wrong field is an error here and now
    return loss


def parse(text: str, known: tuple[str, ...]) -> list[tuple[float, str]]:
    """Split "soft_dice + 0.5 cross_entropy" into [(1.0, "soft_dice"), (0.5, "cross_entropy")]."""
    terms = []
    for part in text.split("+"):
        *factors, name = part.split() or [""]
        try:
            (factor,) = map(float, factors or ["1"])
        except ValueError:
            factor = math.nan
        if name not in known or not 0 < factor < math.inf:
            raise UserError(
                f"loss.name is {text!r}; it is one of {', '.join(known)}, or a sum of them with "
                "positive factors, such as 'soft_dice + 0.5 cross_entropy'."
            )
        terms.append((factor, name))
    return terms


def check(fields: ConfigDict) -> None:
    """Raise `UserError` for a field of `loss` that is unknown, or out of its range."""
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise UserError(
            f"the config has {', '.join(f'loss.{name}' for name in unknown)}, which segmentation "
            f"does not know; remove or rename: it takes {', '.join(FIELDS)}."
        )
    for name in ("smoothing", "gamma", "alpha", "beta"):
        if not 0 <= fields[name] < math.inf:
            raise UserError(f"loss.{name} is {fields[name]}; it must be at least 0.")
    if fields.alpha + fields.beta == 0:
        raise UserError("loss.alpha and loss.beta are both 0; Tversky's loss needs one above 0.")
