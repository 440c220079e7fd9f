"""Our part of the benchmark: the train step of `vocjax train`, of a config, on a drawn batch."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.allocation import keep_memory
from vocjax.compilation import keep_programs
from vocjax.config import load_config
from vocjax.data.classes import class_columns
from vocjax.mesh import make_mesh, replicated, split_by_example
from vocjax.pretrained.matching import flatten
from vocjax.tasks.task import Batch
from vocjax.training.evaluation import model_outputs, place
from vocjax.training.phases import phase_optimizer
from vocjax.training.step import INIT, draw_key, initial_state, make_train_step, variables_of
from vocjax.training.validate import batch_shapes, validate

from .benchmark_rows import ROWS, batch_of  # relative: the wheel has this folder as
from .multiply_adds import layers_of  # vocjax.experiments
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

    def step(self) -> float:
        """Take a step on the batch; the new state is there when it returns."""
        self.state, loss = self._train_step(self.state, self._batch)
        jax.block_until_ready(self.state)
        return float(loss)

    def draw(self) -> dict[str, np.ndarray]:
        """Draw parameters and statistics, begin with them, and return them by path."""
        variables = drawn(self.valid.shapes)
        self.state = self._first_state({"batch_stats": {}} | variables)
        return flatten(variables)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Images [n, height, width, channels] uint8 to what the network says of them."""
        batch = {"image": images, "valid": np.ones(len(images), np.float32)}
        found = self._outputs(variables_of(self.state), batch)
        return np.asarray(found["image" if "image" in found else "logits"])

    def floor(self) -> dict[str, int]:
        """Count the operations and bytes that a step can't do without.

        Operations are those of convolutions and matrix products, forward and for the gradients of
        their input, but for the first one's, and of their kernel. Bytes are what these read and
        write. Both are those of our forms of the layers: some have fewer than the plain ones.
        """

        def forward(variables: Any, batch: Batch) -> Any:
            return model_outputs(self.valid.task)(variables, batch)

        jaxpr = jax.make_jaxpr(forward)(self.valid.shapes, batch_shapes(self.config))
        first, *others = layers_of(jaxpr.jaxpr)
        times = [(2, first), *((3, layer) for layer in others)]
        return {
            "operations": sum(2 * n * layer.multiply_adds for n, layer in times),
            "bytes": sum(4 * n * layer.numbers for n, layer in times),
        }


def our_batch(config: ConfigDict, spec: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the batch of `batch_of` as our data pipeline would make it."""
    images, wanted = batch_of(spec)
    batch = {name: np.zeros(x.shape, x.dtype) for name, x in batch_shapes(config).items()}
    batch |= {"image": images, "valid": np.ones_like(batch["valid"])}
    if config.task == "classification":
        columns = np.array(class_columns(config.data))
        batch["labels"][:] = -1
        batch["labels"][np.arange(len(wanted)), columns[wanted]] = 1
    if config.task == "segmentation":
        batch["mask"] = wanted.astype(np.uint8)
    return batch
