"""The paths of a run are found from any folder, also after a move."""

import json
import shutil
from pathlib import Path

import pytest

from vocjax import files
from vocjax.config import base_config
from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.pretrained.resolve import located
from vocjax.runs import places, writer
from vocjax.training.loop import train_and_evaluate


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The config of a run in home/runs/a that began in home, with data and a run beside it."""
    home = tmp_path / "home"
    for folder in ("data/voc", "runs/ae", "runs/a"):
        (home / folder).mkdir(parents=True)
    config = base_config()
    config.data.dataset, config.init_from = "custom", "runs/ae"
    monkeypatch.chdir(home)
    writer.begin(home / "runs" / "a", config, {})
    monkeypatch.chdir(tmp_path)
    return config


def test_paths_are_found_from_another_folder_and_after_a_move(begun, tmp_path):
    def found(home):
        run = home / "runs" / "a"
        data = places.data_dir(run, begun)
        return data, located(begun, run).init_from

    for home in (tmp_path / "home", tmp_path / "moved"):
        if not home.exists():
            shutil.move(tmp_path / "home", home)
        assert found(home) == (home / "data", str(home / "runs" / "ae"))


def test_what_is_gone_is_named_with_every_place(begun, tmp_path, monkeypatch):
    run = tmp_path / "home" / "runs" / "a"
    shutil.rmtree(tmp_path / "home" / "data")
    with pytest.raises(UserError, match=r"data\.data_dir of .* is 'data'") as gone:
        places.data_dir(run, begun)
    assert f"no directory is at {tmp_path}/home/data nor at {tmp_path}/data:" in str(gone.value)
    monkeypatch.chdir(tmp_path / "home")  # where both are one
    with pytest.raises(UserError, match=f"no directory is at {tmp_path}/home/data: there it lies"):
        places.data_dir(run, begun)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert places.data_dir(run, begun) == tmp_path / "data"


@pytest.mark.parametrize("begins", ["home/runs/x", "scratch/x"])
@pytest.mark.parametrize("way", ["data", "runs/../data"])
def test_a_folder_of_runs_may_be_a_link(begins, way, tmp_path, monkeypatch):
    for folder in ("home/data", "disc/deep/scratch/x", "disc/deep/data", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "scratch").symlink_to("disc/deep/scratch")
    (tmp_path / "home/runs").symlink_to("../scratch")
    config = base_config()
    config.data.dataset, config.data.data_dir = "custom", way
    monkeypatch.chdir(tmp_path / "home")
    data = Path(way).resolve()
    writer.begin(tmp_path / begins, config, {})
    monkeypatch.chdir(tmp_path / "elsewhere")
    for run in ("home/runs/x", "scratch/x", "disc/deep/scratch/x"):
        assert places.data_dir(tmp_path / run, config).samefile(data)


@pytest.mark.parametrize("damage", [{"paths": {"data.data_dir": 3}}, {"paths": []}, {"starts": 1}])
def test_a_damaged_file_of_the_run_is_named(damage, begun, tmp_path):
    run = tmp_path / "home" / "runs" / "a"
    files.write_json(run / "run.json", damage)
    with pytest.raises(UserError, match=r"run\.json can't be read: its "):
        writer.check(run, begun, {"fingerprint": ""})


def test_another_spelling_of_a_path_is_the_same_config(begun, tmp_path, monkeypatch):
    run, other = tmp_path / "home" / "runs" / "a", begun.copy_and_resolve_references()
    other.init_from = "home/runs/../runs/ae"
    writer.check(run, other, {"fingerprint": ""})
    other.init_from = "home/runs/b"
    with pytest.raises(UserError, match="init_from: 'runs/ae' -> 'home/runs/b'"):
        writer.check(run, other, {"fingerprint": ""})


def test_a_run_is_evaluated_from_another_folder(toy_dir, tiny_config, monkeypatch, tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    for folder in (home, away):
        folder.mkdir()
    (home / "data").symlink_to(toy_dir)
    monkeypatch.chdir(home)
    results = train_and_evaluate(tiny_config("pca", **{"data.data_dir": "data"}), "run")
    kept = json.loads((home / "run" / "run.json").read_text())
    assert kept["paths"] == {"data.data_dir": "../data"}
    monkeypatch.chdir(away)
    assert evaluate(home / "run")["metrics"]["mse"] == pytest.approx(results["val"]["mse"])
    assert not list(away.iterdir())
