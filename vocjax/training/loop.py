"""One loop for every task: `train_and_evaluate(config, workdir)`."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from vocjax.data import voc
from vocjax.data.classes import class_columns, with_classes
from vocjax.data.dataset import Dataset, facts_of, open_dataset
from vocjax.data.pipeline import Examples, plan, shuffled
from vocjax.errors import UserError, local_path
from vocjax.files import finite
from vocjax.mesh import make_mesh, replicated
from vocjax.metrics.names import absent
from vocjax.pretrained.resolve import complete
from vocjax.runs import lock, places, writer
from vocjax.runs.checkpoints import Checkpoints
from vocjax.runs.reader import read_epochs, read_results
from vocjax.tasks.task import Task, Trained
from vocjax.training.evaluation import (
    evaluate_split,
    make_evaluator,
    originals_of,
    summarise,
)
from vocjax.training.features import frozen_alike, phase_splits
from vocjax.training.interrupts import Interrupted, stop_requests
from vocjax.training.norms import PRECISE, Precise, make_precise, statistics_of
from vocjax.training.phases import Phase, count, frozen_modules, phase_optimizer
from vocjax.training.records import Records
from vocjax.training.setup import Setup, batches_of, begin, notes, restore
from vocjax.training.step import (
    ORDER,
    TrainState,
    TrainStep,
    as_float,
    augments,
    draw_key,
    is_finite,
    make_train_step,
    variables_of,
)
from vocjax.training.validate import check_examples, validate

# Losses are looked at this many steps late, so that looking never waits for the device.
LOSSES_IN_FLIGHT = 8


class Effects(NamedTuple):
    """Where a run's side effects go, and `requested(step)`: the signal that asks for a stop."""

    checkpoints: Checkpoints
    records: Records
    requested: Callable[[int], int | None]


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path | str,
    task: Task | None = None,
    data: Dataset | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> dict[str, Any]:
    """Train a config's task in a run directory, evaluate it, and return the results.

    A run that was interrupted is continued, and so is one of fewer epochs at a constant learning
    rate; one that is finished is left as it is.

    Args:
      config: a whole config, as `config.load_config` returns it.
      workdir: the run directory; made where it does not exist.
      task: in place of the config's, `make_task(config)._replace(loss=...)` for instance.
      data: in place of the config's, `data.dataset.from_arrays(...)` for instance.
      optimizer: in place of the config's; phases still freeze parameters and scale updates.

    The result is what results.json holds: final metrics, best epoch, baselines. `UserError`
    where the config, the data or the directory can't be used, another process trains in it, or the
    loss is not finite; `Interrupted` where SIGTERM or Ctrl-C came, after the state was saved.
    """
    workdir, mesh = local_path(workdir), make_mesh()
    own = {"task": task, "data": data, "optimizer": optimizer}
    custom = [name for name, given in own.items() if given is not None]
    home = places.data_dir(workdir, config)
    classes = data.classes if data else voc.known_classes(config.data.dataset, home)
    config = complete(with_classes(config, classes), workdir)
    valid = validate(config, task)
    for examples in data.splits.values() if data else ():
        check_examples(config, examples, mesh)

    source = data or voc.load(config.data.dataset, home)

    def finished() -> dict[str, Any] | None:
        writer.check(workdir, config, facts_of(source), custom)
        results = read_results(workdir)
        return results if results and results["epoch"] == config.epochs else None

    if results := finished():
        return results
    with lock.alone(workdir):
        if results := finished():  # by the process that had the directory until now
            return results
        data = source if isinstance(source, Dataset) else open_dataset(config, source, mesh)
        optimizers = tuple(
            phase_optimizer(config, phase, batches_of(data, config), optimizer)
            for phase in valid.phases
        )
        evaluator = make_evaluator(valid.task, valid.sums, config.batch_size, mesh)
        setup = Setup(config, workdir, valid, data, optimizers, evaluator, {})
        said = [*data.notes, *notes(config, workdir, source, data)]
        return _run(setup, custom, said)


def _run(setup: Setup, custom: list[str], said: list[str]) -> dict[str, Any]:
    """Train and evaluate in a directory that no other process uses."""
    config, workdir = setup.config, setup.workdir
    begun = time.monotonic()
    setup, state = begin(setup, custom)
    fit_seconds = time.monotonic() - begun
    with Checkpoints(workdir, config) as checkpoints:
        state = restore(setup, checkpoints) if state is None else state
        with (
            Records(workdir, config.name, int(state.step), setup.steps) as records,
            stop_requests() as requested,
        ):
            records.begin(setup.data, count(setup.valid.shapes["params"]), said)
            state, splits = _train(setup, state, Effects(checkpoints, records, requested))
        best = checkpoints.best
    data = setup.data._replace(splits=splits)
    results = _evaluate_at_the_end(setup._replace(data=data), state, best, fit_seconds)
    writer.write_json(workdir / "results.json", results)
    return results


