"""Some epochs of a run: train, measure and save, and stop where a signal asks for it."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.pipeline import Examples, plan, shuffled
from vocjax.errors import UserError
from vocjax.mesh import replicated
from vocjax.runs.checkpoints import Checkpoints
from vocjax.tasks.task import Task
from vocjax.training.evaluation import make_inspect
from vocjax.training.interrupts import Interrupted
from vocjax.training.phases import Phase
from vocjax.training.records import Records
from vocjax.training.setup import Data
from vocjax.training.state import ORDER, TrainState, draw_key, is_finite, variables_of, zeros_like
from vocjax.training.step import TrainStep, summarise

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


def run_epochs(
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
