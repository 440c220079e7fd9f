"""Orbax, wrapped: save asynchronously, keep the last and the best, restore on any devices."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import jax
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from vocjax.config import LATE, to_json, with_late_fields
from vocjax.errors import UserError, check_choice
from vocjax.files import finite, why_unwritable
from vocjax.mesh import replicated

FOLDER = "checkpoints"
TRIES = 10  # to read a checkpoint before a training that goes on removes it


class Checkpoints:
    """The checkpoints of one run directory; a context manager that waits for saves at its end.

    Orbax writes each checkpoint under another name and renames it, so that a checkpoint under its
    final name is always whole, also after kill -9.
    """

    def __init__(self, workdir: Path, config: ConfigDict, *, reads_only: bool = False) -> None:
        """Keep the last checkpoint and the best: `best.metric` on validation, `best.mode` of it.

        With each goes `config.model`, which has to be the same when it is restored. Unless it only
        reads, it clears away what a killed process began to write. Raises `UserError` where a
        checkpoint is damaged.
        """
        policies = ocp.training.preservation_policies
        best, self._workdir = config.best, workdir
        self._best, self._config = best, config
        best_one = policies.BestN(
            get_metric_fn=lambda metrics: metrics[best.metric],
            reverse=best.mode == "min",
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        steps, folder = sorted(_steps(workdir)), (workdir / FOLDER).absolute()
        with _reading(f"checkpoint {' or '.join(map(str, steps))} in {folder}"):
            self._checkpointer = ocp.training.Checkpointer(
                folder,
                preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(1), best_one]),
                cleanup_tmp_directories=not reads_only,
            )

    def __enter__(self) -> Self:
        # Orbax's threads log tracebacks of what is raised here, too.
        logging.getLogger("absl").addFilter(_is_not_of_orbax)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                with self._writing():
                    self._checkpointer.close()
            else:
                with suppress(Exception):  # what failed before would only fail again
                    self._checkpointer.close()
        finally:
            logging.getLogger("absl").removeFilter(_is_not_of_orbax)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise `UserError` where a checkpoint can't be written, also by a thread of Orbax."""
        try:
            yield
        except (OSError, ValueError) as error:  # a ValueError of TensorStore's
            last, folder = max(_steps(self._workdir), default=None), self._checkpointer.directory
            reason = why_unwritable(error) or " ".join(str(error).split())[:200]
            kept = (
                f"The checkpoint of step {last} is whole" if last is not None else "None is whole"
            )
            raise UserError(
                f"a checkpoint can't be written in {folder}: {reason}. {kept}; make room "
                "there, and the same command goes on from it."
            ) from error

    def save(self, step: int, state: Any, metrics: dict[str, float] | None = None) -> None:
        """Begin to save a state; `metrics` are the validation values, None within an epoch.

        A state whose `best.metric` is not finite can be the last but never the best.
        """
        if metrics is not None:
            metrics = finite(metrics)
            metrics = metrics if self._best.metric in metrics else None
        with self._writing():
            if self._checkpointer.latest is None or self._checkpointer.latest.step < step:
                self._checkpointer.save_async(
                    step,
                    state,
                    metrics=metrics,
                    force=True,
                    custom_metadata={"model": _model(self._config)},
                )

    def wait(self) -> None:
        """Return when everything is on disk; `UserError` where that fails."""
        with self._writing():
            self._checkpointer.wait()

    @property
    def last_step(self) -> int | None:
        """The step of the newest checkpoint on disk, None if there is none."""
        self.wait()
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    @property
    def best(self) -> tuple[int, float] | None:
        """The (step, value) of the best checkpoint, the later of equals; None if unmeasured."""
        self.wait()
        sign = 1 if self._best.mode == "min" else -1
        with _reading(f"a checkpoint's metrics in {self._checkpointer.directory}"):
            measured = [
                (sign * float(c.metrics[self._best.metric]), -c.step)
                for c in self._checkpointer.checkpoints
                if c.metrics
            ]
        if not measured:
            return None
        value, step = min(measured)
        return -step, sign * value

    def restore(self, step: int | None, abstract_state: Any) -> Any:
        """Load a checkpoint, the newest for None, in the shapes and shardings given.

        Raises `UserError` where it is damaged, or of another model than the config's.
        """
        self.wait()
        folder, model = self._checkpointer.directory, _model(self._config)
        step = self.last_step if step is None else step
        with _reading(f"checkpoint {step} in {folder}"):
            # None also where the file is damaged.
            theirs = (self._checkpointer.metadata(step).custom_metadata or {})["model"]
            state = self._checkpointer.load(step, abstract_state)
        late = LATE.get(self._config.get("task", ""), {})
        theirs = {path.split(".")[1]: v for path, v in late.items() if "model." in path} | theirs
        if theirs != model:
            differing = [f for f in model if theirs.get(f) != model[f]]
            raise UserError(
                f"a checkpoint in {folder} was written with another config than the run's "
                f"config.json: model.{', model.'.join(differing) or 'name'} differs. Put back the "
                "config.json that the run began with, or train it again."
            )
        missing = [x for x in jax.tree.leaves(state) if isinstance(x, jax.ShapeDtypeStruct)]
        if missing:
            raise UserError(
                f"a checkpoint in {folder} lacks {len(missing)} arrays of the model that the run's "
                "config.json describes."
            )
        return state


