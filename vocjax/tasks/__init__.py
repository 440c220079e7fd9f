"""The three tasks. Each module has `make_task(config)` and `figures(samples, config)`."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.tasks import classification, reconstruction, segmentation
from vocjax.tasks.task import Task

TASKS: Mapping[str, ModuleType] = {
    "reconstruction": reconstruction,
    "classification": classification,
    "segmentation": segmentation,
}


def make_task(config: ConfigDict) -> Task:
    """Build the task that `config.task` names."""
    if config.task not in TASKS:
        raise UserError(f"task is {config.task!r}; it is one of {', '.join(TASKS)}.")
    return TASKS[config.task].make_task(config)


def figures_of(
    task_name: str,
) -> Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], dict[str, Figure]]:
    """Return the function that draws a task's kept arrays."""
    return TASKS[task_name].figures
