"""How many zeros a window adds around a map."""

import jax
import jax.numpy as jnp

Pads = tuple[tuple[int, int], tuple[int, int]]  # zeros before and after, by axis
Padding = int | str | Pads  # an integer: zeros on every side; or "SAME", "VALID" or "CEIL"
SAME: Pads = ((1, 1), (1, 1))  # of a 3x3 kernel


def pads(
    padding: Padding, x: jax.Array, window: int | tuple[int, int], stride: int, dilation: int
) -> Pads:
    """Return how many values a `padding` adds before and after each spatial axis of `x`."""
    if not isinstance(padding, int | str):
        return padding
    if isinstance(padding, int):
        return ((padding * dilation,) * 2,) * 2
    reach = [dilation * (side - 1) + 1 for side in sides(window)]
    if padding == "CEIL":
        ends = [-(size - r) % stride for size, r in zip(x.shape[1:3], reach, strict=True)]
        return (0, ends[0]), (0, ends[1])
    rows, columns = jax.lax.padtype_to_pads(x.shape[1:3], reach, (stride, stride), padding)
    return rows, columns


def padded(x: jax.Array, padding: Pads) -> jax.Array:
    """Add zeros around the maps [batch, height, width, channels]; a negative number cuts."""
    rows, columns = ((*ends, 0) for ends in padding)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


def sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a kernel."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel
