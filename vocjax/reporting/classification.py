"""What the report shows of task 2."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vocjax import figures as draw
from vocjax.data.splits import class_columns, group_by_class


def figures(samples: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw the study's plot 6: the predicted probability of each image's true class."""
    classes = tuple(config["data"]["classes"])
    groups = group_by_class(samples["val/labels"], class_columns(classes))
    probability = samples["val/probability"][np.arange(len(groups)), groups]
    return {
        "Probability of the true class, validation": draw.probability_bars(
            probability, groups, classes
        )
    }
