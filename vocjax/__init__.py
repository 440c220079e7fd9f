"""PASCAL VOC in functional JAX: autoencoders, classification and segmentation, reproducibly."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vocjax.predict import Model


def load(workdir: str | Path, checkpoint: str = "last") -> "Model":
    """Return a trained run, ready to be applied: `vocjax.load("runs/ae").predict(["dog.jpg"])`.

    The run directory is all it takes, on any devices, wherever it was trained.

    Args:
      workdir: the run directory.
      checkpoint: "last" or "best" (by the run's `best.metric` on validation).

    Raises:
      vocjax.errors.UserError: the run can't be loaded.
    """
    from vocjax.predict import load_model  # here, so that importing vocjax does not import JAX

    return load_model(Path(workdir), checkpoint)
