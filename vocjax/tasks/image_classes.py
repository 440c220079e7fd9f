"""The classes of images: from labels to targets, of one image or of two that are mixed."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.tasks.task import Targets

Labels = TypeVar("Labels", jax.Array, np.ndarray)


def present_and_known(states: Labels, exclusive: bool) -> tuple[Labels, Labels]:
    """Return which classes [n, classes] are present, and which of them count, both bool.

    Difficult ones (state 0) don't; of exclusive classes none does where all but one are difficult.
    """
    known = states != 0
    if exclusive:
        known = known & (known.sum(axis=1, keepdims=True) > 1)
    return states == 1, known


def mixed_targets(
    present: jax.Array, other: jax.Array, share: jax.Array, exclusive: bool
) -> Targets:
    """Return what is `wanted` of an image that has a `share` [n] of its own, the rest another's.

    `present` and `other` [n, classes] are 1 for the classes of the two. Sigmoids are asked for
    s a + (1 - s) b. A softmax is, too, of shares that add to 1 in each of the two. Metrics compare
    with the classes of the one that has the larger share, `present`.
    """

    def shares(of: jax.Array) -> jax.Array:
        return of / jnp.maximum(of.sum(axis=1, keepdims=True), 1) if exclusive else of

    own = share[:, None]
    mixed = own * shares(present) + (1 - own) * shares(other)
    wanted = jnp.where(own == 1, present, mixed)
    return {"wanted": wanted, "present": jnp.where(own >= 0.5, present, other)}
