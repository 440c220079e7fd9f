"""Addresses are refused before anything is written, and so is a system without array_record."""

import sys
from pathlib import Path

import pytest

import vocjax
from vocjax import cli
from vocjax.data import voc
from vocjax.errors import UserError, local_path
from vocjax.training.loop import train_and_evaluate
from vocjax.training.validate import validate

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("text", ["gs://b/run", "s3://b", "gs:/b/run", Path("gs://b/run")])
def test_an_address_is_no_path(text):
    with pytest.raises(UserError, match="is an address, and vocjax reads and writes only files of"):
        local_path(text)


@pytest.mark.parametrize("text", ["runs/a", "/runs/a", ".", "C:/runs", "C:\\runs", "a:b/c"])
def test_a_path_is_a_path(text):
    assert local_path(text) == Path(text)


@pytest.mark.parametrize("text", ["a" * 300, "runs/" + "[" * 5000, "runs/\0"])
def test_what_no_file_can_be_called_is_refused(text):
    with pytest.raises(UserError, match=r"can't be a path: .*\. Give another one\."):
        local_path(text)


def test_a_link_to_itself_is_refused_where_it_is_passed(tmp_path):
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UserError, match="can't be a path: "):
        local_path(tmp_path / "round" / "a")


def test_a_tilde_is_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for text, path in (("~", "/home/me"), ("~/a", "/home/me/a"), ("~$a.png", "~$a.png")):
        assert local_path(text) == Path(path)
    assert local_path("./~/a") == Path("~/a")


@pytest.mark.parametrize(
    "line",
    [
        "data prepare --dataset toy --data_dir gs://b/data",
        "data prepare --dataset custom --devkit s3://b/kit",
        "data prepare --dataset voc2009 --archive https://host/voc.tar",
        "data info --dataset toy --figure gs://b/toy.png",
        "train --config CONFIG --workdir gs://b/run",
        "train --config CONFIG --workdir run --config.data.data_dir=gs://b/data",
        "train --config CONFIG --workdir run --config.init_from=s3://b/ae",
        "evaluate --workdir gs://b/run",
        "explore --workdir gs://b/run",
        "predict --workdir run https://host/dog.jpg --output said",
        "predict --workdir run dog.jpg --output gs://b/said",
        "report gs://b/run --output report.html",
        "report run --output gs://b/report.html",
        "weights import --backbone resnet18 gs://b/w.pth --output weights",
        "weights export weights --output s3://b/w.npz",
    ],
)
def test_an_address_is_refused_in_a_line_before_anything_is_written(
    line, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    config = str(CONFIGS / "autoencoder_256.py")
    assert cli.main([config if word == "CONFIG" else word for word in line.split()]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "is an address" in err
    assert not list(tmp_path.iterdir())


def test_an_address_is_refused_in_python_too(tiny_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = tiny_config("pca")
    for call in (
        lambda: train_and_evaluate(config, "gs://b/run"),
        lambda: vocjax.load("gs://b/run"),
        lambda: voc.load("toy", Path("gs://b/data")),
        lambda: validate(tiny_config("classifier_256", init_from="gs://b/run")),
    ):
        with pytest.raises(UserError, match="is an address"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_system_without_array_record_is_told_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "array_record", None)
    for verb in ("prepare", "info"):
        folder = tmp_path / "data"
        assert cli.main(["data", verb, "--dataset", "toy", "--data_dir", str(folder)]) == 1
        assert "there is none for Windows: use WSL" in capsys.readouterr().err
        assert not folder.exists()
