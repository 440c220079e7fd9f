"""Every file in configs/ lowers for GPU and TPU at its full size, and trains when shrunk."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.config import load_config
from vocjax.mesh import make_mesh
from vocjax.training.evaluation import make_evaluator, summarise
from vocjax.training.phases import phase_optimizer
from vocjax.training.step import initial_state, make_train_step
from vocjax.training.validate import batch_shapes, validate

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))


# One of each kind: a closed form, a linear model, convolutions, transforms, a head, a head and a
# decoder, a backbone, a foreground and classes. Frozen parts and phases are in tests/training.
KINDS = (
    "pca",
    "linear_autoencoder",
    "autoencoder_256",
    "transform_autoencoder",
    "classifier_256",
    "classifier_joint",
    "classifier_pretrained",
    "segmentation_dice",
    "segmentation_classes",
)
FAST_KINDS = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in NAMES],
)


def specs(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def lowered(program, *arguments):
    """Compile a jitted function for GPU and TPU as far as that goes without one; return shapes."""
    traced = program.trace(*arguments)
    for platform in ("cuda", "tpu"):
        traced.lower(lowering_platforms=(platform,))
    return traced.out_info


def test_there_are_configs_for_all_three_tasks():
    tasks = {load_config(CONFIGS / f"{name}.py").task for name in NAMES}
    assert tasks == {"reconstruction", "classification", "segmentation"}


@FAST_KINDS
def test_lowers_for_gpu_and_tpu_at_full_size(name):
    config = load_config(CONFIGS / f"{name}.py")
    assert config.name
    if "backbone" in config.model:  # it is that of the weights
        config.model.backbone.name = "squeezenet" if config.task == "classification" else "resnet18"
    valid, batch = validate(config), batch_shapes(config)
    for phase in valid.phases:
        optimizer = phase_optimizer(config, phase, 100)

        def begin(variables, phase=phase, optimizer=optimizer):
            opt_state = optimizer.init(phase.split(variables["params"])[0])
            return initial_state(config, variables, opt_state, valid.sums)

        state = jax.eval_shape(begin, valid.shapes)
        step = make_train_step(valid.task, optimizer, phase, config, make_mesh())
        new_state, mean = lowered(step, state, batch)
        assert specs(new_state) == specs(state)
        assert (mean.shape, mean.dtype) == ((), jnp.float32)
    evaluator = make_evaluator(valid.task, valid.sums, config.batch_size, make_mesh())
    outputs = lowered(evaluator.outputs, valid.shapes, batch)
    assert specs(lowered(evaluator.measure, valid.sums, outputs, batch).sums) == specs(valid.sums)
    if config.model.name in ("pca", "linear_autoencoder", "transform_autoencoder"):
        images = batch | {"image": jax.ShapeDtypeStruct(batch["image"].shape, jnp.float32)}
        fitted = jax.eval_shape(
            lambda shapes, batch: valid.task.fit(shapes, iter(5 * [batch]), None)[0],
            valid.shapes,
            images,
        )
        assert specs(fitted) == specs(valid.shapes)


def evaluated_epochs(config):
    """Every so many, and the last."""
    every = range(1, config.epochs + 1)
    return [e for e in every if e % config.evaluate_every_epochs == 0 or e == config.epochs]


@FAST_KINDS
def test_trains_on_toy(tiny_config, finished_run, name):
    config, workdir = tiny_config(name), finished_run(name)
    results = json.loads((workdir / "results.json").read_text())
    assert results["epoch"] == config.epochs
    assert results["step"] >= (2 if config.epochs else 0)
    valid = validate(config)
    ones = jax.tree.map(lambda x: np.ones((2, *x.shape[1:]), x.dtype), valid.measures.rows)
    sums = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), valid.sums)
    measured = summarise(valid.task, sums, ones).keys()
    for measurement in (results, *results["baselines"].values()):
        for split in ("train", "val"):
            assert measured <= measurement[split].keys()  # the final evaluation may add some
            assert np.all(np.isfinite(list(measurement[split].values())))
    assert results["baselines"].keys() == valid.task.baselines.keys()
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [epoch["epoch"] for epoch in epochs] == evaluated_epochs(config)
    assert all(np.isfinite(epoch["train"]["loss"]) for epoch in epochs)
