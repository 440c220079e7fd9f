"""Losses with their gradients: one compiled program for a loss, its options and a shape."""

import functools

import jax
import numpy as np


@functools.cache
def _program(loss, options):
    def total(logits, target, weight):
        values = loss(logits, target, weight, **dict(options))
        return values.sum(), values

    return jax.jit(jax.grad(total, has_aux=True))


def values_and_slope(loss, *arrays, **options):
    """Return the loss [B] of (logits, target, weight), and the gradient of its sum."""
    slope, values = _program(loss, tuple(options.items()))(*arrays)
    return np.asarray(values), np.asarray(slope)


def values_of(loss, *arrays, **options):
    return values_and_slope(loss, *arrays, **options)[0]
