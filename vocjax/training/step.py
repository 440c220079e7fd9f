"""The train state and the jitted, donated train step, built from a task's pure functions."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.compilation import train_step_options
from vocjax.data.augment import augment, scale_and_cut
from vocjax.data.classes import class_columns
from vocjax.data.mix import mix
from vocjax.mesh import replicated, sharded
from vocjax.metrics import streaming
from vocjax.models.fields import image_shape
from vocjax.tasks.task import Batch, Targets, Task, Variables
from vocjax.training import norms
from vocjax.training.accumulation import progress
from vocjax.training.phases import Phase, frozen_modules, in_evaluation_mode, join

INIT, ORDER, AUGMENT, DROPOUT = range(4)  # what a run's one key is used for
SCALE, MIX = 1, 2  # and the key of AUGMENT, beside what `augment` draws from it

TrainStep = Callable[["TrainState", Batch], tuple["TrainState", jax.Array]]


class TrainState(NamedTuple):
    """Everything that a step needs and a checkpoint holds, an explicit pytree.

    A model is measured, and loaded, with the moving average of its parameters where one is kept.
    """

    params: Any
    batch_stats: Any
    opt_state: Any  # of the parameters that the phase trains
    average: Any  # of the parameters over the steps, {} where none is kept
    norm_weights: Any  # [modules] as `norms.debiased` moves them, {} where they are not needed
    step: jax.Array
    key: jax.Array
    sums: Any  # of the training metrics since the epoch began, which a resumed one needs, too


def draw_key(key: jax.Array, purpose: int, index: jax.Array | int) -> jax.Array:
    """Return the key of one draw: `index` is the epoch for ORDER, the step for the others."""
    return jax.random.fold_in(jax.random.fold_in(key, purpose), index)


def initial_state(
    config: ConfigDict, variables: Variables, opt_state: optax.OptState, sums: Any
) -> TrainState:
    """Return the state before the first step; `sums` has the shapes of the metrics' sums."""
    averages = config.optimizer.average_decay > 0
    statistics = variables["batch_stats"]
    debiases = bool(statistics) and norms.statistics_of(config) == norms.DEBIASED
    return TrainState(
        params=variables["params"],
        batch_stats=statistics,
        opt_state=opt_state,
        # A copy: a buffer can be donated only once.
        average=jax.tree.map(jnp.copy, variables["params"]) if averages else {},
        norm_weights=norms.zero_weights(statistics) if debiases else {},
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key(config.seed),
        sums=zeros_like(sums),
    )


def placement(state: TrainState, config: ConfigDict, mesh: Mesh) -> Any:
    """Return the sharding of each array of a state, or of its shapes, on the devices of a mesh."""
    whole = jax.tree.map(lambda _: replicated(mesh), state)
    if not config.shard_parameters:
        return whole
    split = ("params", "opt_state", "average")
    return whole._replace(**{name: sharded(getattr(state, name), mesh) for name in split})


def variables_of(state: TrainState) -> Variables:
    """Return what a model's `apply` takes in evaluation."""
    return {"params": state.average or state.params, "batch_stats": state.batch_stats}


def zeros_like(tree: Any) -> Any:
    """Return zeros in the shapes of a pytree of arrays or `jax.ShapeDtypeStruct`."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


@jax.jit
def is_finite(tree: Any) -> jax.Array:
    """Return whether every number of a pytree of arrays is finite, [] bool."""
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


def as_float(batch: Batch) -> Batch:
    """Map a batch's uint8 images to float32 in [0, 1]."""
    return batch | {"image": batch["image"].astype(jnp.float32) / 255}


def augments(config: ConfigDict) -> bool:
    """Return whether a config's `data.augment` changes images at all."""
    return any(config.data.augment.values())


def augmented(key: jax.Array, batch: Batch, config: ConfigDict) -> Batch:
    """Augment the images of a batch, float32 in [0, 1], and their masks, if they have them.

    Where the config has a scale, windows of its size are cut from them first. An `extent` says
    which part of an array is the image.
    """
    fields, images = config.data.augment, batch["image"]
    masks = batch.get("mask", jnp.zeros(images.shape[:3], jnp.uint8))
    if fields.scale:
        cut = partial(scale_and_cut, size=image_shape(config)[:2], scales=fields.scale)
        keys = jax.random.split(jax.random.fold_in(key, SCALE), len(images))
        whole = jnp.full((len(images), 2), jnp.array(masks.shape[1:]))
        images, masks = jax.vmap(cut)(keys, (images, masks, batch.get("extent", whole)))
    image, mask = augment(
        key,
        images,
        masks,
        flips=fields.flip,
        crop_padding=fields.crop_padding,
        zoom_share=fields.zoom,
        colour=fields.colour,
        operations=fields.rand_augment,
        erasing=fields.erase,
    )
    batch = batch | {"image": image} | ({"mask": mask} if "mask" in batch else {})
    return mixed(jax.random.fold_in(key, MIX), batch, config)


