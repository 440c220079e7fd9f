"""The devices: one mesh over all, how exactly they compute, and what is where.

A batch is split over the mesh. Everything else is replicated, but for large parameters, with their
optimizer state, where `shard_parameters` asks for it.
"""

import math
import os
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax._src.xla_bridge import backends_are_initialized
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vocjax.errors import UserError

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"  # the same sums in the same order, each time
SPLIT_FROM = 2**12  # numbers of an array; smaller ones take longer to gather than they save
MATMUL_PRECISIONS = ("default", "high", "highest")  # of jax.lax.Precision


def ask_for_determinism() -> None:
    """Have XLA choose deterministic operations on GPUs; call it before any other use of JAX.

    It joins the environment's XLA_FLAGS, which XLA reads once, when JAX looks for its devices.
    `UserError` where that was before, and there are GPUs. CPUs and TPUs need nothing.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if is_deterministic():
        return
    if backends_are_initialized() and jax.default_backend() == "gpu":
        raise UserError(
            "deterministic is True, and JAX has begun with its GPUs already. Set the environment "
            f"variable XLA_FLAGS={DETERMINISTIC!r} before Python starts, or train in a new process."
        )
    os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()


def is_deterministic() -> bool:
    """Return whether the environment's XLA_FLAGS ask for deterministic operations."""
    return DETERMINISTIC in os.environ.get("XLA_FLAGS", "").split()


def matmul_precision(name: str) -> AbstractContextManager[None]:
    """Have products and convolutions of float32 computed at a precision of `MATMUL_PRECISIONS`.

    "default" is the device's: on a GPU float32 with the digits of TensorFloat-32, on a TPU of
    bfloat16; "highest" is float32 in full. On CPUs all are the same.
    """
    return jax.default_matmul_precision(None if name == "default" else name)


def usable_cores() -> int:
    """Return how many cores this process may use, fewer than the machine's where it is pinned."""
    allowed = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if allowed else os.cpu_count() or 1


def make_mesh() -> Mesh:
    """Return a one-dimensional mesh over every device of every host."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of what every device holds whole: the train state, a resident data set."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(tree: Any, mesh: Mesh) -> Any:
    """Return a sharding for each array of a pytree, of arrays or `jax.ShapeDtypeStruct`.

    The longest axis that the devices divide is split; small arrays, and those without such an axis,
    are replicated. XLA gathers a parameter where it is used (FSDP; Zhao et al. 2023, ZeRO-3;
    Rajbhandari et al. 2020).
    """

    def sharding(array: Any) -> NamedSharding:
        sides = [side if side % mesh.size == 0 else 0 for side in array.shape]
        if math.prod(array.shape) < SPLIT_FROM or not any(sides):
            return replicated(mesh)
        axis = sides.index(max(sides))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))

    return jax.tree.map(sharding, tree)


def split_by_example(mesh: Mesh) -> NamedSharding:
    """Sharding of a batch: the first axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def rows_per_batch(batch_size: int, mesh: Mesh) -> int:
    """Round a batch size up to a multiple of the device count; the rest is padding."""
    return -(-batch_size // mesh.size) * mesh.size


def local_rows(rows: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Return the part of a batch's rows [batch] that this host's devices hold, in order."""
    index_map = split_by_example(mesh).addressable_devices_indices_map(rows.shape)
    starts = sorted(s[0].indices(len(rows))[0] for s in index_map.values() if s is not None)
    size = len(rows) // mesh.size
    return np.concatenate([rows[start : start + size] for start in starts])
