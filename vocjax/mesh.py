"""One mesh over all devices; the batch is split over it, everything else is replicated."""

import os

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vocjax.errors import UserError


def join_hosts() -> None:
    """Connect this process with those of the other hosts; call it before any other use of JAX.

    JAX gets the hosts from Slurm, Open MPI, Kubernetes or Cloud TPU, elsewhere from environment
    variables. Without either, a `UserError` names these variables.
    """
    try:
        processes, this = (
            int(os.environ[name]) if name in os.environ else None
            for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
        jax.distributed.initialize(num_processes=processes, process_id=this)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed can't join the other hosts: {error} Start it by Slurm, Open MPI or "
            "Kubernetes, or set JAX_COORDINATOR_ADDRESS (host:port of the first process), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (0, 1, ...)."
        ) from error


def make_mesh() -> Mesh:
    """Return a one-dimensional mesh over every device of every host."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of what every device holds whole: the train state, a resident data set."""
    return NamedSharding(mesh, PartitionSpec())


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
