"""What a run begins with: its directory, its baselines, a fresh or a restored state."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.dataset import Dataset
from vocjax.data.pipeline import Examples
from vocjax.data.splits import choose
from vocjax.data.voc import Prepared
from vocjax.errors import UserError
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.pretrained.resolve import located, origin_facts, origin_of
from vocjax.runs import places, writer
from vocjax.runs.checkpoints import Checkpoints, abstract, has_checkpoint
from vocjax.runs.reader import counted, read_config
from vocjax.tasks.task import ENCODER, Variables
from vocjax.training.accumulation import updates_in
from vocjax.training.evaluation import (
    Evaluator,
    evaluate_baselines,
    fit_baselines,
    place,
    whole_batches,
)
from vocjax.training.features import Compute, with_features
from vocjax.training.optimizers import decayed
from vocjax.training.phases import count, phase_of_step
from vocjax.training.schedules import beyond
from vocjax.training.step import INIT, TrainState, draw_key, initial_state, placement
from vocjax.training.validate import Valid


class Setup(NamedTuple):
    """What stays the same from the first step of a run to its last."""

    config: ConfigDict
    workdir: Path
    valid: Valid
    data: Dataset
    optimizers: tuple[optax.GradientTransformation, ...]  # of the phases
    evaluator: Evaluator
    fitted: dict[str, Any]  # what the baselines have learnt

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self.evaluator.mesh

    @property
    def batches(self) -> int:
        """Batches in an epoch; the last one may be partial."""
        return batches_of(self.data, self.config)

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        return self.batches * self.config.epochs


def batches_of(data: Dataset, config: ConfigDict) -> int:
    """Return the number of batches in an epoch; the last one may be partial."""
    return -(-len(data.splits["train"].ids) // config.batch_size)


def begin(setup: Setup, custom: list[str]) -> tuple[Setup, TrainState | None]:
    """Make the run directory, and measure the baselines once.

    Return the setup with what the baselines have learnt, and with the features of a run that has no
    steps; and the state of a run that begins, None for one that is continued.
    """
    config, workdir, valid, data, _, evaluator, _ = setup
    # Before anything is written: what a run begins with may turn out not to exist.
    state, splits, begins = None, data.splits, not has_checkpoint(workdir)
    measures = not writer.has_baselines(workdir)
    if begins or measures or valid.task.inspect:
        variables = initial_variables(setup)
        if compute := _features_before(setup):
            splits = {s: with_features(evaluator, x, variables, compute) for s, x in splits.items()}
        setup = setup._replace(fitted=fit_baselines(evaluator, splits["train"]))
    fit: dict[str, Any] = {}
    if begins:
        variables, fit = fitted(setup, variables, splits["train"])
        _check_finite("parameters", variables)
        if not setup.steps:  # no step will look at its loss
            _, batch = next(evaluator.batches(splits["val"]))
            _check_finite("outputs on val", evaluator.outputs(variables, batch))
            # A fit without steps leaves the encoder as it is, and its features.
            setup = setup._replace(data=data._replace(splits=splits))
        make = partial(_first_state, setup, 0)
        where = placement(jax.eval_shape(make, variables), config, setup.mesh)
        state = jax.block_until_ready(jax.jit(make, out_shardings=where)(variables))
    # The first host writes only after the others have looked at what was there.
    multihost_utils.sync_global_devices("the run directory is checked")
    facts = {
        "dataset": data.facts,
        "parameters": count(valid.shapes["params"]),
        "images": data.counts,
        "custom": custom,
        **({} if "optimizer" in custom else {"decayed_parameters": decayed_in(setup)}),
        "fit": fit,
        "init_from": config.init_from and origin_facts(origin_of(config, workdir)),
    }
    writer.begin(workdir, config, facts)
    if measures:
        features = valid.task.features
        before = _flat(evaluator, splits, features.name) if features and features.before else {}
        writer.write_baselines(workdir, evaluate_baselines(evaluator, splits, setup.fitted), before)
    return setup, state


def _features_before(setup: Setup) -> Compute | None:
    """Return what computes the features that baselines and a fit of the model need."""
    features = setup.valid.task.features
    return features.of(frozenset({ENCODER})) if features and features.before else None


def _flat(evaluator: Evaluator, splits: dict[str, Examples], name: str) -> dict[str, np.ndarray]:
    """Return `SPLIT/NAME` [n, numbers] of an array that the batches hold."""
    found = {}
    for split, examples in splits.items():
        batches = whole_batches(examples, evaluator.batch_size, evaluator.mesh)
        parts = np.concatenate([batch[name] for batch in batches])
        found[f"{split}/{name}"] = parts.reshape(len(parts), -1)
    return found


def initial_variables(setup: Setup) -> Variables:
    """Return a fresh draw, with the encoder of `init_from`."""
    config, mesh = setup.config, setup.mesh
    key = draw_key(jax.random.key(config.seed), INIT, 0)
    variables = place(setup.valid.task.init(key), mesh)
    if not config.init_from:
        return variables
    places.check(setup.workdir, config, "init_from")
    return with_encoder_of(variables, located(config, setup.workdir), mesh)


def fitted(setup: Setup, variables: Variables, train: Examples) -> tuple[Variables, dict[str, Any]]:
    """Return variables whose closed forms are fitted to the training split, and what was found."""
    if setup.valid.task.fit is None:
        return variables, {}
    batches = whole_batches(train, setup.config.batch_size, setup.mesh)
    variables, found = setup.valid.task.fit(variables, batches, train.ids)
    return place(variables, setup.mesh), found


def _check_finite(what: str, tree: Any) -> None:
    """Raise `UserError` where what a run begins with is not finite everywhere."""
    for path, array in jax.tree.leaves_with_path(jax.device_get(tree)):
        if not np.isfinite(array).all():
            raise UserError(
                f"the network's {what} are not finite before training, in "
                f"{jax.tree_util.keystr(path, simple=True, separator='/')} first: the weights of "
                "init_from are not, or what is computed with them overflows. Give init_from other "
                "weights."
            )


def restore(setup: Setup, checkpoints: Checkpoints) -> TrainState:
    """Load the last checkpoint, in the shapes of the phase that it belongs to."""
    number = phase_of_step(setup.valid.phases, checkpoints.last_step or 0, setup.batches)
    state = jax.eval_shape(partial(_first_state, setup, number), setup.valid.shapes)
    where = placement(state, setup.config, setup.mesh)
    return checkpoints.restore(None, abstract(state, where))


def _first_state(setup: Setup, number: int, variables: Variables) -> TrainState:
    """Return a state before the first step, with the optimizer state of a phase."""
    trained, _ = setup.valid.phases[number].split(variables["params"])
    opt_state = setup.optimizers[number].init(trained)
    return initial_state(setup.config, variables, opt_state, setup.valid.sums)


def notes(
    config: ConfigDict, workdir: Path, source: Prepared | Dataset, data: Dataset
) -> list[str]:
    """Return what a reader of the log should know about where a run begins, in sentences.

    To be asked before the run begins: config.json has the epochs of a run that is given more.
    """
    origin = located(config, workdir)
    lines = ["all parameters begin from a fresh draw"]
    if has_checkpoint(workdir):
        epochs, lines = read_config(workdir).epochs, ["the run is continued"]
        if epochs != config.epochs:
            lines = [f"the run of {epochs} epochs is continued to {config.epochs}"]
    elif config.init_from:
        lines = [f"the encoder begins from {origin.init_from}"]
    if known := config.init_from and _seen_before(origin, source, data.splits["val"].ids):
        where = f"training images of {origin.init_from}"
        lines.append(f"{known} of the val images were {where}: val is no test")
    if config.stop_early.patience and not (config.data.held_out or isinstance(source, Dataset)):
        lines.append(
            "stop_early looks at the official val, which is no test then; data.held_out=0.2 has it "
            "look at photographs of train"
        )
    return lines


def of_updates(setup: Setup, custom: list[str]) -> list[str]:
    """Return what a reader of the log should know about the updates, in sentences."""
    fields, lines = setup.config.optimizer, []
    if fields.weight_decay and "optimizer" not in custom:
        every = count(setup.valid.shapes["params"])
        touched = f"{decayed_in(setup):,} of {every:,} parameters"
        lines.append(f"weight decay {fields.weight_decay:g} touches {touched}")
    if fields.accumulate > 1:
        updates = updates_in(setup.batches, fields.accumulate)
        lines.append(
            f"an update has the gradients of {fields.accumulate} batches, or of those that an "
            f"epoch has left: {counted(updates, 'update')} in {counted(setup.batches, 'step')}"
        )
    if "optimizer" not in custom:
        updates = updates_in(setup.batches, fields.accumulate)
        longest = max((phase.end - phase.first) * updates for phase in setup.valid.phases)
        lines += beyond(fields, longest, updates) if longest else []
    return lines


def decayed_in(setup: Setup) -> int:
    """Return how many parameters the config's weight decay touches, in any phase."""
    trained = {path for phase in setup.valid.phases for path in phase.factors}
    shapes = flatten_dict(setup.valid.shapes["params"], sep="/")
    return decayed(setup.config.optimizer, {path: shapes[path] for path in trained})


def _seen_before(config: ConfigDict, source: Prepared | Dataset, ids: np.ndarray) -> int:
    """Return how many of the images were training images of the run that this one begins from."""
    origin = Path(config.init_from)
    if isinstance(source, Dataset) or not (origin / "config.json").is_file():
        return 0
    theirs = read_config(origin).data
    if theirs.dataset != config.data.dataset:
        return 0
    seen = source.index.ids[choose(source.index, theirs, "train").rows]
    return int(np.isin(ids, seen).sum())
