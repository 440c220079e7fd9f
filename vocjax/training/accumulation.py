"""Gradient accumulation: one update for the gradients of several batches.

A batch counts by the weight of its examples, so that `accumulate` batches of n examples update as
one batch of accumulate * n does, within rounding. That is not so where examples of a batch see each
other: in batch norm, whose statistics are those of each small batch, and in losses with one
quotient for the whole batch (`loss.reduction` "batch"). Nor are the same dropout masks drawn.

An epoch ends with an update, of fewer batches where their number is no multiple. So phases,
evaluations and checkpoints of an epoch never stand between the batches of an update.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Accumulated(NamedTuple):
    """The state of an optimizer between the batches of an update."""

    batches: jax.Array  # of the epoch so far, [] int32
    updates: jax.Array  # of the run so far, [] int32
    weight: jax.Array  # of the examples since the last update, [] float32
    gradients: optax.Updates  # their weighted sum
    value: jax.Array  # and that of the loss, [] float32
    optimizer: optax.OptState


def updates_in(batches: int, every: int) -> int:
    """Return the number of updates in an epoch of so many batches."""
    return -(-batches // every)


def accumulated(
    optimizer: optax.GradientTransformation, every: int, batches: int, first_epoch: int
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that is called with every batch, and updates after `every` of them.

    It begins before epoch `first_epoch`, of `batches` batches each. Its `update` needs, by keyword,
    the `weight` of the examples of the batch and `value`, their mean loss. Between updates the
    parameters stand still.
    """
    inner = optax.with_extra_args_support(optimizer)

    def init(params: optax.Params) -> Accumulated:
        return Accumulated(
            batches=jnp.zeros([], jnp.int32),
            updates=jnp.asarray(first_epoch * updates_in(batches, every), jnp.int32),
            weight=jnp.zeros([], jnp.float32),
            gradients=optax.tree.zeros_like(params),
            value=jnp.zeros([], jnp.float32),
            optimizer=inner.init(params),
        )

    def update(
        gradients: optax.Updates,
        state: Accumulated,
        params: optax.Params | None = None,
        *,
        value: jax.Array,
        weight: jax.Array,
        **others: Any,
    ) -> tuple[optax.Updates, Accumulated]:
        def plus(total: Any, new: Any) -> Any:
            return jax.tree.map(lambda t, x: t + weight * x, total, new)

        seen = state._replace(
            batches=state.batches + 1,
            weight=state.weight + weight,
            gradients=plus(state.gradients, gradients),
            value=plus(state.value, value),
        )

        def close() -> tuple[optax.Updates, Accumulated]:
            divisor = jnp.maximum(seen.weight, 1)
            mean, loss = jax.tree.map(lambda x: x / divisor, (seen.gradients, seen.value))
            updates, after = inner.update(mean, seen.optimizer, params, value=loss, **others)
            zero = jnp.zeros_like(seen.weight)
            return updates, Accumulated(
                batches=seen.batches % batches,
                updates=seen.updates + 1,
                weight=zero,
                gradients=optax.tree.zeros_like(seen.gradients),
                value=zero,
                optimizer=after,
            )

        def wait() -> tuple[optax.Updates, Accumulated]:
            return optax.tree.zeros_like(gradients), seen

        closes = (seen.batches % every == 0) | (seen.batches == batches)
        return jax.lax.cond(closes, close, wait)

    return optax.GradientTransformationExtraArgs(init, update)


def progress(
    before: optax.OptState, after: optax.OptState, step: jax.Array
) -> tuple[jax.Array, jax.Array | bool]:
    """Return the updates of the run before step `step`, and whether this step made one."""
    if not isinstance(before, Accumulated):
        return step, True
    return before.updates, after.updates > before.updates
