"""The three tasks. Each module has `make_task(config)` and `describe(outputs, ...)`."""

import re
from collections.abc import Mapping
from types import ModuleType

from ml_collections import ConfigDict

from vocjax.config import base_config
from vocjax.errors import UserError, check_choice
from vocjax.tasks import classification, reconstruction, segmentation
from vocjax.tasks.task import Task

TASKS: Mapping[str, ModuleType] = {
    "reconstruction": reconstruction,
    "classification": classification,
    "segmentation": segmentation,
}


def make_task(config: ConfigDict) -> Task:
    """Build the task that `config.task` names."""
    check_choice("task", config.task, TASKS)
    _check_evaluation(config)
    try:
        return TASKS[config.task].make_task(config)
    except AttributeError as error:
        # ml_collections reports an absent field in a KeyError, perhaps with a suggestion.
        cause = error.args[0] if error.args else None
        named = re.match(r"'(\w+)'(\n|$)", cause.args[0]) if isinstance(cause, KeyError) else None
        if named is None or hasattr(config.model, named[1]):
            raise
        raise UserError(
            f"the config of {config.task} with model {config.model.name!r} lacks the field "
            f"{named[1]!r}; the configs that `vocjax configs` lists show which belong together."
        ) from error


def _check_evaluation(config: ConfigDict) -> None:
    """Raise `UserError` for fields of `evaluation` that the task does not read."""
    known = {"reconstruction": (), "classification": ("flip",)}
    for field, value in base_config().evaluation.items():
        given = config.evaluation[field]
        if given != value and field not in known.get(config.task, config.evaluation):
            raise UserError(
                f"evaluation.{field} is {given!r}, which {config.task} does not read; set it to "
                f"{value!r}."
            )
