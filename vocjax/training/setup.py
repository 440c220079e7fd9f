"""From a config to what the loop needs: splits on the devices and initial variables."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.pipeline import Examples, open_examples, plan
from vocjax.data.splits import SPLITS, select
from vocjax.data.voc import Prepared
from vocjax.devices import replicated
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.tasks.task import Task, Variables
from vocjax.training import rundir
from vocjax.training.checkpoints import restore_variables
from vocjax.training.state import INIT, draw_key, zeros_like
from vocjax.training.step import summarise


class Data(NamedTuple):
    """The splits of a config's task, and the labels [n, 20] of each."""

    splits: dict[str, Examples]
    labels: dict[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """Images in each split."""
        return {split: len(examples.ids) for split, examples in self.splits.items()}


def open_data(
    config: ConfigDict, prepared: Prepared, mesh: Mesh, splits: tuple[str, ...] = SPLITS
) -> Data:
    """Open splits of a prepared data set as `config.data` asks for them."""
    data = config.data
    rows = {s: select(prepared.index, data.image_set, s, data.classes) for s in splits}

    def examples(rows: np.ndarray) -> Examples:
        return open_examples(
            prepared,
            rows,
            mesh,
            size=data.size,
            channels=data.channels,
            masks=data.image_set == "Segmentation",
            storage=data.storage,
        )

    return Data(
        {split: examples(r) for split, r in rows.items()},
        {split: prepared.index.labels[r] for split, r in rows.items()},
    )


def check_config(config: ConfigDict, task: Task) -> None:
    """Raise `UserError` for fields that no loop can run with, before any data is read."""
    for field, smallest in (("batch_size", 1), ("epochs", 0), ("save_every_epochs", 1)):
        if config[field] < smallest:
            raise UserError(f"{field} is {config[field]}; it must be at least {smallest}.")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed is {config.seed}; it must be at least 0 and less than 2**32.")
    if task.fit is not None and config.epochs:
        raise UserError(
            f"epochs is {config.epochs}; {config.model.name} has a closed form: set it to 0."
        )
    if config.best.mode not in ("min", "max"):
        raise UserError(f"best.mode is {config.best.mode!r}; it is min or max.")
    padding, colour = config.data.augment.crop_padding, config.data.augment.colour
    if padding and not 0 < padding < config.data.size:
        raise UserError(
            f"data.augment.crop_padding is {padding}; it must be at least 0 (off) and less than "
            f"data.size, {config.data.size}."
        )
    if not 0 <= colour < 1:
        raise UserError(f"data.augment.colour is {colour}; it must be in [0, 1), 0 for off.")


def check_best(config: ConfigDict, task: Task, sums: Any) -> None:
    """Raise `UserError` unless the task measures `best.metric`; `sums` are its metrics' shapes."""
    names = summarise(task, zeros_like(sums))
    if config.best.metric not in names:
        raise UserError(
            f"best.metric is {config.best.metric!r}; this task measures {', '.join(names)}."
        )


def initial_variables(config: ConfigDict, task: Task, train: Examples, mesh: Mesh) -> Variables:
    """Return what a run begins with: a closed-form fit, another run's encoder, or a fresh draw."""
    if task.fit is not None:
        fit = jax.jit(task.fit, out_shardings=replicated(mesh))
        return fit(all_images(train, config.batch_size, mesh))

    @jax.jit(out_shardings=replicated(mesh))
    def draw() -> Variables:
        return task.init(draw_key(jax.random.key(config.seed), INIT, 0))

    variables = draw()
    if config.init_from:
        return with_encoder_of(variables, Path(config.init_from), mesh)
    return variables


def all_images(examples: Examples, batch_size: int, mesh: Mesh) -> np.ndarray:
    """Gather a split's images [n, height, width, channels], float32 in [0, 1]."""
    planned = list(plan(np.arange(len(examples.ids)), batch_size, mesh))
    gathered = [
        multihost_utils.process_allgather(batch["image"], tiled=True)[valid > 0]
        for (_, valid), batch in zip(planned, examples.batches(iter(planned)), strict=True)
    ]
    return np.concatenate(gathered).astype(np.float32) / 255


class Trained(NamedTuple):
    """A trained run, ready to be applied."""

    config: ConfigDict
    task: Task
    variables: Variables
    step: int


def load_run(workdir: Path, mesh: Mesh, checkpoint: str = "last") -> Trained:
    """Load a run directory's config, task and variables of its "last" or "best" checkpoint."""
    config = rundir.read_config(workdir)
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    step, variables = restore_variables(workdir, config.best, shapes, mesh, checkpoint)
    return Trained(config, task, variables, step)


def with_encoder_of(variables: Variables, run: Path, mesh: Mesh) -> Variables:
    """Return `variables` with the encoder's parameters and statistics of another run's last state.

    Strict: `UserError` lists every array whose name or shape differs.
    """
    source = load_run(run, mesh).variables
    result = {}
    for collection, tree in variables.items():
        ours, theirs = tree.get("encoder", {}), source[collection].get("encoder", {})
        if problems := _mismatches(ours, theirs):
            raise UserError(
                f"the encoder of {run} does not fit this config's:\n  "
                + "\n  ".join(problems)
                + "\nGive init_from a run with the same model.encoder and data.channels."
            )
        result[collection] = tree | ({"encoder": theirs} if ours else {})
    return result


def _mismatches(ours: dict, theirs: dict) -> list[str]:
    def shapes(tree: dict) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree.leaves_with_path(tree)
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in leaves
        }

    wanted, found = shapes(ours), shapes(theirs)
    return [
        f"{name}: {found.get(name, 'absent')} there, {wanted.get(name, 'absent')} here"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
