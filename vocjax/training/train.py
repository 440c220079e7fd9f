"""The training of a group of runs: phases, epochs, evaluations, checkpoints and stops."""

import time
from collections.abc import Callable
from typing import Any

import jax

from vocjax.data.pipeline import Examples
from vocjax.errors import UserError
from vocjax.mesh import replicated, sharded
from vocjax.tasks.task import Variables
from vocjax.training import features
from vocjax.training.epoch import train_epoch
from vocjax.training.evaluation import evaluate_split, summarise
from vocjax.training.features import frozen_alike, phase_splits
from vocjax.training.final import scalars
from vocjax.training.group import (
    Group,
    Member,
    evaluate_group,
    group_evaluator,
    make_group_step,
    step_of,
)
from vocjax.training.interrupts import Interrupted, stop_requests
from vocjax.training.norms import PRECISE, make_precise, statistics_of
from vocjax.training.phases import Phase, count, frozen_modules
from vocjax.training.profile import Profile
from vocjax.training.setup import Setup
from vocjax.training.step import TrainState, as_float, augments, variables_of
from vocjax.training.stopping import why_stop


def train_members(
    members: list[Member], states: list[TrainState], profile: Profile | None = None
) -> list[tuple[TrainState | UserError, dict[str, Examples]]]:
    """Train runs to their ends: in one program those that are at the same step.

    A kill, an early stop or an error can have left some of them behind. A `profile` looks at steps
    of a single run. Return the end of each, and the splits to measure it on.
    """
    ends: dict[int, tuple[TrainState | UserError, dict[str, Examples]]] = {}
    with stop_requests() as requested:
        steps = [step_of(state) for state in states]
        for step in sorted(set(steps)):
            numbers = [i for i, at in enumerate(steps) if at == step]
            evaluator = group_evaluator(members[0].setup.evaluator, len(numbers))
            group = Group(tuple(members[i] for i in numbers), evaluator, requested, {}, {}, profile)
            state = _train(group, group.join([states[i] for i in numbers]))
            for i, number in enumerate(numbers):
                end = group.ended.get(i) or group.part(state, i)
                ends[number] = end, group.splits.get(i, members[number].setup.data.splits)
    return [ends[i] for i in range(len(members))]


def _train(group: Group, state: TrainState) -> TrainState:
    """Train from the state's step to the end, phase by phase."""
    setup, step = group.setup, step_of(state)
    if not setup.steps:  # a closed form is a whole run, with a checkpoint to load
        val = evaluate_split(setup.evaluator, setup.data.splits["val"], variables_of(state))
        group.members[0].checkpoints.save(0, state, val.metrics)
    _end_early(group, state)
    for number, phase in enumerate(setup.valid.phases):
        if not group.left or step >= phase.end * setup.batches:
            continue
        trained, _ = phase.split(state.params)
        if phase.first and step == phase.first * setup.batches:
            init = group.over(setup.optimizers[number].init)
            where = replicated(setup.mesh)
            if setup.config.shard_parameters:
                where = sharded(jax.eval_shape(init, trained), setup.mesh)
            state = state._replace(opt_state=jax.jit(init, out_shardings=where)(trained))
        shapes = phase.split(setup.valid.shapes["params"])
        for _, member in group.left:
            member.records.phase(phase.first, phase.end, *map(count, shapes))
        state = _train_phase(group, state, number)
        step = step_of(state)
    return state


def _end_early(group: Group, state: TrainState) -> None:
    """End the runs whose `stop_early` has it so before their last step."""
    for number, member in group.left if step_of(state) < group.setup.steps else ():
        if why := why_stop(member.setup.config, member.records.epochs):
            member.records.say(f"stops early: {why}")
            group.ended[number] = group.part(state, number)


def _splits(group: Group, state: TrainState, phase: Phase) -> list[dict[str, Examples]]:
    """Return the splits of each run, with features where nothing in a phase changes them."""
    found: dict[int, dict[str, Examples]] = {}
    for i, member in group.left:
        own, splits = group.part(state, i), member.setup.data.splits
        group.splits.pop(i, None)  # the features of another phase are let go
        kept, said, most = splits, "", features.MOST_BYTES // len(group.left)
        if not augments(member.setup.config):
            kept, said = phase_splits(member.setup.evaluator, splits, own, phase, most)
        if said:
            member.records.say(said)
        alike = frozen_alike(own, phase)
        group.splits[i] = kept if alike else kept | {"train": splits["train"]}
        found[i] = kept
    # A run that has ended takes part in the program, and what is computed for it is ignored.
    some = next(iter(found.values()))
    return [found.get(i, some) for i in range(len(group.members))]


