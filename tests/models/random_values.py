"""Random inputs and variables for networks that are not trained."""

import jax
import jax.numpy as jnp
import numpy as np


def draw(*shape, seed=0):
    """Standard normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def draw_variables(module, *inputs, **arguments):
    """Variables of a module, none of them 0 or 1, so that a part that does nothing is noticed.

    Without compiling the module's own initialisation, which takes longer than most tests.
    """
    rng = np.random.default_rng(0)

    def one(path, x):
        if jnp.issubdtype(x.dtype, jnp.integer):  # positions
            return jnp.arange(x.size, dtype=x.dtype)
        values = 0.3 * rng.standard_normal(x.shape)
        positive = path[-1].key in ("scale", "var")
        return jnp.asarray(0.5 + np.abs(values) if positive else values, x.dtype)

    def init(*inputs):
        return module.init(jax.random.key(0), *inputs, **arguments)

    return jax.tree.map_with_path(one, jax.eval_shape(init, *inputs))


def smooth_pictures(n, size, channels=3, seed=0):
    """Images [n, size, size, channels] float32 in [0, 1] whose variance falls with frequency."""
    noise = np.random.default_rng(seed).standard_normal((n, size, size, channels))
    falling = 1 / (1 + np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2)))
    pictures = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) * falling[..., None], axes=(1, 2)).real
    low, high = pictures.min(), pictures.max()
    return ((pictures - low) / (high - low)).astype(np.float32)
