"""The train state: everything that a step needs and a checkpoint holds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vocjax.tasks.task import Variables

INIT, ORDER, AUGMENT, DROPOUT = range(4)  # what a run's one key is used for


def draw_key(key: jax.Array, purpose: int, index: jax.Array | int) -> jax.Array:
    """Return the key of one draw: `index` is the epoch for ORDER, the step for the others."""
    return jax.random.fold_in(jax.random.fold_in(key, purpose), index)


class TrainState(NamedTuple):
    """An explicit pytree.

    A model is measured, and loaded, with the moving average of its parameters where one is kept.
    `sums` are the training metrics summed since the epoch began: with them in the checkpoint, an
    epoch that was interrupted reports what the uninterrupted one reports.
    """

    params: Any
    batch_stats: Any
    opt_state: Any  # of the parameters that the phase trains
    average: Any  # of the parameters over the steps, {} where none is kept
    step: jax.Array
    key: jax.Array
    sums: Any


def create(
    variables: Variables, opt_state: optax.OptState, key: jax.Array, sums: Any, *, averages: bool
) -> TrainState:
    """Return the state before the first step; `sums` gives the shapes of the metrics' sums."""
    return TrainState(
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=opt_state,
        # A copy: a buffer can be donated only once.
        average=jax.tree.map(jnp.copy, variables["params"]) if averages else {},
        step=jnp.zeros((), jnp.int32),
        key=key,
        sums=zeros_like(sums),
    )


def variables_of(state: TrainState) -> Variables:
    """Return what a model's `apply` takes in evaluation."""
    return {"params": state.average or state.params, "batch_stats": state.batch_stats}


def moved_average(average: Any, params: Any, decay: float, step: jax.Array) -> Any:
    """Return the exponential moving average after a step, counted from 0.

    The decay rises with the steps, (1 + step) / (10 + step), until it is `decay`: the draw that a
    run begins with is forgotten at once.
    """
    keep = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)


def zeros_like(tree: Any) -> Any:
    """Return zeros in the shapes of a pytree of arrays or `jax.ShapeDtypeStruct`."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


@jax.jit
def is_finite(tree: Any) -> jax.Array:
    """Tell whether every number of a pytree of arrays is finite, [] bool."""
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()
