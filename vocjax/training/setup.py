"""From a config to what the loop needs: splits on the devices and initial variables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.pipeline import Examples, open_examples, plan
from vocjax.data.splits import RULES, SPLITS, Selection, choose
from vocjax.data.voc import Prepared
from vocjax.errors import UserError
from vocjax.mesh import replicated
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.reporting.table import METRICS
from vocjax.runs import writer
from vocjax.tasks.task import Batch, Task, Variables
from vocjax.training.state import INIT, draw_key, zeros_like
from vocjax.training.step import as_float, summarise


class Data(NamedTuple):
    """The splits of a config's task, the labels [n, 20] of each, and how many images show several

    of the chosen classes.
    """

    splits: dict[str, Examples]
    labels: dict[str, np.ndarray]
    several: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Images in each split."""
        return {split: len(examples.ids) for split, examples in self.splits.items()}


def open_data(
    config: ConfigDict, prepared: Prepared, mesh: Mesh, splits: tuple[str, ...] = SPLITS
) -> Data:
    """Open splits of a prepared data set as `config.data` asks for them."""
    data = config.data
    chosen = {split: choose(prepared.index, data, split) for split in splits}

    def examples(selection: Selection) -> Examples:
        return open_examples(
            prepared,
            selection.rows,
            mesh,
            labels=selection.labels,
            size=data.size,
            channels=data.channels,
            masks=data.masks if data.image_set == "Segmentation" else "",
            storage=data.storage,
        )

    return Data(
        {split: examples(selection) for split, selection in chosen.items()},
        {split: selection.labels for split, selection in chosen.items()},
        {split: selection.several for split, selection in chosen.items()},
    )


def notes(config: ConfigDict, prepared: Prepared, data: Data) -> list[str]:
    """Return what a reader of the log should know of a run's beginning, in sentences."""
    lines = []
    if any(data.several.values()):
        shown = " and ".join(f"{n} {split}" for split, n in data.several.items())
        rule = RULES[config.data.several]
        lines.append(f"{shown} images show several of the classes: {rule}")
    if not config.init_from:
        return [*lines, "all parameters begin from a fresh draw"]
    lines.append(f"the encoder begins from {config.init_from}")
    if not (Path(config.init_from) / "config.json").is_file():  # gone since the run began
        return lines
    source = writer.read_config(Path(config.init_from)).data
    if source.dataset == config.data.dataset:
        seen = prepared.index.ids[choose(prepared.index, source, "train").rows]
        known = int(np.isin(data.splits["val"].ids, seen).sum())
        if known:
            lines.append(f"{known} of the val images were training images there: val is no test")
    return lines


def check_config(config: ConfigDict) -> None:
    """Raise `UserError` for fields that no loop can run with, before any data is read."""
    for field, smallest in (("batch_size", 1), ("epochs", 0), ("evaluate_every_epochs", 1)):
        if config[field] < smallest:
            raise UserError(f"{field} is {config[field]}; it must be at least {smallest}.")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed is {config.seed}; it must be at least 0 and less than 2**32.")
    if config.best.mode not in ("min", "max"):
        raise UserError(f"best.mode is {config.best.mode!r}; it is min or max.")
    padding = config.data.augment.crop_padding
    if padding and not 0 < padding < config.data.size:
        raise UserError(
            f"data.augment.crop_padding is {padding}; it must be at least 0 (off) and less than "
            f"data.size, {config.data.size}."
        )
    if not 0 <= (decay := config.optimizer.average_decay) < 1:
        raise UserError(f"optimizer.average_decay is {decay}; it must be in [0, 1), 0 for off.")
    for name in ("zoom", "colour"):
        if not 0 <= (value := config.data.augment[name]) < 1:
            raise UserError(f"data.augment.{name} is {value}; it must be in [0, 1), 0 for off.")


def check_best(config: ConfigDict, task: Task, sums: Any) -> None:
    """Raise `UserError` unless the task measures `best.metric`; `sums` are its metrics' shapes."""
    names = [*summarise(task, zeros_like(sums)), *(task.whole.names if task.whole else ())]
    if config.best.metric not in names:
        raise UserError(
            f"best.metric is {config.best.metric!r}; this task measures {', '.join(names)}."
        )
    arrow = {"min": "↓", "max": "↑"}[config.best.mode]
    _, better, _ = METRICS.get(config.best.metric, ("", arrow, ""))
    if better != arrow and config.best.metric != "loss":  # a loss may be anybody's own
        raise UserError(
            f"best.mode is {config.best.mode!r}, and of {config.best.metric} "
            f"{'more' if better == '↑' else 'less'} is better: set it to "
            f"{'max' if better == '↑' else 'min'!r}."
        )


def initial_variables(config: ConfigDict, task: Task, train: Examples, mesh: Mesh) -> Variables:
    """Return what a run begins with: a fresh draw, with another run's encoder or a closed form."""
    key = draw_key(jax.random.key(config.seed), INIT, 0)
    variables = place(task.init(key), mesh)
    if config.init_from:
        variables = with_encoder_of(variables, config, mesh)
    if task.fit is not None:
        variables = place(task.fit(variables, whole_batches(train, config.batch_size, mesh)), mesh)
    return variables


def whole_batches(examples: Examples, batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """Yield a split once, in order, without padding, whole on every host; images in [0, 1]."""
    planned = list(plan(np.arange(len(examples.ids)), batch_size, mesh))
    for (_, valid), batch in zip(planned, examples.batches(iter(planned)), strict=True):
        gathered = multihost_utils.process_allgather(batch, tiled=True)
        yield as_float({name: jnp.asarray(a[valid > 0]) for name, a in gathered.items()})


def place(tree: Any, mesh: Mesh) -> Any:
    """Put a pytree, alike on every host, onto every device."""

    def whole(array: np.ndarray) -> jax.Array:
        sharding = replicated(mesh)  # without a program, which would be compiled
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(whole, jax.device_get(tree))
