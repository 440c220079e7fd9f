"""What the report shows of task 3."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vocjax import figures as draw
from vocjax.data.devkit import PALETTE, VOID
from vocjax.tasks.segmentation import THRESHOLD


def figures(samples: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw image, truth, probability and prediction of the kept validation images."""
    image = np.round(255 * np.broadcast_to(samples["image"], (*samples["image"].shape[:3], 3)))
    image = image.astype(np.uint8)
    truth = np.where(samples["mask"] == VOID, VOID, (samples["mask"] > 0).astype(np.uint8))
    predicted = (samples["probability"] > THRESHOLD).astype(np.uint8)
    rows = {
        "image": image,
        "truth": draw.overlay(image, truth, PALETTE),
        "prediction": draw.overlay(image, predicted, PALETTE),
        "probability": samples["probability"][..., None],
    }
    return {"Masks over validation images": draw.image_rows(rows)}