def _model(config: ConfigDict) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(to_json(with_late_fields(config)))["model"]
    return model


@contextmanager
def _reading(which: str) -> Iterator[None]:
    """Raise `UserError` where the block can't read a checkpoint, in place of Orbax's warnings."""
    absl = logging.getLogger("absl")
    absl.addFilter(_is_silent)
    try:
        yield
    except (ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{which} can't be read: it is damaged, or was written by another version of vocjax, "
            f"or for another model than that of config.json ({type(error).__name__}). Go on with "
            "the version that is in run.json, or move its folder away: `vocjax train` goes on from "
            "an earlier one, or begins anew."
        ) from error
    finally:
        absl.removeFilter(_is_silent)


def _is_silent(record: logging.LogRecord) -> bool:
    return False


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def check_room(workdir: Path, state: Any) -> str:
    """Return in words what the checkpoints of a run take; `UserError` where there is no room.

    `state` is the tree of arrays, or shapes, that a checkpoint holds. The last one and the best are
    kept while a third is written.
    """
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    needed = size * max(3 - len(_steps(workdir)), 1)
    free = shutil.disk_usage(workdir).free
    if needed > free:
        raise UserError(
            f"the checkpoints of this run need {_megabytes(needed)} in {workdir}, where "
            f"{_megabytes(free)} are free. Make room, or give another --workdir."
        )
    return (
        f"a checkpoint takes {_megabytes(size)}; up to three are on disk, {_megabytes(free)} free"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"


def has_checkpoint(workdir: Path) -> bool:
    """Return whether a run directory holds a whole checkpoint; write nothing."""
    return bool(_steps(workdir))


def _steps(workdir: Path) -> set[int]:
    names = (path.name for path in (workdir / FOLDER).glob("*"))
    return {int(name) for name in names if name.isascii() and name.isdigit()}


def abstract(tree: Any, shardings: Any) -> Any:
    """Return shapes with shardings, a pytree of them or one for all, for a restore on devices."""
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree, shardings
    )


def restore_variables(
    workdir: Path, config: ConfigDict, variables: Any, mesh: Mesh, which: str = "last"
) -> tuple[int, Any]:
    """Load (step, variables) of a run's "last" or "best" checkpoint, onto the devices of a mesh.

    The params are the moving average where the run kept one. `variables` are their shapes, as
    `jax.eval_shape(task.init, key)` gives them.
    """
    check_choice("checkpoint", which, ("last", "best"))
    if not has_checkpoint(workdir):
        raise UserError(f"{workdir} holds no checkpoint yet; train it with `vocjax train` first.")
    params = "average" if config.optimizer.average_decay else "params"
    wanted = {params: variables["params"], "batch_stats": variables["batch_stats"]}
    for _ in range(TRIES):
        steps = _steps(workdir)
        try:
            step, state = _restore(workdir, config, abstract(wanted, replicated(mesh)), which)
        except UserError:
            if steps == _steps(workdir):
                raise
        else:
            return step, {"params": state[params], "batch_stats": state["batch_stats"]}
    raise UserError(
        f"{workdir} is being trained, and each checkpoint was gone before it was read. Try again, "
        "or wait until the training ends."
    )


def _restore(workdir: Path, config: ConfigDict, wanted: Any, which: str) -> tuple[int, Any]:
    context = ocp.Context()  # after a failure the same one would fail again
    context.pytree.loading.partial_load = True
    with context, Checkpoints(workdir, config, reads_only=True) as checkpoints:
        measured = checkpoints.best
        step = checkpoints.last_step if which == "last" else measured and measured[0]
        if step is None:
            raise UserError(
                f"{workdir} holds no {which} checkpoint yet; continue its `vocjax train`, "
                "or ask for the other one with --checkpoint."
            )
        return step, checkpoints.restore(step, wanted)
