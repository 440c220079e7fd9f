"""One loop for every task: `train_and_evaluate(config, workdir)`."""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data import voc
from vocjax.data.pipeline import Examples, plan, shuffled
from vocjax.devices import make_mesh, replicated
from vocjax.errors import UserError
from vocjax.latent import embeddings, survey
from vocjax.runs import read_epochs
from vocjax.tasks import make_task
from vocjax.tasks.task import Task, Variables
from vocjax.training import baselines, rundir
from vocjax.training.checkpoints import Checkpoints, abstract, has_checkpoint
from vocjax.training.evaluation import (
    first_batch,
    keep_samples,
    make_evaluate,
    make_inspect,
    sums_shape,
)
from vocjax.training.interrupts import Interrupted, stop_requests
from vocjax.training.phases import (
    Phase,
    count,
    frozen_modules,
    make_phases,
    phase_of_step,
    phase_optimizer,
)
from vocjax.training.records import Records
from vocjax.training.setup import (
    Data,
    check_best,
    check_config,
    initial_variables,
    open_data,
)
from vocjax.training.state import (
    ORDER,
    TrainState,
    create,
    draw_key,
    is_finite,
    variables_of,
    zeros_like,
)
from vocjax.training.step import TrainStep, augments, make_train_step, model_outputs, summarise

# Losses are looked at this many steps late, so that looking never waits for the device.
LOSSES_IN_FLIGHT = 8

Evaluate = Callable[[Any, Examples], dict[str, float]]


