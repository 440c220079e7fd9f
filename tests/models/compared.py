"""Values and gradients of two functions that ought to agree, in float32 and in bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def uneven(y):
    return jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)


def interpolated(x, factor):
    """Enlarge [batch, h, w, channels], channel by channel: linear between the pixels' centres."""
    for axis in (1, 2):
        n = x.shape[axis]
        places = (np.arange(factor * n) + 0.5) / factor - 0.5  # np.interp repeats the edges
        line = functools.partial(np.interp, places, np.arange(n))
        x = np.apply_along_axis(line, axis, x)
    return x


def with_gradients(function, cotangent=uneven):
    """Return `run(*arguments)`: the value, and the gradients by a fixed cotangent."""

    def run(*arguments):
        y, pull = jax.vjp(function, *arguments)
        return y, *pull(cotangent(y))

    return run


def assert_equal_in_float32(function, reference, *arguments):
    @jax.jit
    def both(*arguments):
        return with_gradients(function)(*arguments), with_gradients(reference)(*arguments)

    for ours, theirs in zip(*both(*arguments), strict=True):
        assert ours.dtype == theirs.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def assert_as_good_as_bfloat16_is(function, reference, *arguments):
    """Within two roundings (2^-7) of the sum of the terms' magnitudes, which float32 tells."""

    @jax.jit
    def all_three(*arguments):
        exact = [x.astype(jnp.float32) for x in arguments]
        sizes = [jnp.abs(x) for x in exact]
        return (
            with_gradients(function)(*arguments),
            with_gradients(reference)(*exact),
            with_gradients(reference, jnp.ones_like)(*sizes),
        )

    dtypes = (jnp.bfloat16, *(x.dtype for x in arguments))
    for ours, exact, size, dtype in zip(*all_three(*arguments), dtypes, strict=True):
        assert ours.dtype == dtype
        error = np.abs(np.asarray(ours, np.float32) - np.asarray(exact))
        assert np.all(error <= 2**-7 * np.asarray(size))