def _train(
    setup: Setup, state: TrainState, effects: Effects
) -> tuple[TrainState, dict[str, Examples]]:
    """Train from the state's step to the end, phase by phase; return also what to measure it on."""
    step, splits = int(state.step), setup.data.splits
    if not setup.steps:  # a closed form is a whole run, with a checkpoint to load
        val = evaluate_split(setup.evaluator, setup.data.splits["val"], variables_of(state))
        effects.checkpoints.save(0, state, val.metrics)
    for phase, optimizer in zip(setup.valid.phases, setup.optimizers, strict=True):
        if step >= phase.end * setup.batches:
            continue
        trained, frozen = phase.split(state.params)
        if phase.first and step == phase.first * setup.batches:
            init = jax.jit(optimizer.init, out_shardings=replicated(setup.mesh))
            state = state._replace(opt_state=init(trained))
        effects.records.phase(phase.first, phase.end, count(trained), count(frozen))
        splits = setup.data.splits  # the features of another phase are let go
        state, splits = _train_phase(setup, state, phase, optimizer, effects)
        step = int(state.step)
    return state, splits


def _train_phase(
    setup: Setup,
    state: TrainState,
    phase: Phase,
    optimizer: optax.GradientTransformation,
    effects: Effects,
) -> tuple[TrainState, dict[str, Examples]]:
    """Train the epochs of a phase that are left; evaluate, log and save.

    Return also the splits to measure the state on, with the features that are still its own.
    """
    config, valid, step = setup.config, setup.valid, int(state.step)
    train_step = make_train_step(valid.task, optimizer, phase, config, setup.mesh)
    inspect = jax.jit(valid.task.inspect) if valid.task.inspect else None
    splits = setup.data.splits
    if not augments(config):
        splits = phase_splits(setup.evaluator, splits, state, phase, effects.records.note)
    alike = frozen_alike(state, phase)
    precise = _precise_norms(setup, state, phase)
    begun, first = time.monotonic(), step
    for epoch in range(max(step // setup.batches, phase.first), phase.end):
        state = _train_epoch(setup, splits["train"], train_step, state, effects)
        step = int(state.step)
        if step < (epoch + 1) * setup.batches:  # a stop was asked for within the epoch
            effects.checkpoints.save(step, state)
            raise _stopped(setup, effects)
        sums, seconds = state.sums, time.monotonic() - begun
        state = state._replace(sums=setup.evaluator.zeros())
        planned = not (epoch + 1) % config.evaluate_every_epochs or step == setup.steps
        record: dict[str, Any] = {}
        if planned:
            if precise:
                batches = setup.evaluator.batches(setup.data.splits["train"])
                stats = precise(variables_of(state), (as_float(batch) for _, batch in batches))
                state = state._replace(batch_stats=stats)
            variables = variables_of(state)
            record = {
                "epoch": epoch + 1,
                "step": step,
                "seconds": round(seconds, 3),
                "images_per_second": round(_images(setup, first, step) / seconds, 3),
                "train": summarise(valid.task, sums, {}),
                "val": evaluate_split(setup.evaluator, splits["val"], variables).metrics,
                **({"model": scalars(inspect(variables, setup.fitted))} if inspect else {}),
            }
            effects.records.epoch(record, config.epochs)
        stops = effects.requested(step) is not None
        if planned or stops:
            # A checkpoint that only the stop asked for is no candidate for the best: without the
            # stop it would not exist.
            effects.checkpoints.save(step, state, record.get("val"))
        if stops and step < setup.steps:
            raise _stopped(setup, effects)
        if planned:
            begun, first = time.monotonic(), step
    return state, splits if alike else splits | {"train": setup.data.splits["train"]}


def _precise_norms(setup: Setup, state: TrainState, phase: Phase) -> Precise | None:
    """Return what measures the statistics of batch norms on train, where the config asks for it."""
    if statistics_of(setup.config) != PRECISE or not state.batch_stats:
        return None
    frozen = frozen_modules(phase, state.params)
    return make_precise(setup.valid.task, frozen, setup.mesh)


def _train_epoch(
    setup: Setup, train: Examples, train_step: TrainStep, state: TrainState, effects: Effects
) -> TrainState:
    """Do the steps of an epoch that are left; return early where a stop is asked for."""
    step = int(state.step)
    epoch, done = divmod(step, setup.batches)
    order = shuffled(draw_key(state.key, ORDER, epoch), len(train.ids))
    left = list(plan(order, setup.config.batch_size, setup.mesh, first=done))
    losses: deque[tuple[int, np.ndarray, jax.Array]] = deque()

    def check(in_flight: int) -> None:
        while len(losses) > in_flight:
            number, ids, loss = losses.popleft()
            if not np.isfinite(value := float(loss)):
                raise _not_finite(f"the loss is {value} at step {number}", ids, effects)

    for (rows, valid), batch in zip(left, train.batches(iter(left)), strict=True):
        state, loss = train_step(state, batch)
        step += 1
        losses.append((step, train.ids[rows[valid > 0]], loss))
        check(LOSSES_IN_FLIGHT)
        effects.records.step()
        if effects.requested(step) is not None:
            break
    check(0)
    # The loss of a step can be finite and the parameters after it not: that must not be saved.
    if not is_finite(variables_of(state)):
        what = f"the loss is finite at step {step}, but the parameters after it are not"
        raise _not_finite(what, train.ids[rows[valid > 0]], effects)
    return state


def _images(setup: Setup, first: int, last: int) -> int:
    """Return the images seen from one step to another; an epoch's last batch may be partial."""
    n = setup.data.counts["train"]

    def until(step: int) -> int:
        epochs, steps = divmod(step, setup.batches)
        return epochs * n + steps * setup.config.batch_size

    return until(last) - until(first)


def _not_finite(what: str, ids: np.ndarray, effects: Effects) -> UserError:
    last = effects.checkpoints.last_step
    saved = "nothing was saved before"
    if last is not None:
        saved = f"the last good checkpoint is step {last}"
    return UserError(
        f"{what}; {saved}. The batch held {', '.join(ids)}. "
        "Look at these images, lower optimizer.learning_rate or set optimizer.clip_norm, and "
        "begin in another --workdir."
    )


def _stopped(setup: Setup, effects: Effects) -> Interrupted:
    step = effects.checkpoints.last_step or 0
    return Interrupted(
        f"stopped by signal; step {step} of {setup.steps} is saved in {setup.workdir}. "
        "Give the same command to continue from there.",
        effects.requested(step) or 0,
    )


def _evaluate_at_the_end(
    setup: Setup, state: TrainState, best: tuple[int, float] | None, fit_seconds: float
) -> dict[str, Any]:
    """Measure both splits, do the task's final evaluation, and keep the arrays for figures."""
    config, task, evaluator, data = setup.config, setup.valid.task, setup.evaluator, setup.data
    variables, epochs = variables_of(state), read_epochs(setup.workdir)
    columns = list(class_columns(config.data))
    found = {
        split: evaluate_split(evaluator, examples, variables, artifacts=True)
        for split, examples in data.splits.items()
    }
    baselines, before = writer.read_baselines(setup.workdir)
    final = task.finish(
        Trained(
            variables,
            setup.fitted,
            kept=lambda split: found[split].kept,
            shown=found["val"].shown,
            before=before,
            originals=lambda split: originals_of(evaluator, data.splits[split], variables),
            split="val",
            key=jax.random.key(config.seed),
            artifacts=True,
        )
    )
    samples = found["val"].shown | dict(final.arrays)
    for split, evaluation in found.items():
        labels = data.labels[split][:, columns]  # of the chosen classes
        own = {"ids": data.splits[split].ids, "labels": labels} | evaluation.kept
        samples |= {f"{split}/{name}": array for name, array in own.items()}
    writer.write_arrays(setup.workdir / "samples.npz", samples)
    for name in final.baselines.keys() & baselines.keys():
        for split, values in final.baselines[name].items():
            baselines[name][split] |= values
    inspected = task.inspect and jax.jit(task.inspect)(variables, setup.fitted)
    measured = {s: of.metrics | final.splits.get(s, {}) for s, of in found.items()}
    undefined = {s: why for s, metrics in measured.items() if (why := absent(metrics))}
    results = {
        "epoch": config.epochs,
        "step": setup.steps,
        "seconds": round(sum(r["seconds"] for r in epochs) if epochs else fit_seconds, 3),
        **measured,
        **({"absent": undefined} if undefined else {}),
        **({"model": scalars(inspected)} if inspected else {}),
        **final.values,
        "best": best
        and {"metric": config.best.metric, "epoch": best[0] // setup.batches, "value": best[1]},
        "baselines": baselines,
    }
    return finite(results)


def scalars(values: Any) -> dict[str, float]:
    """Return what a task's `inspect` gives as Python numbers."""
    return {name: float(value) for name, value in jax.device_get(values).items()}