class Run(NamedTuple):
    """What stays the same from the first step of a run to its last."""

    config: ConfigDict
    workdir: Path
    task: Task
    mesh: Mesh
    data: Data
    sums: Any  # the shapes of what the metrics sum
    phases: tuple[Phase, ...]
    fitted: dict[str, Any]  # what the baselines learnt of the training split

    @property
    def batches(self) -> int:
        """Batches in an epoch; the last one may be partial."""
        return -(-len(self.data.splits["train"].ids) // self.config.batch_size)

    def images(self, first: int, last: int) -> int:
        """Images seen from one step to another; the last batch of an epoch may be partial."""
        n = len(self.data.splits["train"].ids)

        def until(step: int) -> int:
            epochs, steps = divmod(step, self.batches)
            return epochs * n + steps * self.config.batch_size

        return until(last) - until(first)

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        return self.batches * self.config.epochs


def train_and_evaluate(
    config: ConfigDict, workdir: Path | str, task: Task | None = None
) -> dict[str, Any]:
    """Train a config's task in a run directory, evaluate it, and return the results.

    A run that was interrupted goes on where it stopped; one that is finished is left alone.

    Args:
      config: as a file in configs/ gives it.
      workdir: the run directory; made where it does not exist.
      task: in the place of the config's own, `make_task(config)._replace(loss=...)` for instance.

    Returns:
      What results.json holds: the final metrics by split, the best epoch, the baselines.

    Raises:
      UserError: the config, the data or the directory can't be used, or the loss is not finite.
      Interrupted: SIGTERM or Ctrl-C came; the state was saved before.
    """
    workdir, mesh = Path(workdir), make_mesh()
    custom_task = task is not None
    task = task or make_task(config)
    check_config(config)
    prepared = voc.load(config.data.dataset, Path(config.data.data_dir))
    rundir.check(workdir, config, prepared, custom_task=custom_task)
    if (finished := rundir.read_results(workdir)) is not None:
        return finished
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    phases = make_phases(config, shapes["params"])
    data = open_data(config, prepared, mesh)
    example = first_batch(data.splits["train"], config.batch_size, mesh)
    sums = sums_shape(task, shapes, example)
    check_best(config, task, sums)
    run = Run(config, workdir, task, mesh, data, sums, phases, {})
    optimizers = [phase_optimizer(config, phase, run.batches) for phase in phases]

    def create_state(variables: Variables, number: int = 0) -> TrainState:
        trained, _ = phases[number].split(variables["params"])
        opt_state = optimizers[number].init(trained)
        key, averages = jax.random.key(config.seed), config.optimizer.average_decay > 0
        return create(variables, opt_state, key, sums, averages=averages)

    # Before anything is written: what a fresh run begins with may turn out not to exist.
    begun, state, splits = time.monotonic(), None, data.splits
    begins = not has_checkpoint(workdir)
    measures = not baselines.is_measured(workdir)
    if begins or measures or task.inspect:
        variables = initial_variables(config, task, data.splits["train"], mesh)
        splits = baselines.all_with_features(splits, task, variables, config.batch_size, mesh)
        run = run._replace(fitted=baselines.fit(task, splits, config.batch_size, mesh))
    if begins:
        first_state = jax.jit(create_state, out_shardings=replicated(mesh))
        state = jax.block_until_ready(first_state(variables))
    fit_seconds = time.monotonic() - begun
    # And before the first host writes, the others have looked at what was there.
    multihost_utils.sync_global_devices("the run directory is checked")
    parameters = count(shapes["params"])
    rundir.begin(workdir, config, prepared, parameters, data.counts, custom_task=custom_task)
    if measures:
        baselines.measure(workdir, config, task, splits, run.fitted, sums, mesh)
    with Checkpoints(workdir, config.best) as checkpoints:
        if state is None:
            number = phase_of_step(phases, checkpoints.last_step or 0, run.batches)
            shape = jax.eval_shape(functools.partial(create_state, number=number), shapes)
            state = checkpoints.restore(None, abstract(shape, mesh))
        with Records(workdir, config.name, int(state.step), run.steps) as records:
            records.begin(data.counts, data.several, parameters, data.splits["train"].resident)
            evaluate = make_evaluate(model_outputs(task), task, sums, config.batch_size, mesh)
            state = _run_phases(run, optimizers, evaluate, state, checkpoints, records)
        best = checkpoints.best
    results = _results(run, evaluate, state, best, fit_seconds)
    rundir.write_json(workdir / "results.json", results)
    return results


def _run_phases(
    run: Run,
    optimizers: Sequence[optax.GradientTransformation],
    evaluate: Evaluate,
    state: TrainState,
    checkpoints: Checkpoints,
    records: Records,
) -> TrainState:
    """Train from the state's step to the end, phase by phase."""
    config, task, mesh, step = run.config, run.task, run.mesh, int(state.step)
    if not run.steps:
        checkpoints.save(0, state, evaluate(variables_of(state), run.data.splits["val"]))
    with stop_requests() as requested:
        for phase, optimizer in zip(run.phases, optimizers, strict=True):
            if step >= phase.end * run.batches:
                continue
            trained, frozen = phase.split(state.params)
            if phase.first and step == phase.first * run.batches:
                init = jax.jit(optimizer.init, out_shardings=replicated(mesh))
                state = state._replace(opt_state=init(trained))
            records.phase(phase.first, phase.end, count(trained), count(frozen))
            splits = run.data.splits
            if (
                task.features
                and task.features.module in frozen_modules(phase, state.params)
                and not augments(config.data.augment)
            ):
                variables = variables_of(state)
                splits = baselines.all_with_features(
                    splits, task, variables, config.batch_size, mesh
                )
            train_step = make_train_step(task, optimizer, phase, config, mesh)
            epochs = range(max(step // run.batches, phase.first), phase.end)
            state, step = _run_epochs(
                run, splits, epochs, train_step, evaluate, state, requested, checkpoints, records
            )
    return state


def _run_epochs(
    run: Run,
    splits: dict[str, Examples],
    epochs: Iterable[int],
    train_step: TrainStep,
    evaluate: Evaluate,
    state: TrainState,
    requested: Callable[[int], int | None],
    checkpoints: Checkpoints,
    records: Records,
) -> tuple[TrainState, int]:
    """Train some epochs; measure and save on the way."""
    config, step = run.config, int(state.step)
    zeros = jax.jit(lambda: zeros_like(run.sums), out_shardings=replicated(run.mesh))
    inspect = make_inspect(run.task)
    begun, first = time.monotonic(), step
    for epoch in epochs:
        state, step = _train_epoch(
            run, splits["train"], train_step, state, epoch, requested, checkpoints, records
        )
        if step < (epoch + 1) * run.batches:  # a stop was asked for within the epoch
            checkpoints.save(step, state)
            raise _stopped(run, checkpoints, requested)
        trained = summarise(run.task, state.sums)
        seconds = time.monotonic() - begun
        state = state._replace(sums=zeros())
        planned = not (epoch + 1) % config.evaluate_every_epochs or step == run.steps
        record: dict[str, Any] = {}
        if planned:
            record = {
                "epoch": epoch + 1,
                "step": step,
                "seconds": round(seconds, 3),
                "images_per_second": round(run.images(first, step) / seconds, 3),
                "train": trained,
                "val": evaluate(variables_of(state), splits["val"]),
                **inspect(variables_of(state), run.fitted)[0],
            }
            records.epoch(record, config.epochs)
        stops = requested(step) is not None
        if planned or stops:
            # One that only the stop asked for is no candidate for the best: without the stop it
            # would not be there.
            checkpoints.save(step, state, record.get("val"))
        if stops and step < run.steps:
            raise _stopped(run, checkpoints, requested)
        if planned:
            begun, first = time.monotonic(), step
    return state, step


def _train_epoch(
    run: Run,
    train: Examples,
    train_step: TrainStep,
    state: TrainState,
    epoch: int,
    requested: Callable[[int], int | None],
    checkpoints: Checkpoints,
    records: Records,
) -> tuple[TrainState, int]:
    """Do an epoch's steps that are left; return early where a stop is asked for."""
    step = int(state.step)
    order = shuffled(draw_key(state.key, ORDER, epoch), len(train.ids))
    left = list(plan(order, run.config.batch_size, run.mesh, first=step - epoch * run.batches))
    losses: deque[tuple[int, np.ndarray, jax.Array]] = deque()

    def check(in_flight: int) -> None:
        while len(losses) > in_flight:
            number, ids, loss = losses.popleft()
            if not np.isfinite(value := float(loss)):
                raise _not_finite(f"the loss is {value} at step {number}", ids, checkpoints)

    for (rows, valid), batch in zip(left, train.batches(iter(left)), strict=True):
        state, loss = train_step(state, batch)
        step += 1
        losses.append((step, train.ids[rows[valid > 0]], loss))
        check(LOSSES_IN_FLIGHT)
        records.step()
        if requested(step) is not None:
            break
    check(0)
    # A step's loss can be finite and what it made of the parameters not: that must not be saved.
    if not is_finite(variables_of(state)):
        what = f"the loss is finite at step {step}, but the parameters after it are not"
        raise _not_finite(what, train.ids[rows[valid > 0]], checkpoints)
    return state, step


def _not_finite(what: str, ids: np.ndarray, checkpoints: Checkpoints) -> UserError:
    last = checkpoints.last_step
    saved = (
        "nothing was saved before" if last is None else f"the last good checkpoint is step {last}"
    )
    return UserError(
        f"{what}; {saved}. The batch held {', '.join(ids)}. "
        "Look at these images, lower optimizer.learning_rate or set optimizer.clip_norm, and "
        "begin in another --workdir."
    )


def _stopped(
    run: Run, checkpoints: Checkpoints, requested: Callable[[int], int | None]
) -> Interrupted:
    step = checkpoints.last_step
    return Interrupted(
        f"stopped by signal; step {step} of {run.steps} is saved in {run.workdir}. "
        "The same command goes on from there.",
        requested(step or 0) or 0,
    )


def _results(
    run: Run,
    evaluate: Evaluate,
    state: TrainState,
    best: tuple[int, float] | None,
    fit_seconds: float,
) -> dict[str, Any]:
    """Measure both splits and the baselines at the end, and keep the arrays for figures."""
    config, task, data, mesh = run.config, run.task, run.data, run.mesh
    variables, records = variables_of(state), read_epochs(run.workdir)
    samples = keep_samples(task, variables, data.splits, data.labels, config.batch_size, mesh)
    simple, before = baselines.read(run.workdir)
    values, arrays = make_inspect(task)(variables, run.fitted)
    if task.codec is not None:
        samples |= survey(task.codec, variables, samples, jax.random.key(config.seed))
    if before:
        key = jax.random.key(config.seed)
        after = {split: samples[f"{split}/code"] for split in data.splits}
        samples |= embeddings(after, key)
        earlier = embeddings({split: before[f"{split}/code"] for split in data.splits}, key)
        samples |= {f"before/{name}": array for name, array in earlier.items()}
    rundir.write_arrays(run.workdir / "samples.npz", samples | arrays)
    return {
        "epoch": config.epochs,
        "step": run.steps,
        "seconds": round(sum(r["seconds"] for r in records) if records else fit_seconds, 3),
        **{split: evaluate(variables, examples) for split, examples in data.splits.items()},
        **values,
        **({"code": task.codec.numbers} if task.codec else {}),
        "best": best
        and {"metric": config.best.metric, "epoch": best[0] // run.batches, "value": best[1]},
        "baselines": simple,
    }
