"""Weights & Biases, in the form of a module of its name, beside TensorBoard."""

import json
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vocjax import cli
from vocjax.runs.fingerprint import fingerprint_of
from vocjax.runs.reader import read_epochs
from vocjax.training.loop import Own, Watch, train_group
from vocjax.training.writers import pictures_of


class FakeRun:
    def __init__(self, **begun: Any) -> None:
        self.begun, self.finished = begun, 0
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def log(self, values: dict[str, Any], step: int) -> None:
        assert not self.finished
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    """The runs that a module `wandb` has begun."""
    runs, module = [], ModuleType("wandb")

    def init(**begun: Any) -> FakeRun:
        runs.append(FakeRun(**begun))
        return runs[-1]

    module.init, module.Image = init, np.copy
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_values_and_pictures_reach_wandb(wandb, tiny_config, bare, arrays, tmp_path):
    fields = {"data.size": 4, "optimizer.name": "adam", "optimizer.schedule": "constant"}
    config = tiny_config("linear_autoencoder", **fields)
    for epochs in (2, 3):
        config.epochs = epochs
        train_group([config], [tmp_path], Own(bare(config), arrays), Watch(wandb="voc"))
    first, second = wandb
    for run in wandb:
        assert run.finished == 1 and run.begun["project"] == "voc"
    assert first.begun["id"] == second.begun["id"]  # it goes on there
    assert first.begun["config"] == tiny_config("linear_autoencoder", **fields).to_dict()
    scalars = [(step, values) for run in wandb for step, values in run.logged if len(values) > 2]
    assert scalars == [
        (record["step"], {f"{s}/{m}": v for s in ("train", "val") for m, v in record[s].items()})
        for record in read_epochs(tmp_path)
    ]
    step, pictures = second.logged[-1]
    assert step == 6 and pictures.keys() == {"val/image", "val/reconstruction"}
    shown = np.load(tmp_path / "samples.npz")["image"]
    np.testing.assert_array_equal(pictures["val/image"], np.rint(255 * shown.astype(np.float32)))
    assert "wandb" not in (tmp_path / "config.json").read_text()


def test_a_run_without_wandb_is_the_same_run(wandb, tiny_config, tmp_path):
    config = tiny_config("linear_autoencoder", epochs=1)
    for name, project in (("with", "voc"), ("without", "")):
        train_group([config], [tmp_path / name], watch=Watch(wandb=project))
    assert len(wandb) == 1
    assert fingerprint_of(tmp_path / "with") == fingerprint_of(tmp_path / "without") is not None


@pytest.mark.parametrize("reason", ["not installed", "not logged in"])
def test_wandb_that_cannot_begin(reason, wandb, toy_dir, tmp_path, monkeypatch, capsys):
    def refuse(**_: Any) -> None:
        raise RuntimeError("No API key configured.")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    if reason == "not installed":
        monkeypatch.setitem(sys.modules, "wandb", None)
    run, small = tmp_path / "run", ["--config.data.size=8", "--config.optimizer.warmup_steps=0"]
    small += [f"--config.data.data_dir={toy_dir}", "--config.model.components=2"]
    train = ["train", "--config", "linear_autoencoder", "--workdir", str(run), "--wandb", "voc"]
    assert cli.main([*train, *small]) == 1
    *_, message = capsys.readouterr().err.splitlines()
    if reason == "not installed":
        assert "--wandb needs the package wandb" in message and "`pip install wandb`" in message
        assert not run.exists()
    else:
        assert "can't begin: No API key configured. `wandb login` signs in, and" in message
        assert not (run / "metrics.jsonl").read_text() and not any(run.glob("checkpoints/*"))


def test_masks_are_painted_over_images(tiny_config):
    config = tiny_config("segmentation_dice")
    images = np.full((1, 2, 2, 1), 0.5, np.float16)
    mask = np.array([[[0, 1], [0, 255]]], np.uint8)
    found = pictures_of({"image": images, "mask": mask, "prediction": mask * 0}, config)
    assert found.keys() == {"image", "mask", "prediction"}
    np.testing.assert_array_equal(found["prediction"], np.full((1, 2, 2, 3), 128))
    assert found["mask"][0, 0, 1].tolist() == [128, 64, 64]  # aeroplane's colour is (128, 0, 0)
    assert json.dumps(pictures_of({}, config)) == "{}"
