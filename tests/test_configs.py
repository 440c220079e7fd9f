"""Every file in configs/ traces at its full size, and trains on the toy data when shrunk."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.config import load_config
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.training.evaluation import sums_shape
from vocjax.training.phases import make_phases, phase_optimizer
from vocjax.training.state import create
from vocjax.training.step import make_train_step

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))


def batch_shapes(config):
    """A batch as the pipeline gives it."""
    n, side = config.batch_size, config.data.size
    shapes = {
        "image": ((n, side, side, config.data.channels), jnp.uint8),
        "labels": ((n, 20), jnp.int8),
        "valid": ((n,), jnp.float32),
    }
    if config.data.image_set == "Segmentation":
        shapes["mask"] = ((n, side, side), jnp.uint8)
    return {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}


def specs(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def test_there_are_configs_for_all_three_tasks():
    tasks = {load_config(CONFIGS / f"{name}.py").task for name in NAMES}
    assert tasks == {"reconstruction", "classification", "segmentation"}


@pytest.mark.parametrize("name", NAMES)
def test_traces_at_full_size(name):
    config = load_config(CONFIGS / f"{name}.py")
    assert config.name
    if "backbone" in config.model:  # it is that of the weights
        config.model.backbone.name = "squeezenet" if config.task == "classification" else "resnet18"
    task, batch = make_task(config), batch_shapes(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, key)
    sums = sums_shape(task, variables, batch)
    averages = config.optimizer.average_decay > 0
    as_float = batch | {"image": jax.ShapeDtypeStruct(batch["image"].shape, jnp.float32)}
    outputs, batch_stats = jax.eval_shape(
        lambda v, b, k: task.apply(v, b, True, k), variables, as_float, key
    )
    assert specs(batch_stats) == specs(variables["batch_stats"])
    loss = jax.eval_shape(task.loss, outputs, as_float)
    assert (loss.shape, loss.dtype) == ((config.batch_size,), jnp.float32)
    assert specs(jax.eval_shape(task.metrics, outputs, as_float)) == specs(sums["task"])
    for phase in make_phases(config, variables["params"]):
        optimizer = phase_optimizer(config, phase, 100)

        def begin(v, k, phase=phase, optimizer=optimizer):
            opt_state = optimizer.init(phase.split(v["params"])[0])
            return create(v, opt_state, k, sums, averages=averages)

        state = jax.eval_shape(begin, variables, key)
        step = make_train_step(task, optimizer, phase, config, make_mesh())
        new_state, mean = jax.eval_shape(step, state, batch)
        assert specs(new_state) == specs(state)
        assert (mean.shape, mean.dtype) == ((), jnp.float32)
    if task.fit is not None:
        fitted = jax.eval_shape(lambda v, b: task.fit(v, iter(5 * [b])), variables, as_float)
        assert specs(fitted) == specs(variables)


def evaluated_epochs(config):
    """Every so many, and the last."""
    every = range(1, config.epochs + 1)
    return [e for e in every if e % config.evaluate_every_epochs == 0 or e == config.epochs]


# They differ from others in numbers, or in what has tests of its own.
ALIKE = (
    "autoencoder_72",
    "autoencoder_2048",
    "autoencoder_pretrained",
    "classifier_2048",
    "classifier_lecture",
    "classifier_scratch",
    "deeplab_pretrained",
    "fcn_pretrained",
    "segmentation_bce_long",
    "segmentation_bce_rmsprop",
    "segmentation_norm_long",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in NAMES],
)
def test_trains_on_toy(tiny_config, finished_run, name):
    config, workdir = tiny_config(name), finished_run(name)
    results = json.loads((workdir / "results.json").read_text())
    assert results["epoch"] == config.epochs
    assert results["step"] >= (2 if config.epochs else 0)
    task, batch = make_task(config), batch_shapes(config)
    sums = sums_shape(task, jax.eval_shape(task.init, jax.random.key(0)), batch)
    ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), sums)
    measured = {"loss", *task.summary(ones["task"])}
    if task.whole is not None:
        elements = np.eye(2)[np.arange(8) % 2]
        arrays = {"probability": elements, "target": elements, "weight": 0 * elements + 1}
        measured |= task.whole.summary(arrays).keys()
    for measurement in (results, *results["baselines"].values()):
        for split in ("train", "val"):
            further = measurement[split].keys() - measured  # of the score at the end
            assert measured <= measurement[split].keys()
            assert not further or task.score is not None
            assert np.all(np.isfinite(list(measurement[split].values())))
    assert results["baselines"].keys() == task.baselines.keys()
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [epoch["epoch"] for epoch in epochs] == evaluated_epochs(config)
    assert all(np.isfinite(epoch["train"]["loss"]) for epoch in epochs)
