"""The classes of pixels: from masks to targets, and from logits back to masks."""

import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vocjax.data.classes import VOID, class_columns, classes_of
from vocjax.data.frame import PAD, SQUASH, within
from vocjax.errors import UserError, check_choice
from vocjax.metrics.segmentation import resized_bands
from vocjax.tasks.own_size import FITTED

KINDS = ("foreground", "sigmoid", "softmax")
FOREGROUND = ("foreground",)

Probability = TypeVar("Probability", jax.Array, np.ndarray)


class PixelClasses(NamedTuple):
    """The classes between which a network decides for each pixel.

    - "foreground": all classes merged into one, by one logit;
    - "sigmoid": a logit for each of `classes`, each a question of its own;
    - "softmax": background and `classes` exclude each other.

    A mask's index here is 0 for background and else the place in `classes`, from 1.
    """

    kind: str
    classes: tuple[str, ...]
    places: tuple[int, ...]  # the data set's index of each of `classes`

    @property
    def outputs(self) -> int:
        """Logits of a pixel."""
        return len(self.classes) + (self.kind == "softmax")

    @property
    def names(self) -> tuple[str, ...]:
        """The indices' names."""
        return ("background", *self.classes)

    @property
    def own_indices(self) -> np.ndarray:
        """The data set's index of each of ours, uint8 [1 + classes]; merged foreground has 1."""
        return np.array([0, *self.places], np.uint8)

    @property
    def indices(self) -> np.ndarray:
        """Our index of each of the data set's, uint8 [256]: other classes are background."""
        table = np.zeros(256, np.uint8)
        if self.kind == "foreground":
            table[1:] = 1
        else:
            table[self.own_indices] = np.arange(len(self.names))
        table[VOID] = VOID
        return table


def pixel_classes(config: ConfigDict) -> PixelClasses:
    """Return the target that `model.target` and `data.classes` (empty for all) describe."""
    kind = config.model.target
    check_choice("model.target", kind, KINDS)
    columns = class_columns(config.data)
    if kind == "foreground":
        return PixelClasses(kind, FOREGROUND, (1,))
    if config.data.masks != "nearest":
        raise UserError(
            f"data.masks is {config.data.masks!r}, which merges all classes; with model.target "
            f"{kind!r} it must be 'nearest'."
        )
    names = classes_of(config.data).names
    columns = columns or tuple(range(len(names)))
    return PixelClasses(kind, tuple(names[c] for c in columns), tuple(c + 1 for c in columns))


def truth_of(
    classes: PixelClasses, mask: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return what a mask [batch, height, width] uint8 with the data set's indices asks for.

    Shapes: `valid` is [batch]; the result is (index [batch, height, width] int32, 0 where void;
    target 0 / 1 float32 [batch, height, width, outputs]; weight [batch, height, width, 1] float32,
    0 for void and padding).
    """
    index = jnp.asarray(classes.indices)[mask].astype(jnp.int32)
    weight = (index != VOID) * valid[:, None, None]
    index = jnp.where(index == VOID, 0, index)
    first = int(classes.kind != "softmax")
    columns = jnp.arange(first, first + classes.outputs)
    wanted = (index[..., None] == columns).astype(jnp.float32)
    return index, wanted, weight[..., None].astype(jnp.float32)


def probability_of(classes: PixelClasses, logits: jax.Array) -> jax.Array:
    """Return probabilities [..., outputs] float32 of logits alike."""
    logits = logits.astype(jnp.float32)
    return jax.nn.softmax(logits) if classes.kind == "softmax" else jax.nn.sigmoid(logits)


def foreground_of(classes: PixelClasses, probability: Probability) -> Probability:
    """Return the probability [...] of any class but background; of several sigmoids the largest."""
    return 1 - probability[..., 0] if classes.kind == "softmax" else probability.max(axis=-1)


def decide(classes: PixelClasses, probability: Probability, threshold: float) -> Probability:
    """Return each pixel's index [...]: the likeliest; of sigmoids one that exceeds `threshold`.

    Both may also be logits, and the logit of a threshold.
    """
    likeliest = probability.argmax(axis=-1)
    if classes.kind == "softmax":
        return likeliest
    return (likeliest + 1) * (probability.max(axis=-1) > threshold)


class Seen(NamedTuple):
    """How images lie in the batches, and in the logits that are scored."""

    fit: str = SQUASH  # of the batches, one of `frame.FITS`
    whole: bool = False  # whether logits are of the image alone, at its own size or near it


def seen_of(config: ConfigDict) -> Seen:
    """Return how the final evaluation and predictions of a config see images."""
    return Seen(config.data.fit, config.evaluation.images != FITTED)


def decide_at(
    classes: PixelClasses,
    logits: np.ndarray,
    size: tuple[int, int],
    threshold: float,
    seen: Seen = Seen(),  # noqa: B008  # it is immutable
) -> np.ndarray:
    """Return the index of each pixel of an image of (height, width), uint8 [height, width].

    `logits` [h, w, outputs] are resized bilinearly, those of padding left out, then decided. Of
    squashed images it is the probabilities that are resized. Where photos have many sizes all of it
    is NumPy: JAX would compile programs for each size.
    """
    squashed = seen.fit == SQUASH and not seen.whole
    if seen.fit == PAD and not seen.whole:
        height, width = within(size, logits.shape[:2])
        logits = logits[:height, :width]
    # Logits have the order of their probabilities, and exceed the logit of the threshold where
    # these exceed the threshold.
    given, least = logits, logit_of(threshold)
    if squashed:
        given, least = np.asarray(probability_of(classes, jnp.asarray(logits))), threshold
    index = np.empty(size, np.uint8)
    for rows, scores in resized_bands(given, *size):
        index[rows] = decide(classes, scores, least)
    return index


def logit_of(probability: float) -> float:
    """Return log(p / (1 - p)), infinite for 0 and 1."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))
