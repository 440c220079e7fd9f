"""A trained run's task on other data, whose classes are matched by name."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vocjax.data.classes import Classes, classes_of, with_classes
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.tasks.task import Batch, Outputs, Task, Variables


class Match(NamedTuple):
    """The classes that a run and other data have in common, and those that one of them lacks."""

    common: tuple[str, ...]  # in the run's order
    only_run: tuple[str, ...]
    only_data: tuple[str, ...]


class Matched(NamedTuple):
    """A run's config and task, as they are on other data."""

    config: ConfigDict
    task: Task
    match: Match


def match_classes(config: ConfigDict, classes: Classes) -> Match:
    """Compare the classes of a run, which are `data.classes` or all of its data, by name."""
    ours, theirs = _own_classes(config), classes.names
    return Match(
        tuple(name for name in ours if name in theirs),
        tuple(name for name in ours if name not in theirs),
        tuple(name for name in theirs if name not in ours),
    )


def matched(config: ConfigDict, task: Task, data: ConfigDict, classes: Classes) -> Matched:
    """Return a run's config and task on the data set `data.dataset`, which has these classes.

    `data` are the fields of `config.data` for the other data. The run decides between the common
    classes alone: its logits of the others are left out. A network whose outputs are not classes
    (an autoencoder, one foreground) is as it was, and classes choose its images: those
    that the run chose, or all where it chose none or the data have no names of classes.

    Raises `UserError` where no class is common, or a classifier has only one to choose from.
    """
    match = match_classes(config, classes)
    by_class = config.task == "classification" or config.model.get("target", "") in (
        "sigmoid",
        "softmax",
    )
    chooses = bool(config.data.classes) and (by_class or bool(classes.names))
    if (by_class or chooses) and not match.common:
        listed = ", ".join(classes.names) or "none"
        raise UserError(
            f"no class is common: the run has {', '.join(match.only_run)}, and {data.dataset} has "
            f"{listed}. Classes are matched by name; prepare the data under the run's names "
            "(`vocjax data prepare --classes`), or give other data."
        )
    if config.task == "classification" and len(match.common) < 2:
        raise UserError(
            f"{match.common[0]} alone is common to the run and to {data.dataset}, and one class "
            "can't be told from nothing. Give data that show at least two classes of the run."
        )
    other = config.copy_and_resolve_references().unlock()
    other.data.update(data)
    all_of_both = not config.data.classes and not match.only_data
    other.data.classes = match.common if chooses or (by_class and not all_of_both) else ()
    columns = _columns(config, match.common if other.data.classes else classes.names)
    if by_class and (factors := config.loss.get("class_weights")):
        other.loss.class_weights = tuple(factors[column] for column in columns.tolist())
    other = with_classes(other.lock(), classes)
    changed = make_task(other)._replace(init=task.init, fit=None)
    if not by_class:
        return Matched(other, changed._replace(apply=task.apply), match)

    def apply(variables: Variables, batch: Batch, train: bool, key: jax.Array) -> tuple:
        outputs, statistics = task.apply(variables, batch, train, key)
        logits = {"logits", "auxiliary"} & outputs.keys()
        kept: Outputs = {name: outputs[name][..., jnp.asarray(columns)] for name in logits}
        return outputs | kept, statistics

    return Matched(other, changed._replace(apply=apply), match)


def _columns(config: ConfigDict, names: tuple[str, ...]) -> np.ndarray:
    """Return which of the run's logits belong to classes, after background's where it has one."""
    ours, first = _own_classes(config), int(config.model.get("target", "") == "softmax")
    places = [ours.index(name) + first for name in names if name in ours]
    return np.array([0] * first + places)


def _own_classes(config: ConfigDict) -> tuple[str, ...]:
    return tuple(config.data.classes) or classes_of(config.data).names
