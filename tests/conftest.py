"""A small prepared toy data set, and the configs shrunk until they train on it in a second."""

import importlib.metadata
import os

os.environ["KERAS_BACKEND"] = "jax"
# Compiling takes most of a test's time, and most of that is XLA's effort for speed.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    if not importlib.metadata.version("jaxlib").startswith("0.10.")  # newer ones lack the second
    else "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
)

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from vocjax.config import load_config
from vocjax.data import toy, voc
from vocjax.data.dataset import open_dataset
from vocjax.data.pipeline import Examples, plan
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.tasks.task import Batch, Final, Task, Variables
from vocjax.training.evaluation import Evaluator, make_evaluator
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import phase_optimizer
from vocjax.training.setup import Setup, batches_of, initial_variables
from vocjax.training.step import TrainState, TrainStep, initial_state, make_train_step
from vocjax.training.validate import Valid, validate

CONFIGS = Path(__file__).parents[1] / "configs"
SHRUNK_MODELS: dict[str, dict[str, Any]] = {
    "pca": {"components": 3},
    "linear_autoencoder": {"components": 3},
    "autoencoder": {"encoder": (4, 4, 4), "decoder": (4, 4)},
    "transform_autoencoder": {
        "components": 12,
        "width": 4,
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "refinements": 1,
    },
    "classifier": {"encoder": (4, 4, 4), "decoder": (4, 4)},
    "mirror": {"encoder": (4, 4, 4), "decoder": (4, 4)},
    "unet": {"encoder": (4, 4, 4), "decoder": (4, 4)},
    "fcn": {"encoder": (4, 4, 4)},
    "deeplab": {"encoder": (4, 4, 4), "features": 4, "rates": (1, 2)},
}
SHRUNK_BACKBONE = {"name": "squeezenet", "stem": "small", "last": "fire4"}  # of strides 1 and 2


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and some tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile what several tests run only once."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def toy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir that holds a prepared `toy` of 24 train and 16 val images; 12 and 8 with masks.

    10 and 8 images show the study's classes, aeroplane or dog.
    """
    data_dir = tmp_path_factory.mktemp("toy")
    small = functools.partial(toy.write_devkit, images=(24, 16), segmentation=(12, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "write_devkit", small)
        voc.prepare("toy", data_dir)
    return data_dir


@pytest.fixture(scope="session")
def tiny_config(toy_dir: Path) -> Callable[..., ConfigDict]:
    """`tiny_config(name, **overrides)` loads configs/NAME.py, small, on the small toy data set.

    An epoch of a study's config has two steps. Overrides are fields by their full name:
    `tiny_config("pca", **{"data.size": 8})`.
    """

    def load(name: str, **overrides: Any) -> ConfigDict:
        config = load_config(CONFIGS / f"{name}.py")
        small = {
            "epochs": min(config.epochs, 2),
            "batch_size": 8,
            "data.data_dir": str(toy_dir),
            "data.size": 16,
            "optimizer.warmup_steps": 0,
        }
        shrunk = {f"model.{k}": v for k, v in SHRUNK_MODELS[config.model.name].items()}
        if config.model.get("decoder") == ():  # a classifier that is no joint network
            del shrunk["model.decoder"]
        if "backbone" in config.model:
            del shrunk["model.encoder"]
            shrunk |= {f"model.backbone.{k}": v for k, v in SHRUNK_BACKBONE.items()}
            if config.model.name in ("autoencoder", "unet"):
                shrunk["model.decoder"] = (4,)
            if config.model.name == "fcn":
                shrunk["model.skips"] = 1
        phases = config.optimizer.phases
        shrunk["optimizer.phases"] = tuple((i, groups) for i, (_, groups) in enumerate(phases))
        config.update_from_flattened_dict(small | shrunk | overrides)
        return config

    return load


@pytest.fixture(scope="session")
def finished_run(
    tiny_config: Callable[..., ConfigDict], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """`finished_run(name)` is the directory of a config's tiny run; to be read, not written."""

    @functools.cache
    def run(name: str) -> Path:
        workdir = tmp_path_factory.mktemp("runs") / name
        train_and_evaluate(tiny_config(name), workdir)
        return workdir

    return run


# Both would change a frozen encoder that trained: one its statistics, the other its codes.
RESTLESS = {"model.norm": "batch", "model.dropout": 0.2, "model.encoder": (4, 4)}


@pytest.fixture(scope="session")
def pretrained(
    tiny_config: Callable[..., ConfigDict], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run of an autoencoder with batch norm and dropout; to be read, not written."""
    config = tiny_config("autoencoder_256", **RESTLESS, **{"model.decoder": (4,)})
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    train_and_evaluate(
        config, workdir, make_task(config)._replace(baselines={}, finish=lambda trained: Final())
    )
    return workdir


@pytest.fixture(scope="session")
def restless_config(
    tiny_config: Callable[..., ConfigDict], pretrained: Path
) -> Callable[..., ConfigDict]:
    """`restless_config(name, **overrides)`: a classifier begun with `pretrained`'s encoder."""

    def load(name: str, **overrides: Any) -> ConfigDict:
        return tiny_config(name, **(RESTLESS | {"init_from": str(pretrained)} | overrides))

    return load


class Begun(NamedTuple):
    """A run before its first step."""

    valid: Valid
    step: TrainStep
    state: TrainState
    train: Examples
    batch: Batch  # of the first examples
    evaluator: Evaluator

    @property
    def task(self) -> Task:
        return self.valid.task


@pytest.fixture(scope="session")
def begun() -> Callable[[ConfigDict], Begun]:
    """`begun(config)` is what the loop has before the first step of a config's first phase."""

    def begin(config: ConfigDict, task: Task | None = None) -> Begun:
        mesh, valid = make_mesh(), validate(config, task)
        prepared = voc.load("toy", Path(config.data.data_dir))
        data = open_dataset(config, prepared, mesh)
        train, phase = data.splits["train"], valid.phases[0]
        optimizer = phase_optimizer(config, phase, batches_of(data, config))
        evaluator = make_evaluator(valid.task, valid.sums, config.batch_size, mesh)
        setup = Setup(config, Path(), valid, data, (optimizer,), evaluator, {})
        variables = initial_variables(setup)

        @jax.jit
        def state(variables: Variables) -> TrainState:
            opt_state = optimizer.init(phase.split(variables["params"])[0])
            return initial_state(config, variables, opt_state, valid.sums)

        step = make_train_step(valid.task, optimizer, phase, config, mesh)
        rows = np.arange(min(config.batch_size, len(train.ids)))
        batch = next(train.batches(plan(rows, config.batch_size, mesh)))
        return Begun(valid, step, state(variables), train, batch, evaluator)

    return begin
