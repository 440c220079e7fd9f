"""A small prepared toy data set, and the configs shrunk until they train on it in a second."""

import os

os.environ["KERAS_BACKEND"] = "jax"
# Compiling takes most of a test's time, and half of that is LLVM's effort for speed.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import functools
import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
from browser import find_browser, open_browser
from filelock import FileLock
from ml_collections import ConfigDict

from vocjax import compilation
from vocjax.config import load_config
from vocjax.data import toy, voc
from vocjax.data.dataset import Dataset, from_arrays, open_dataset
from vocjax.data.pipeline import Examples, plan
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.tasks.task import Batch, Final, Task, Variables
from vocjax.training.evaluation import Evaluator, make_evaluator
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import phase_optimizer
from vocjax.training.records import Records
from vocjax.training.setup import Setup, batches_of, fitted, initial_variables
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
    "deeplab_plus": {
        "encoder": (4, 4, 4),
        "output_stride": 4,
        "features": 4,
        "rates": (1, 2),
        "low_level": 2,
    },
}


def shrunk_fields(model: ConfigDict) -> dict[str, Any]:
    """The fields of a network that has no line above: two stages less, and at most 4 of each."""
    return {
        field: tuple(min(v, 4) for v in value[2:]) if isinstance(value, tuple) else min(value, 4)
        for field, value in model.items()
        if type(value) in (tuple, int) and value
    }


SHRUNK_BACKBONE = {"name": "squeezenet", "stem": "small", "last": "fire4"}  # of strides 1 and 2


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; the test is skipped where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip("no browser: install chromium (or google-chrome) and have it on the PATH")
    with open_browser(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and some tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


COMPILED = compilation.folder("vocjax-tests")  # lasting, as that of users
MOST_COMPILED = 2 * 2**30  # bytes


def pytest_sessionstart(session: pytest.Session) -> None:
    """Bound the folder of compiled programs."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        COMPILED.mkdir(parents=True, exist_ok=True)
        compilation.tidy(COMPILED, MOST_COMPILED)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache() -> None:
    """Compile what several tests run only once."""
    jax.config.update("jax_compilation_cache_dir", str(COMPILED))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def child_environment() -> Callable[..., dict[str, str]]:
    """`child_environment(**more)` makes a Python process compile as little as this one does."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return lambda **more: os.environ | cache | more


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`made_once(name, make)` is a folder that `make(folder)` fills, once for all workers.

    It is to be read, not written.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of all workers

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / "made" / name, root / "made" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(root / "made" / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def toy_dir(made_once: Callable[..., Path]) -> Path:
    """A data_dir that holds a prepared `toy` of 24 train and 16 val images; 12 and 8 with masks.

    10 and 8 images show the study's classes, aeroplane or dog.
    """

    def make(data_dir: Path) -> None:
        small = functools.partial(toy.write_devkit, images=(24, 16), segmentation=(12, 8))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(toy, "write_devkit", small)
            voc.prepare("toy", data_dir)

    return made_once("toy", make)


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
        fields = SHRUNK_MODELS.get(config.model.name) or shrunk_fields(config.model)
        shrunk = {f"model.{k}": v for k, v in fields.items()}
        if config.model.get("decoder") == ():  # a classifier that is no joint network
            del shrunk["model.decoder"]
        if config.model.get("stem") == "patch":
            shrunk["model.encoder"] = (4, 4)
            if config.model.name == "unet":
                shrunk["model.decoder"] = (4,)
            if config.model.get("code"):
                shrunk["model.code"] = 2
        if "backbone" in config.model:
            del shrunk["model.encoder"]
            shrunk.pop("model.output_stride", None)  # the backbone has its own
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
    tiny_config: Callable[..., ConfigDict], made_once: Callable[..., Path]
) -> Callable[[str], Path]:
    """`finished_run(name)` is the directory of a config's tiny run; to be read, not written."""

    def run(name: str) -> Path:
        return made_once(name, functools.partial(train_and_evaluate, tiny_config(name)))

    return functools.cache(run)


def _bare(config: ConfigDict) -> Task:
    return make_task(config)._replace(baselines={}, finish=lambda trained: Final(), inspect=None)


@pytest.fixture(scope="session")
def bare() -> Callable[[ConfigDict], Task]:
    """`bare(config)` is its task without what takes most of a tiny run's time beside training."""
    return _bare


@pytest.fixture(scope="session")
def arrays() -> Dataset:
    """A data set of random images of 4 x 4 pixels, 10 to train on and 8 to validate on."""
    rng = np.random.default_rng(0)
    images = {
        split: {"image": rng.integers(0, 256, (n, 4, 4, 3), np.uint8)}
        for split, n in (("train", 10), ("val", 8))
    }
    return from_arrays(images, make_mesh())


@pytest.fixture(scope="session")
def quick_run(
    tiny_config: Callable[..., ConfigDict], arrays: Dataset
) -> Callable[..., dict[str, Any]]:
    """`quick_run(workdir, **overrides)` trains a linear model on `arrays`: 2 epochs of 2 steps.

    For tests of the loop: it has no baselines and no final evaluation.
    """

    def run(
        workdir: Path,
        optimizer: optax.GradientTransformation | None = None,
        change: Callable[[Task], Task] = lambda task: task,
        **overrides: Any,
    ) -> dict[str, Any]:
        small = {"data.size": 4, "optimizer.name": "adam"}
        config = tiny_config("linear_autoencoder", **(small | overrides))
        return train_and_evaluate(config, workdir, change(_bare(config)), arrays, optimizer)

    return run


@pytest.fixture
def signal_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, tuple[int, ...]]], None]:
    """`signal_at({step: signals})` sends this process signals while it trains that step.

    Steps are counted from 1, over all runs from then on.
    """

    def plan(signals_at_step: dict[int, tuple[int, ...]]) -> None:
        steps, count_step = itertools.count(1), Records.step

        def step(self: Records) -> None:
            count_step(self)
            for number in signals_at_step.get(next(steps), ()):
                signal.raise_signal(number)

        monkeypatch.setattr(Records, "step", step)

    return plan


# Both would change a frozen encoder that trained: one its statistics, the other its codes.
RESTLESS = {"model.norm": "batch", "model.dropout": 0.2, "model.encoder": (4, 4)}


@pytest.fixture(scope="session")
def pretrained(tiny_config: Callable[..., ConfigDict], made_once: Callable[..., Path]) -> Path:
    """The run of an autoencoder with batch norm and dropout; to be read, not written."""
    config = tiny_config("autoencoder_256", **RESTLESS, **{"model.decoder": (4,)})
    return made_once("pretrained", lambda folder: train_and_evaluate(config, folder, _bare(config)))


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
        variables, _ = fitted(setup, initial_variables(setup), train)

        @jax.jit
        def state(variables: Variables) -> TrainState:
            opt_state = optimizer.init(phase.split(variables["params"])[0])
            return initial_state(config, variables, opt_state, valid.sums)

        step = make_train_step(valid.task, optimizer, phase, config, mesh)
        rows = np.arange(min(config.batch_size, len(train.ids)))
        batch = next(train.batches(plan(rows, config.batch_size, mesh)))
        return Begun(valid, step, state(variables), train, batch, evaluator)

    return begin
