"""From a config to what the loop needs: splits on the devices and initial variables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.pipeline import Examples, open_examples, plan
from vocjax.data.splits import RULES, SPLITS, Selection, choose
from vocjax.data.voc import Prepared
from vocjax.devices import make_mesh, replicated
from vocjax.errors import UserError
from vocjax.latent import LatentSpace, latent_space
from vocjax.runs import read_run
from vocjax.tasks import make_task
from vocjax.tasks.task import Batch, Task, Variables
from vocjax.training import rundir
from vocjax.training.checkpoints import restore_variables
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
    source = rundir.read_config(Path(config.init_from)).data
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


def initial_variables(config: ConfigDict, task: Task, train: Examples, mesh: Mesh) -> Variables:
    """Return what a run begins with: a fresh draw, with another run's encoder or a closed form."""

    @jax.jit(out_shardings=replicated(mesh))
    def draw() -> Variables:
        return task.init(draw_key(jax.random.key(config.seed), INIT, 0))

    variables = draw()
    if config.init_from:
        variables = with_encoder_of(variables, Path(config.init_from), mesh)
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
    return jax.jit(lambda x: x, out_shardings=replicated(mesh))(jax.device_get(tree))


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
    step, variables = restore_variables(workdir, config, shapes, mesh, checkpoint)
    return Trained(config, task, variables, step)


def latent_space_of(workdir: Path) -> tuple[ConfigDict, LatentSpace]:
    """Return a finished run's config and latent space, with the axes of the codes that it kept."""
    trained = load_run(workdir, make_mesh())
    codec = trained.task.codec
    if codec is None:
        raise UserError(
            f"{workdir} is a run of {trained.config.task}, which has no decoder; "
            "give one of reconstruction, configs/autoencoder_256.py for instance."
        )
    samples = read_run(workdir).samples
    if "train/code" not in samples:
        raise UserError(f"{workdir} is not finished; go on with its `vocjax train`.")
    return trained.config, latent_space(codec, trained.variables, samples["train/code"])


def with_encoder_of(variables: Variables, run: Path, mesh: Mesh) -> Variables:
    """Return `variables` with the encoder's parameters and statistics of another run's last state.

    Where ours takes grey images and the other's takes colour, kernels are summed over red, green
    and blue, which gives the same features of a grey image in three equal channels. Otherwise
    strict: `UserError` lists every array whose name or shape differs.
    """
    source = load_run(run, mesh).variables
    result = {}
    for collection, tree in variables.items():
        ours, theirs = tree.get("encoder", {}), source[collection].get("encoder", {})
        flat = flatten_dict(ours)
        theirs = unflatten_dict(
            {path: _for_grey(flat.get(path), x) for path, x in flatten_dict(theirs).items()}
        )
        if problems := _mismatches(ours, theirs):
            raise UserError(
                f"the encoder of {run} does not fit this config's:\n  "
                + "\n  ".join(problems)
                + "\nGive init_from a run with the same model.encoder and data.channels."
            )
        result[collection] = tree | ({"encoder": theirs} if ours else {})
    return result


def _for_grey(ours: jax.Array | None, theirs: jax.Array) -> jax.Array:
    """Sum a colour kernel [height, width, 3, features] over its channels where ours has one."""
    height, width, channels, *features = (*theirs.shape, 0, 0, 0)[:4]
    if ours is not None and channels == 3 and ours.shape == (height, width, 1, *features):
        return theirs.sum(axis=2, keepdims=True)
    return theirs


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
