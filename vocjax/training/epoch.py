"""The steps of an epoch, and the look at what is not finite."""

from collections import deque
from collections.abc import Sequence

import jax
import numpy as np

from vocjax.data.classes import class_columns
from vocjax.data.pipeline import UNIFORM, Examples, balanced, plan, shuffled
from vocjax.errors import UserError
from vocjax.training.group import Group, GroupStep, Member, step_of
from vocjax.training.step import ORDER, TrainState, draw_key, is_finite, variables_of

# Losses are looked at this many steps late, so that looking never waits for the device.
LOSSES_IN_FLIGHT = 8


def train_epoch(
    group: Group, train: Sequence[Examples], step: GroupStep, state: TrainState
) -> TrainState:
    """Do the steps of an epoch that are left, each run in the order that its own key draws.

    `train` are the examples of each run. Return early where a stop is asked for, or where no run
    is left: one whose loss or parameters are not finite ends with an error.
    """
    setup, done = group.setup, step_of(state)
    epoch, first = divmod(done, setup.batches)
    plans, losses = [], deque[tuple[int, tuple[np.ndarray, ...], jax.Array]]()
    for number, examples in enumerate(train):
        key = draw_key(group.part(state.key, number), ORDER, epoch)
        order = _order(key, group.members[number], len(examples.ids))
        plans.append(list(plan(order, setup.config.batch_size, setup.mesh, first=first)))

    def check(in_flight: int) -> None:
        while len(losses) > in_flight:
            number, ids, loss = losses.popleft()
            values = np.ravel(loss).tolist()
            for i, member in group.left:
                if not np.isfinite(values[i]):
                    what = f"the loss is {values[i]} at step {number}"
                    group.ended[i] = _not_finite(what, ids[i], member)

    streams = (e.batches(iter(planned)) for e, planned in zip(train, plans, strict=True))
    for rows, batches in zip(zip(*plans, strict=True), zip(*streams, strict=True), strict=True):
        state, loss = step(state, batches)
        done += 1
        ids = tuple(e.ids[r[v > 0]] for e, (r, v) in zip(train, rows, strict=True))
        losses.append((done, ids, loss))
        check(LOSSES_IN_FLIGHT)
        for _, member in group.left:
            member.records.step()
        if not group.left or group.requested(done) is not None:
            break
    check(0)
    # The loss of a step can be finite and the parameters after it not: that must not be saved.
    for number, member in group.left:
        if not is_finite(group.part(variables_of(state), number)):
            what = f"the loss is finite at step {done}, but the parameters after it are not"
            group.ended[number] = _not_finite(what, ids[number], member)
    return state


def _order(key: jax.Array, member: Member, n: int) -> np.ndarray:
    """Return the rows [n] of train in the order of an epoch, as `data.sampling` draws them."""
    data = member.setup.config.data
    if data.sampling == UNIFORM:
        return shuffled(key, n)
    columns = list(class_columns(data)) or slice(None)
    return balanced(key, member.setup.data.labels["train"][:, columns] == 1)


def _not_finite(what: str, ids: np.ndarray, member: Member) -> UserError:
    last = member.checkpoints.last_step
    saved = "nothing was saved before"
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    if last is not None:
        saved = f"the last good checkpoint is step {last}"
    return UserError(
        f"{what}; {saved}. The batch held {', '.join(ids[:5])}{more}. "
        "Look at these images, lower optimizer.learning_rate or set optimizer.clip_norm, and "
        "begin in another --workdir; of a plan, with --again and the run's name."
    )
