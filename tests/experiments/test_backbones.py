"""The script of the backbones' figures: what it measures, keeps, adds to and refuses."""

import json
import sys

import pytest

from experiments import backbones as script
from vocjax.models.backbones import BACKBONES


@pytest.fixture
def output(tmp_path):
    return tmp_path / "backbones.json"


@pytest.fixture
def call(output, monkeypatch):
    """The script on the command line, for small images; returns the exit code."""
    monkeypatch.setattr(script, "PIXELS", dict.fromkeys(BACKBONES, 32))

    def call(*arguments):
        command = ["backbones", "--output", str(output), "--seconds", "0", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        return script.main()

    return call


@pytest.fixture
def installed(monkeypatch):
    """Sources that are there, and an error that any network has against them."""

    def installed(*sources, error):
        def find_spec(name):
            return name if name in sources else None

        monkeypatch.setattr(script.importlib.util, "find_spec", find_spec)
        monkeypatch.setattr(script.importlib.metadata, "version", lambda _: "1.2")
        monkeypatch.setattr(script, "parity_error", lambda *_: error)

    return installed


def records_in(path):
    return {record["backbone"]: record for record in json.loads(path.read_text())}


def test_a_network_is_measured_and_the_others_are_not(call, output, capsys):
    assert call("--only", "squeezenet", "--measure", "size", "speed") == 0
    records = records_in(output)
    assert list(records) == list(BACKBONES)
    record = records["squeezenet"]
    assert record["pixels"] == 32
    assert record["size"]["parameters"] == 1_235_496
    assert 1e6 < record["size"]["multiply_adds"] < 1e7
    assert record["torchvision"] is None  # there is one, and it is not measured
    assert "keras" not in record  # there is none
    speed = record["speed"]
    assert speed["batch"] == 8
    assert speed["forward"] > speed["training"] > 0
    for what in ("size", "speed"):
        made = record[what]["provenance"]
        assert made["versions"]["jax"] and made["device"]["cores"] and "commit" in made
    assert records["vgg16"] == {
        "backbone": "vgg16",
        "pixels": 32,
        **dict.fromkeys(("size", "torchvision", "keras", "speed")),
    }
    printed = capsys.readouterr().out
    assert "squeezenet at 32 pixels; 1,235,496 parameters, 0.00 G multiply-adds; " in printed
    assert "torchvision not measured" in printed
    assert "images/s forward" in printed


def test_a_further_call_adds_to_the_file(call, output, installed):
    call("--only", "mobilenet_v2", "--measure", "size")
    installed("torchvision", "keras", error=0.5)
    call("--only", "mobilenet_v2", "resnet18", "--measure", "torchvision")
    records = records_in(output)
    assert records["mobilenet_v2"]["size"]["parameters"] == 3_504_872
    assert records["mobilenet_v2"]["keras"] is None
    for name in ("mobilenet_v2", "resnet18"):
        found = records[name]["torchvision"]
        assert (found["error"], found["version"]) == (0.5, "1.2")


def test_what_is_not_installed_keeps_its_figure(call, output, installed, capsys):
    chosen = ("--only", "mobilenet_v2", "--measure", "torchvision", "keras")
    installed("torchvision", error=0.5)
    call(*chosen)
    assert "keras is not installed here" in capsys.readouterr().out
    installed("keras", error=0.25)
    call(*chosen)
    assert "torchvision is not installed here" in capsys.readouterr().out
    record = records_in(output)["mobilenet_v2"]
    assert (record["torchvision"]["error"], record["keras"]["error"]) == (0.5, 0.25)


def test_what_is_measured_is_kept_when_the_next_network_is_stopped(
    call, output, installed, monkeypatch
):
    def stopped(name, *_):
        if name == "vgg16":
            raise KeyboardInterrupt
        return 0.5

    installed("torchvision", error=0.5)
    monkeypatch.setattr(script, "parity_error", stopped)
    assert call("--measure", "torchvision") == 130
    records = records_in(output)
    assert records["alexnet"]["torchvision"]["error"] == 0.5
    assert records["vgg16"]["torchvision"] is None


@pytest.mark.parametrize("content", ["[", "[1]", '[{"name": 1}]', "null", '{"a": 1}'])
def test_a_file_of_something_else_is_refused_and_left_alone(call, output, content, capsys):
    output.write_text(content)
    assert call("--only", "alexnet", "--measure", "size") == 1
    assert "can't be read as backbones' figures" in capsys.readouterr().err
    assert output.read_text() == content


def test_a_file_that_can_t_be_written_is_told_before_anything_is_measured(
    call, output, monkeypatch, capsys
):
    monkeypatch.setattr(script, "measure", None)
    assert call("--only", "alexnet", "--output", str(output / "no folder")) == 1
    assert "can't be written" in capsys.readouterr().err


def test_a_backbone_that_is_none_is_refused(call, capsys):
    with pytest.raises(SystemExit) as caught:
        call("--only", "resnet34")
    assert caught.value.code == 2
    assert "'resnet18', 'resnet50'" in capsys.readouterr().err
