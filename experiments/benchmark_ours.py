"""Our part of the benchmark: the train step of `vocjax train`, of a config, on a drawn batch."""

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr
from ml_collections import ConfigDict

from vocjax.allocation import keep_memory
from vocjax.compilation import keep_programs
from vocjax.config import load_config
from vocjax.data.classes import VOC, class_columns
from vocjax.data.dataset import from_arrays
from vocjax.data.splits import SPLITS
from vocjax.mesh import make_mesh, replicated, split_by_example
from vocjax.pretrained.matching import flatten
from vocjax.tasks.task import Batch
from vocjax.training.evaluation import model_outputs, place
from vocjax.training.loop import Own, Watch, train_group
from vocjax.training.phases import Phase, frozen_modules, phase_optimizer
from vocjax.training.setup import batches_of
from vocjax.training.step import (
    INIT,
    as_float,
    draw_key,
    initial_state,
    make_train_step,
    variables_of,
)
from vocjax.training.validate import Valid, batch_shapes, validate

from .benchmark_rows import ROWS, batch_of, epoch_of  # relative: the wheel has this folder as
from .multiply_adds import Layer, layers_of  # vocjax.experiments
from .parity import drawn

BATCHES = 100  # of an epoch, which a schedule asks for


class Contender:
    """A network that is trained: `outputs` of images, and `step`, which returns the loss."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Make the state before the first step, as a run does that begins."""
        keep_memory()
        keep_programs()
        self.config = load_config(ROWS[spec["row"]].config, spec["overrides"])
        mesh, valid = make_mesh(), validate(self.config)
        self.valid, (phase, *_) = valid, valid.phases
        optimizer = phase_optimizer(self.config, phase, BATCHES)

        def first_state(variables: Any) -> Any:
            trained, _ = phase.split(variables["params"])
            return initial_state(self.config, variables, optimizer.init(trained), valid.sums)

        self._first_state = jax.jit(first_state, out_shardings=replicated(mesh))
        key = draw_key(jax.random.key(self.config.seed), INIT, 0)
        self.state = self._first_state(place(valid.task.init(key), mesh))
        self._train_step = make_train_step(valid.task, optimizer, phase, self.config, mesh)
        self._outputs = jax.jit(model_outputs(valid.task))
        self._batch = jax.device_put(our_batch(self.config, spec), split_by_example(mesh))
        self._spec = spec
        self._codes: Callable[..., Any] | None = None
        if spec["frozen"]:
            self._codes = codes_of(valid, phase)
        self._know()

    def _know(self) -> None:
        """Put the codes into the batch, where a step begins with them."""
        if self._codes and self._spec["codes"]:
            self._batch.pop("code", None)  # it would be taken for known
            self._batch["code"] = self._codes(variables_of(self.state), self._batch)

    def step(self) -> float:
        """Take a step on the batch; the program that gives the loss has made the new state."""
        self.state, loss = self._train_step(self.state, self._batch)
        return float(loss)

    def draw(self) -> dict[str, np.ndarray]:
        """Draw parameters and statistics, begin with them, and return them by path."""
        variables = drawn(self.valid.shapes)
        self.state = self._first_state({"batch_stats": {}} | variables)
        self._know()
        return flatten(variables)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Images [n, height, width, channels] uint8 to what the network says of them."""
        batch = {"image": images, "valid": np.ones(len(images), np.float32)}
        found = self._outputs(variables_of(self.state), batch)
        return np.asarray(found["image" if "image" in found else "logits"])

    def epochs(self, times: int, ended: Callable[[], None]) -> None:
        """Train some epochs as `vocjax train` does; call `ended` one step after each.

        An epoch has evaluation of val at its end, and a checkpoint. From the first step of one to
        that of the next is as long as an epoch, and nothing of another is in it.
        """
        config, mesh = self.config, make_mesh()
        config.epochs, config.evaluate_every_epochs = times + 1, 1
        parts = (our_arrays(config, *part) for part in epoch_of(self._spec))
        data = from_arrays(dict(zip(SPLITS, parts, strict=True)), mesh)
        watch = Watch(partial(Bar, batches_of(data, config), times, ended))
        with tempfile.TemporaryDirectory() as workdir, contextlib.suppress(Enough):
            train_group([config], [Path(workdir)], Own(data=data), watch)

    def floor(self) -> dict[str, int]:
        """Count the operations and bytes that a step can't do without.

        Operations are those of convolutions and matrix products, forward and for the gradients of
        their input, but for the first one's, and of their kernel; of what is frozen, forward alone.
        Bytes are what these read and write. Both are those of our forms of the layers: some have
        fewer than the plain ones.
        """

        def forward(variables: Any, batch: Batch) -> Any:
            return self.valid.task.apply(variables, as_float(batch), True, jax.random.key(0))

        def layers(function: Callable[..., Any], batch: Batch) -> list[Layer]:
            jaxpr = jax.make_jaxpr(function)(self.valid.shapes, batch).jaxpr
            needed, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
            return layers_of(needed)

        batch = batch_shapes(self.config)
        if self._codes:
            code = jax.eval_shape(self._codes, self.valid.shapes, batch)
            encoder = [] if self._spec["codes"] else layers(self._codes, batch)
            head = layers(forward, batch | {"code": code})
            times = [*((1, layer) for layer in encoder), *((2, layer) for layer in head)]
        else:
            first, *others = layers(forward, batch)
            times = [(2, first), *((3, layer) for layer in others)]
        return {
            "operations": sum(2 * n * layer.multiply_adds for n, layer in times),
            "bytes": sum(4 * n * layer.numbers for n, layer in times),
        }


def codes_of(valid: Valid, phase: Phase) -> Callable[[Any, Batch], Any]:
    """Return what computes codes of variables and a batch, as a run does before an epoch."""
    assert valid.task.features is not None
    compute = valid.task.features.of(frozen_modules(phase, valid.shapes["params"]))
    assert compute is not None
    return jax.jit(lambda variables, batch: compute(variables, as_float(batch)))


class Enough(Exception):
    """All epochs that were asked for have ended."""


class Bar:
    """A progress display that shows nothing and calls `ended`; see `Contender.epochs`."""

    def __init__(self, batches: int, times: int, ended: Callable[[], None], **_: Any) -> None:
        self._batches, self._times, self._ended = batches, times, ended
        self._steps = 0

    def update(self) -> None:
        """Take note of a step; `Enough` after the last epoch."""
        epochs, step = divmod(self._steps, self._batches)
        self._steps += 1
        if epochs and not step:
            self._ended()
            if epochs == self._times:
                raise Enough

    def close(self) -> None:
        """Nothing is shown."""


def our_batch(config: ConfigDict, spec: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the batch of `batch_of` as our data pipeline would make it."""
    batch = {name: np.zeros(x.shape, x.dtype) for name, x in batch_shapes(config).items()}
    return batch | our_arrays(config, *batch_of(spec)) | {"valid": np.ones_like(batch["valid"])}


def our_arrays(config: ConfigDict, images: np.ndarray, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """Return images and what is wanted of them, as `data.dataset.from_arrays` takes them."""
    found = {"image": images}
    if config.task == "classification":
        columns = np.array(class_columns(config.data))
        found["labels"] = np.full((len(images), len(VOC.names)), -1, np.int8)
        found["labels"][np.arange(len(wanted)), columns[wanted]] = 1
    if config.task == "segmentation":
        found["mask"] = wanted.astype(np.uint8)
    return found
