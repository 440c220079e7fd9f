"""PASCAL VOC in functional JAX: autoencoders, classification and segmentation, reproducibly."""

from pathlib import Path
from typing import TYPE_CHECKING

from vocjax.flags import leave_loops

if TYPE_CHECKING:
    from vocjax.predict import Model


leave_loops()


def load(workdir: str | Path, checkpoint: str = "last") -> "Model":
    """Return a trained run, ready to be applied: `vocjax.load("runs/ae").predict(["dog.jpg"])`.

    The run directory is all it takes, on any devices, wherever it was trained; so is a folder
    that `vocjax export` wrote.

    Args:
      workdir: the run directory, or the folder of an exported run.
      checkpoint: "last" or "best" (by the run's `best.metric` on validation).

    Raises:
      vocjax.errors.UserError: the run can't be loaded.
    """
    # Here, so that importing vocjax does not import JAX.
    from vocjax.errors import local_path
    from vocjax.predict import load_model

    return load_model(local_path(workdir), checkpoint)
