"""All checks of a config, in one place, before any data is read or anything is written."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.config import flat
from vocjax.data.classes import classes_of
from vocjax.data.pipeline import Examples, check_data, plan
from vocjax.errors import UserError, check_choice, check_range, local_path
from vocjax.mesh import MATMUL_PRECISIONS
from vocjax.metrics.names import METRIC_NAMES
from vocjax.models.fields import image_shape
from vocjax.tasks import make_task
from vocjax.tasks.task import Measures, Task, Variables
from vocjax.training.evaluation import measured_shapes, summarise
from vocjax.training.norms import statistics_of
from vocjax.training.optimizers import check_updates
from vocjax.training.phases import Phase, make_phases, phase_optimizer
from vocjax.training.step import zeros_like

MEASURED = ("best", "stop_early")  # fields that name a metric of validation
LARGEST = 2**31 - 1  # whole number in a config: an array has no longer axis
MANY = 10**6  # batches of an epoch, while the number of images is not known


class Valid(NamedTuple):
    """What a config that can be run describes: the task, its variables' shapes, its phases.

    `measures` has the shapes of what is measured of a batch.
    """

    task: Task
    shapes: Variables
    measures: Measures
    phases: tuple[Phase, ...]

    @property
    def sums(self) -> Any:
        """The shapes of what the metrics sum."""
        return self.measures.sums


def validate(config: ConfigDict, task: Task | None = None) -> Valid:
    """Check a whole config, and your own `task` in place of its; `UserError` for a mistake."""
    _check_numbers(config)
    check_data(config.data)
    _check_fields(config)
    task = task or make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    phases = make_phases(config, shapes["params"])
    for phase in phases:
        optimizer = phase_optimizer(config, phase, batches=MANY)
        check_updates(config.optimizer, optimizer, phase.split(shapes["params"])[0])
    measures = measured_shapes(task, shapes, batch_shapes(config))
    _check_measured(config, task, measures)
    return Valid(task, shapes, measures, phases)


def _check_numbers(config: ConfigDict) -> None:
    """Raise `UserError` for a whole number with which no array can have an axis."""
    for name, value in flat(config.to_dict()).items():
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is int and abs(number) > LARGEST and name != "seed":
                raise UserError(f"{name} is {value}; a whole number is {LARGEST} at most.")


def _check_fields(config: ConfigDict) -> None:
    for path in (config.data.data_dir, config.init_from):
        local_path(path)
    check_range("batch_size", config.batch_size, 1)
    check_range("epochs", config.epochs, 0)
    check_range("evaluate_every_epochs", config.evaluate_every_epochs, 1)
    check_range("seed", config.seed, 0, 2**32)
    check_choice("matmul_precision", config.matmul_precision, MATMUL_PRECISIONS)
    if config.shard_parameters and jax.process_count() > 1:
        raise UserError(
            "shard_parameters is True, which is for the devices of one host, and there are "
            f"{jax.process_count()} hosts; set it to False."
        )
    statistics_of(config)
    for field in MEASURED:
        check_choice(f"{field}.mode", config[field].mode, ("min", "max"))
    check_range("stop_early.patience", config.stop_early.patience, 0)
    check_range("optimizer.average_decay", config.optimizer.average_decay, 0, 1)
    augment = config.data.augment
    least = min(image_shape(config)[:2])
    check_range("data.augment.crop_padding", augment.crop_padding, 0, least)
    _check_scale(config)
    for name in ("zoom", "colour"):
        check_range(f"data.augment.{name}", augment[name], 0, 1)
    _check_augment(config)


def _check_augment(config: ConfigDict) -> None:
    """Raise `UserError` for what is wrong with RandAugment, erasing or mixing."""
    augment = config.data.augment
    fits = len(augment.rand_augment) == 2 and type(augment.rand_augment[0]) is int
    if augment.rand_augment and not (
        fits and augment.rand_augment[0] > 0 and 0 <= augment.rand_augment[1] <= 30
    ):
        raise UserError(
            f"data.augment.rand_augment is {augment.rand_augment!r}; it is how many operations, "
            "and their magnitude from 0 to 30: (2, 9), or () for none."
        )
    if not 0 <= augment.erase <= 1:
        raise UserError(
            f"data.augment.erase is {augment.erase!r}; it is the chance that a box of an image is "
            "erased, from 0 to 1."
        )
    for name in ("mixup", "cutmix"):
        check_range(f"data.augment.{name}", augment[name], 0)
        if augment[name] and config.task != "classification":
            raise UserError(
                f"data.augment.{name} is {augment[name]!r}, which mixes the labels of images; "
                f"{config.task} has none: set it to 0."
            )


def _check_scale(config: ConfigDict) -> None:
    """Raise `UserError` for a random scale that is wrong, or of images without a known size."""
    scale, data = config.data.augment.scale, config.data
    if not scale:
        return
    if len(scale) != 2 or not 0.1 <= scale[0] <= scale[1] <= 10:
        raise UserError(
            f"data.augment.scale is {scale!r}; it is the least and the largest factor, (0.5, 2.0), "
            "from 0.1 to 10, or () for none."
        )
    if data.fit != "pad" or not data.longest:
        raise UserError(
            f"data.augment.scale is {scale!r}, data.fit {data.fit!r} and data.longest "
            f"{data.longest}: windows are cut from images that keep their aspect, and are kept at "
            "one size. Set data.fit to pad, and data.longest to that of the images, 500 say."
        )


def batch_shapes(config: ConfigDict) -> Any:
    """Return the shapes of a batch as `data.pipeline` makes them."""
    n, data = config.batch_size, config.data
    batch = {
        "image": jax.ShapeDtypeStruct((n, *image_shape(config)), np.uint8),
        "labels": jax.ShapeDtypeStruct((n, len(classes_of(data).names)), np.int8),
        "valid": jax.ShapeDtypeStruct((n,), np.float32),
    }
    if data.image_set == "Segmentation":
        batch["mask"] = jax.ShapeDtypeStruct((n, *image_shape(config)[:2]), np.uint8)
    return batch


def _check_measured(config: ConfigDict, task: Task, measures: Measures) -> None:
    """Raise `UserError` unless the task measures the metrics of `MEASURED`, and the modes fit."""
    # Whole-split metrics of no examples have their names, too.
    rows = {name: np.zeros((0, *x.shape[1:]), x.dtype) for name, x in measures.rows.items()}
    names = summarise(task, zeros_like(measures.sums), rows)
    for field in MEASURED:
        metric, chosen = config[field].metric, config[field].mode
        check_choice(f"{field}.metric", metric, names)
        arrow = {"min": "↓", "max": "↑"}[chosen]
        _, better, _ = METRIC_NAMES.get(metric, ("", arrow, ""))
        if better != arrow and metric != "loss":  # a loss may be anybody's own
            what, mode = ("more", "max") if better == "↑" else ("less", "min")
            raise UserError(
                f"{field}.mode is {chosen!r}, and {what} of {metric} is better: set it to {mode!r}."
            )


def check_examples(config: ConfigDict, examples: Examples, mesh: Mesh) -> None:
    """Raise `UserError` unless your own data give the batches that a config describes."""
    (batch,) = examples.batches(plan(np.zeros(1, np.int32), 1, mesh))
    needed = {"classification": ("labels",), "segmentation": ("mask",)}.get(config.task, ())
    for name, expected in batch_shapes(config).items():
        wanted = f"{expected.dtype} {expected.shape[1:]}"
        if name not in batch:
            if name in ("image", "valid", *needed):
                raise UserError(
                    f"the data have no {name!r}; {config.task} needs {wanted} for each image."
                )
        elif (batch[name].shape[1:], batch[name].dtype) != (expected.shape[1:], expected.dtype):
            raise UserError(
                f"{name!r} of the data is {batch[name].dtype} {batch[name].shape[1:]} for each "
                f"image, and the config describes {wanted}; change data.size, data.width, "
                "data.channels or the data."
            )
