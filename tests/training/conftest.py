"""A run with everything random in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from vocjax.config import to_json
from vocjax.training.loop import train_and_evaluate


@pytest.fixture(scope="session")
def random_config(tiny_config) -> Callable[..., ConfigDict]:
    """Segmentation with batch norm, dropout and augmentation: 4 epochs of 5, 5 and 2 images."""

    def load(**overrides: Any) -> ConfigDict:
        random = {
            "epochs": 4,
            "batch_size": 5,
            "model.encoder": (4, 4),
            "model.decoder": (4,),
            "model.norm": "batch",
            "model.dropout": 0.2,
            "data.augment.flip": True,
            "data.augment.crop_padding": 2,
        }
        return tiny_config("segmentation_dice", **(random | overrides))

    return load


@pytest.fixture(scope="session")
def uninterrupted(random_config, bare, made_once) -> Path:
    """The directory of `random_config`'s bare run, done in one go."""
    config = random_config()
    return made_once("random", lambda folder: train_and_evaluate(config, folder, bare(config)))


@pytest.fixture(scope="session")
def write_config() -> Callable[[ConfigDict, Path], Path]:
    """`write_config(config, folder)` is a config file for the command line."""

    def write(config: ConfigDict, folder: Path) -> Path:
        (folder / "config.json").write_text(to_json(config))
        path = folder / "config.py"
        path.write_text(
            "from pathlib import Path\n"
            "from vocjax.config import from_json\n"
            "def get_config():\n"
            "    return from_json(Path(__file__).with_suffix('.json').read_text())\n"
        )
        return path

    return write
