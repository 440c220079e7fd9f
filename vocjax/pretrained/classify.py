"""Imported weights with a head, applied: the classes that a published network finds in photos."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import apply
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.matching import fill
from vocjax.pretrained.store import IMAGE, read_fitting


def classifier_of(directory: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of images [batch, height, width, 3], float32 in [0, 1], of any size.

    It applies the weights' preprocessing and their network, and returns probabilities [batch,
    classes] float32, in the order of the file's head. Raises `UserError` if the directory has no
    imported weights, or if a part was skipped.
    """
    imported = read_fitting(directory)
    if imported.classes is None or imported.skipped:
        left = ", ".join(imported.skipped[:3]) + (", ..." if len(imported.skipped) > 3 else "")
        raise UserError(
            f"the weights in {directory} can't classify: their import skipped {left}. Give weights "
            "with a head, or train one: `vocjax train --config classifier_pretrained`."
        )
    network = BACKBONES[imported.backbone](imported.classes, **imported.fields)
    variables = fill(shapes(network, IMAGE), imported.arrays)

    @jax.jit
    def probabilities(images: jax.Array) -> jax.Array:
        logits = network.apply(variables, apply(imported.preprocessing, images))
        assert isinstance(logits, jax.Array)  # without mutable collections there is nothing else
        return jax.nn.softmax(logits)

    return lambda images: np.asarray(probabilities(images))


def read_labels(file: Path) -> list[str]:
    """Return the classes' names, one in a line; `UserError` if the file can't be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} can't be read as labels ({error}); it has the name of one class in each line, "
            "in the order of the head."
        ) from error
