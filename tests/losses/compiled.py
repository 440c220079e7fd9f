"""Losses with their gradients: one compiled program for a loss, its options and a shape."""

import functools

import jax
import numpy as np


@functools.cache
def _gradient(loss, options):
    def total(logits, target, weight):
        values = loss(logits, target, weight, **dict(options))
        return values.sum(), values

    return jax.jit(jax.grad(total, has_aux=True))


@functools.cache
def _values(loss, options):
    return jax.jit(functools.partial(loss, **dict(options)))


def values_and_slope(loss, *arrays, **options):
    """Return the loss [B] of (logits, target, weight), and the gradient of its sum."""
    slope, values = _gradient(loss, tuple(options.items()))(*arrays)
    return np.asarray(values), np.asarray(slope)


def values_of(loss, *arrays, **options):
    return np.asarray(_values(loss, tuple(options.items()))(*arrays))