def mixed(key: jax.Array, batch: Batch, config: ConfigDict) -> Batch:
    """Mix the images of a batch by mixup or CutMix, where the config asks for it.

    The batch then has the labels of each image's partner, too, `other_labels`, and the `share` of
    the image itself. A padded example, or one with a class of which it isn't known whether it is
    shown, is not mixed.
    """
    fields = config.data.augment
    if not fields.mixup and not fields.cutmix:
        return batch
    known = (batch["labels"][:, list(class_columns(config.data))] != 0).all(axis=1)
    images, partner, share = mix(
        key,
        batch["image"],
        known & (batch["valid"] > 0),
        mixup=fields.mixup,
        cutmix=fields.cutmix,
    )
    return batch | {"image": images, "other_labels": batch["labels"][partner], "share": share}


def mean_loss(losses: jax.Array, targets: Targets) -> streaming.Mean:
    """Sum the losses [batch] of the examples that have a weight."""
    return streaming.mean(losses, targets["weight"])


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    phase: Phase,
    config: ConfigDict,
    mesh: Mesh,
) -> TrainStep:
    """Return `train_step`, compiled; the state given is donated.

    Data parallelism comes from the batch's sharding, and that of the parameters from the state's.
    """
    step = train_step(task, optimizer, phase, config)
    jit = partial(jax.jit, donate_argnums=0, compiler_options=train_step_options())
    if not config.shard_parameters:
        return jit(step, out_shardings=replicated(mesh))

    def split(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        state, loss = step(state, batch)
        where = (placement(state, config, mesh), replicated(mesh))
        return jax.lax.with_sharding_constraint((state, loss), where)

    return jit(split)


def train_step(
    task: Task, optimizer: optax.GradientTransformation, phase: Phase, config: ConfigDict
) -> TrainStep:
    """Return a phase's `step(state, batch) -> (state, loss)`, a pure function.

    Every draw folds the step into the state's key, so a step depends on nothing but its arguments.
    """
    decay, momenta = config.optimizer.average_decay, norms.Momenta()
    update = optax.with_extra_args_support(optimizer).update
    debiases = norms.statistics_of(config) == norms.DEBIASED

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        batch = as_float(batch)
        if augments(config):
            batch = augmented(draw_key(state.key, AUGMENT, state.step), batch, config)
        targets = task.targets(batch)
        trained, frozen = phase.split(state.params)

        def objective(trained: Any) -> tuple[jax.Array, Any]:
            params = join(trained, frozen)
            variables = {"params": params, "batch_stats": state.batch_stats}
            dropout_key = draw_key(state.key, DROPOUT, state.step)
            still = in_evaluation_mode(frozen_modules(phase, params))
            with still, norms.watched(momenta):
                outputs, batch_stats = task.apply(variables, batch, True, dropout_key)
            sums = mean_loss(task.loss(outputs, targets), targets)
            return sums.total / jnp.maximum(sums.count, 1), (outputs, batch_stats, sums)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, (outputs, batch_stats, sums)), gradients = gradient(trained)
        more = {"value": loss, "weight": jnp.asarray(sums.count, jnp.float32)}
        updates, opt_state = update(gradients, state.opt_state, trained, **more)
        params = join(optax.apply_updates(trained, updates), frozen)
        weights = state.norm_weights
        if debiases and batch_stats:
            batch_stats, weights = norms.debiased(state.batch_stats, batch_stats, weights, momenta)
        average = {}
        if decay:
            moving, still = phase.split(state.average)
            done, moves = progress(state.opt_state, opt_state, state.step)
            moved = moved_average(moving, phase.split(params)[0], decay, done)
            moved = jax.tree.map(partial(jnp.where, moves), moved, moving)
            average = join(moved, still)
        measured = {"loss": sums, "task": task.measure(outputs, targets).sums}
        sums = streaming.add(state.sums, measured)
        step = state.step + 1
        state = state._replace(params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state._replace(average=average, norm_weights=weights, step=step, sums=sums), loss

    return step


def moved_average(average: Any, params: Any, decay: float, step: jax.Array) -> Any:
    """Return the exponential moving average after a step, counted from 0.

    The decay rises with the steps, (1 + step) / (10 + step), until it is `decay`: the draw that a
    run begins with is forgotten at once.
    """
    keep = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)
