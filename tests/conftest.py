"""A small prepared toy data set, and the configs shrunk until they train on it in a second."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from vocjax.configuration import load_config
from vocjax.data import toy, voc

CONFIGS = Path(__file__).parents[1] / "configs"
SHRUNK_MODELS = {
    "pca": {"components": 3},
    "linear_autoencoder": {"components": 3},
    "autoencoder": {"encoder": (4, 4, 4), "decoder": (4, 4)},
    "classifier": {"encoder": (4, 4, 4)},
    "segmenter": {"encoder": (4, 4, 4), "decoder": (4, 4)},
}


def pytest_configure(config: pytest.Config) -> None:
    # ml_collections reads config files with it.
    config.addinivalue_line("filterwarnings", r"ignore:the load_module\(\) method:DeprecationWarning")


@pytest.fixture(scope="session")
def toy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir that holds a prepared `toy` of 24 train and 16 val images; 12 and 8 with masks."""
    data_dir = tmp_path_factory.mktemp("toy")
    small = functools.partial(toy.write_devkit, images=(24, 16), segmentation=(12, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "write_devkit", small)
        voc.prepare("toy", data_dir)
    return data_dir


@pytest.fixture(scope="session")
def tiny_config(toy_dir: Path) -> Callable[..., ConfigDict]:
    """`tiny_config(name, **overrides)` loads configs/NAME.py, small, on the small toy data set.

    Overrides are fields by their full name: `tiny_config("pca", **{"data.size": 8})`.
    """

    def load(name: str, **overrides: Any) -> ConfigDict:
        config = load_config(CONFIGS / f"{name}.py")
        small = {
            "epochs": min(config.epochs, 2),
            "batch_size": 8,
            "data.data_dir": str(toy_dir),
            "data.size": 16,
        }
        shrunk = {f"model.{k}": v for k, v in SHRUNK_MODELS[config.model.name].items()}
        config.update_from_flattened_dict(small | shrunk | overrides)
        return config

    return load
