"""The jitted, donated train step and the evaluation step, built from a task's pure functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax import metrics
from vocjax.data.augment import augment
from vocjax.devices import replicated
from vocjax.tasks.task import Batch, Outputs, Task, Variables
from vocjax.training.state import AUGMENT, DROPOUT, TrainState, draw_key


def as_float(batch: Batch) -> Batch:
    """Map a batch's uint8 images to float32 in [0, 1]."""
    return batch | {"image": batch["image"].astype(jnp.float32) / 255}


def mean_of_valid(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Average the per-example values [batch] of the examples that are no padding."""
    return jnp.where(valid > 0, values, 0).sum() / valid.sum()


def all_sums(task: Task, outputs: Outputs, batch: Batch) -> dict[str, Any]:
    """Sum the loss and the task's metrics over a batch."""
    loss = task.loss(outputs, batch)
    return {"loss": metrics.mean(loss, batch["valid"]), "task": task.metrics(outputs, batch)}


def summarise(task: Task, sums: dict[str, Any]) -> dict[str, float]:
    """Divide what `all_sums` summed: {"loss": value, metric: value, ...}."""
    sums = jax.device_get(sums)
    return {"loss": metrics.value(sums["loss"]), **task.summary(sums["task"])}


def make_train_step(
    task: Task, optimizer: optax.GradientTransformation, augmentation: ConfigDict, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """Return `step(state, batch) -> (state, loss)`; the state given is donated.

    Every draw folds the step into the state's key, so a step depends on nothing but its arguments.
    Data parallelism comes from the batch's sharding.
    """
    augments = augmentation.flip or augmentation.crop_padding or augmentation.zoom
    augments = augments or augmentation.colour

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        batch = as_float(batch)
        if augments:
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

        def objective(params: Any) -> tuple[jax.Array, tuple[Outputs, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            dropout_key = draw_key(state.key, DROPOUT, state.step)
            outputs, batch_stats = task.apply(variables, batch, True, dropout_key)
            loss = mean_of_valid(task.loss(outputs, batch), batch["valid"])
            return loss, (outputs, batch_stats)

        (loss, (outputs, batch_stats)), gradients = jax.value_and_grad(objective, has_aux=True)(
            state.params
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        sums = metrics.merge(state.sums, all_sums(task, outputs, batch))
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, batch_stats, opt_state, state.step + 1, state.key, sums), loss

    return jax.jit(step, donate_argnums=0, out_shardings=replicated(mesh))


def make_eval_step(
    outputs_of: Callable[[Any, Batch], Outputs], task: Task, mesh: Mesh
) -> Callable[[Any, Any, Batch], Any]:
    """Return `step(argument, sums, batch) -> sums`, with sums merged over batches.

    `outputs_of(argument, batch)` gives the outputs: a model's of its variables, or a baseline's of
    its statistic.
    """

    def step(argument: Any, sums: Any, batch: Batch) -> Any:
        batch = as_float(batch)
        return metrics.merge(sums, all_sums(task, outputs_of(argument, batch), batch))

    return jax.jit(step, donate_argnums=1, out_shardings=replicated(mesh))


def model_outputs(task: Task) -> Callable[[Variables, Batch], Outputs]:
    """Return `outputs(variables, batch)` of a task's model in evaluation mode."""

    def outputs(variables: Variables, batch: Batch) -> Outputs:
        return task.apply(variables, batch, False, jax.random.key(0))[0]  # nothing is drawn

    return outputs
