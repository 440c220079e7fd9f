"""Computations on a batch that go through it in chunks of a few images, for the CPU's cache."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Each = TypeVar("Each")
Sum = TypeVar("Sum")
PLACES = 2048  # of the maps of a chunk: what is made of them stays in the cache


def images_of(height: int, width: int) -> int:
    """Return how many images make a chunk of about `PLACES` places."""
    return max(1, PLACES // (height * width))


def by_chunks(
    function: Callable[..., tuple[Each, Sum]], images: int, *arrays: jax.Array
) -> tuple[Each, Sum]:
    """Return `function(*arrays)`, computed on at most so many images at a time.

    The first axis of the arrays is the batch, and so it is in what `function` returns for each
    image; what it sums over images comes second. XLA fuses nothing across the ends of a chunk.
    """
    batch = len(arrays[0])
    size = max(n for n in range(1, min(images, batch) + 1) if batch % n == 0)
    if size == batch:
        return function(*arrays)
    chunks = [array.reshape(-1, size, *array.shape[1:]) for array in arrays]

    def one(total: Sum, chunk: list[jax.Array]) -> tuple[Sum, Each]:
        each, summed = function(*chunk)
        return jax.tree.map(jnp.add, total, summed), each

    shapes: Any = jax.eval_shape(function, *(chunk[0] for chunk in chunks))[1]
    nothing = jax.tree.map(jnp.zeros_like, shapes)
    total, each = jax.lax.scan(one, nothing, chunks)
    return jax.tree.map(lambda x: x.reshape(batch, *x.shape[2:]), each), total
