"""The jitted, donated train step and the evaluation step, built from a task's pure functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.data.augment import augment
from vocjax.mesh import replicated
from vocjax.metrics import streaming
from vocjax.tasks.task import Batch, Outputs, Task, Variables
from vocjax.training.phases import Phase, frozen_modules, in_evaluation_mode
from vocjax.training.phases import merge as merge_params
from vocjax.training.state import AUGMENT, DROPOUT, TrainState, draw_key, moved_average

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]


def as_float(batch: Batch) -> Batch:
    """Map a batch's uint8 images to float32 in [0, 1]."""
    return batch | {"image": batch["image"].astype(jnp.float32) / 255}


def mean_loss(task: Task, outputs: Outputs, batch: Batch) -> streaming.Mean:
    """Sum the loss over the examples that are no padding and that the task counts."""
    counted = batch["valid"]
    if task.counted is not None:
        counted = counted * task.counted(batch)
    return streaming.mean(task.loss(outputs, batch), counted)


def all_sums(task: Task, outputs: Outputs, batch: Batch) -> dict[str, Any]:
    """Sum the loss and the task's metrics over a batch."""
    return {"loss": mean_loss(task, outputs, batch), "task": task.metrics(outputs, batch)}


def summarise(task: Task, sums: dict[str, Any]) -> dict[str, float]:
    """Divide what `all_sums` summed: {"loss": value, metric: value, ...}."""
    sums = jax.device_get(sums)
    return {"loss": streaming.value(sums["loss"]), **task.summary(sums["task"])}


def augments(augmentation: ConfigDict) -> bool:
    """Tell whether a config's `data.augment` changes images at all."""
    return any(augmentation[name] for name in ("flip", "crop_padding", "zoom", "colour"))


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    phase: Phase,
    config: ConfigDict,
    mesh: Mesh,
) -> TrainStep:
    """Return a phase's `step(state, batch) -> (state, loss)`; the state given is donated.

    Every draw folds the step into the state's key, so a step depends on nothing but its arguments.
    Data parallelism comes from the batch's sharding.
    """
    augmentation, decay = config.data.augment, config.optimizer.average_decay

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        batch = as_float(batch)
        if augments(augmentation):
            image, mask = augment(
                draw_key(state.key, AUGMENT, state.step),
                batch["image"],
                batch.get("mask", jnp.zeros(batch["image"].shape[:3], jnp.uint8)),
                flips=augmentation.flip,
                crop_padding=augmentation.crop_padding,
                zoom_share=augmentation.zoom,
                colour=augmentation.colour,
            )
            batch = batch | {"image": image} | ({"mask": mask} if "mask" in batch else {})

        trained, frozen = phase.split(state.params)

        def objective(trained: Any) -> tuple[jax.Array, tuple[Outputs, Any]]:
            params = merge_params(trained, frozen)
            variables = {"params": params, "batch_stats": state.batch_stats}
            dropout_key = draw_key(state.key, DROPOUT, state.step)
            with in_evaluation_mode(frozen_modules(phase, params)):
                outputs, batch_stats = task.apply(variables, batch, True, dropout_key)
            sums = mean_loss(task, outputs, batch)
            return sums.total / jnp.maximum(sums.count, 1), (outputs, batch_stats)

        (loss, (outputs, batch_stats)), gradients = jax.value_and_grad(objective, has_aux=True)(
            trained
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, trained)
        sums = streaming.add(state.sums, all_sums(task, outputs, batch))
        params = merge_params(optax.apply_updates(trained, updates), frozen)
        average = {}
        if decay:
            moving, still = phase.split(state.average)
            moved = moved_average(moving, phase.split(params)[0], decay, state.step)
            average = merge_params(moved, still)
        after = TrainState(params, batch_stats, opt_state, average, state.step + 1, state.key, sums)
        return after, loss

    return jax.jit(step, donate_argnums=0, out_shardings=replicated(mesh))


def make_eval_step(
    outputs_of: Callable[[Any, Batch], Outputs], task: Task, mesh: Mesh
) -> Callable[[Any, Any, Batch], tuple[Any, Outputs]]:
    """Return `step(argument, sums, batch) -> (sums, collected)`, with sums merged over batches.

    What is collected are the batch's arrays for the metrics of the whole split, {} without such.

    `outputs_of(argument, batch)` gives the outputs: a model's of its variables, or a baseline's of
    its statistic.
    """

    def step(argument: Any, sums: Any, batch: Batch) -> tuple[Any, Outputs]:
        batch = as_float(batch)
        outputs = outputs_of(argument, batch)
        collected = task.whole.collect(outputs, batch) if task.whole else {}
        return streaming.add(sums, all_sums(task, outputs, batch)), collected

    return jax.jit(step, donate_argnums=1, out_shardings=replicated(mesh))


def model_outputs(task: Task) -> Callable[[Variables, Batch], Outputs]:
    """Return `outputs(variables, batch)` of a task's model in evaluation mode."""

    def outputs(variables: Variables, batch: Batch) -> Outputs:
        return task.apply(variables, batch, False, jax.random.key(0))[0]  # nothing is drawn

    return outputs