def _train_phase(group: Group, state: TrainState, number: int) -> TrainState:
    """Train the epochs of a phase, number `number`, that are left; evaluate, log and save."""
    setup, step, config = group.setup, step_of(state), group.setup.config
    phase = setup.valid.phases[number]
    train_step, precise = make_group_step(group, phase, number), _precise_norms(group, state, phase)
    splits = _splits(group, state, phase)
    train, val = ([of[split] for of in splits] for split in ("train", "val"))
    if setup.data.uncut:  # all runs of a group have the same data
        train = [setup.data.uncut] * len(train)
    if group.profile:
        train, train_step = group.profile.around(train, train_step)
    inspect = jax.jit(setup.valid.task.inspect) if setup.valid.task.inspect else None
    begun, first = time.monotonic(), step
    for epoch in range(max(step // setup.batches, phase.first), phase.end):
        state = train_epoch(group, train, train_step, state)
        step = step_of(state)
        if not group.left:
            break
        if step < (epoch + 1) * setup.batches:  # a stop was asked for within the epoch
            _save(group, state, [])
            raise _stopped(group, step)
        sums, seconds = state.sums, time.monotonic() - begun
        state = state._replace(sums=group.evaluator.zeros())
        planned = not (epoch + 1) % config.evaluate_every_epochs or step == setup.steps
        measured: list[dict[str, float]] = []
        if planned:
            if precise:
                state = state._replace(batch_stats=precise(state))
            measured = evaluate_group(group, val, variables_of(state))
            clock = {
                "seconds": round(seconds, 3),
                "images_per_second": round(_images(setup, first, step) / seconds, 3),
            }
            for i, member in group.left:
                record = {
                    "epoch": epoch + 1,
                    "step": step,
                    **clock,
                    "train": summarise(setup.valid.task, group.part(sums, i), {}),
                    "val": measured[i],
                }
                if inspect:
                    variables = group.part(variables_of(state), i)
                    record["model"] = scalars(inspect(variables, member.setup.fitted))
                member.records.epoch(record, config.epochs)
        stops = group.requested(step) is not None
        if planned or stops:
            _save(group, state, measured)
        if stops and step < setup.steps:
            raise _stopped(group, step)
        if planned:
            begun, first = time.monotonic(), step
            _end_early(group, state)
        if not group.left:  # another step would take the memory of the state that they ended with
            break
    return state


def _save(group: Group, state: TrainState, measured: list[dict[str, float]]) -> None:
    """Save the runs that still train; `measured` are the values of val of all, none in an epoch.

    A checkpoint that only a stop asked for is no candidate for the best: without the stop it would
    not exist.
    """
    for number, member in group.left:
        metrics = measured[number] if measured else None
        member.checkpoints.save(step_of(state), group.part(state, number), metrics)


def _precise_norms(
    group: Group, state: TrainState, phase: Phase
) -> Callable[[TrainState], Any] | None:
    """Return what measures the statistics of batch norms on train, where the config asks for it."""
    setup = group.setup
    if statistics_of(setup.config) != PRECISE or not state.batch_stats:
        return None
    precise = make_precise(setup.valid.task, frozen_modules(phase, state.params), setup.mesh)

    def measured(variables: Variables) -> Any:
        batches = setup.evaluator.batches(setup.data.splits["train"])
        return precise(variables, (as_float(batch) for _, batch in batches))

    runs = range(len(group.members))
    return lambda state: group.join([measured(group.part(variables_of(state), i)) for i in runs])


def _images(setup: Setup, first: int, last: int) -> int:
    """Return the images seen from one step to another; an epoch's last batch may be partial."""
    n = setup.data.counts["train"]

    def until(step: int) -> int:
        epochs, steps = divmod(step, setup.batches)
        return epochs * n + steps * setup.config.batch_size

    return until(last) - until(first)


def _stopped(group: Group, step: int) -> Interrupted:
    saved = group.members[0].checkpoints.last_step or 0
    others = f" and {len(group.members) - 1} more" if len(group.members) > 1 else ""
    return Interrupted(
        f"stopped by signal; step {saved} of {group.setup.steps} is saved in "
        f"{group.setup.workdir}{others}. Give the same command to continue from there.",
        group.requested(step) or 0,
    )
