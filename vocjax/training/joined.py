"""The small arrays of a network, updated as two: one of all vectors, one of all small kernels.

XLA:CPU compiles a loop for each array that an optimizer updates or keeps, and most arrays of a
network are small.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax

SMALL = 2**16  # numbers of an array; joining larger ones takes longer than their loops to compile


def small_as_one(
    optimizer: optax.GradientTransformation, kernels: bool = True
) -> optax.GradientTransformation:
    """Return an optimizer that hands small parameters to another one as a vector and a matrix.

    The vector has those of rank 1, the matrix [1, n] those of higher rank, so that the other one
    can tell biases from kernels. It must treat each number of an array alone, as Adam does; without
    `kernels` that is asked of vectors only, as Muon treats them. Its state is that of a list: the
    vector, the matrix, and the other arrays.
    """
    inner = optax.with_extra_args_support(optimizer)

    def init(params: optax.Params) -> optax.OptState:
        return inner.init(_joined(params, kernels))

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **more: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        given = None if params is None else _joined(params, kernels)
        found, state = inner.update(_joined(updates, kernels), state, given, **more)
        return _divided(found, updates, kernels), state

    return optax.GradientTransformationExtraArgs(init, update)


def _groups(leaves: list[Any], kernels: bool) -> list[list[int]]:
    """Return the places of small vectors, of small kernels, and of each other array."""
    joined: tuple[list[int], list[int]] = ([], [])
    others: list[list[int]] = []
    for place, x in enumerate(leaves):
        if x.size <= SMALL and (x.ndim == 1 or (x.ndim > 1 and kernels)):
            joined[x.ndim > 1].append(place)
        else:
            others.append([place])
    return [group for group in (*joined, *others) if group]


def _joined(tree: Any, kernels: bool) -> list[Any]:
    leaves, found = jax.tree.leaves(tree), []
    for group in _groups(leaves, kernels):
        first, *more = (leaves[place] for place in group)
        if more:
            shape = (-1,) if first.ndim == 1 else (1, -1)
            first = jnp.concatenate([leaves[place].ravel() for place in group]).reshape(shape)
        found.append(first)
    return found


def _divided(joined: list[Any], like: Any, kernels: bool) -> Any:
    """Return what `_joined` made, as a pytree `like` the one that it was made of."""
    leaves, structure = jax.tree.flatten(like)
    for group, numbers in zip(_groups(leaves, kernels), joined, strict=True):
        ends = list(itertools.accumulate(leaves[place].size for place in group))
        parts = jnp.split(numbers.ravel(), ends[:-1])
        for place, part in zip(group, parts, strict=True):
            leaves[place] = part.reshape(leaves[place].shape)
    return jax.tree.unflatten(structure, leaves)
