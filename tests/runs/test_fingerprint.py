"""A fingerprint tells what makes a run another, and nothing else."""

import json
import linecache
import shutil
import sys
import types

import house
import pytest

from vocjax.config import load_config
from vocjax.runs import fingerprint as module
from vocjax.runs.fingerprint import code_version, fingerprint, fingerprint_of


def config(*overrides):
    return load_config("pca", [f"--config.{change}" for change in overrides])


def test_names_and_places_change_nothing_and_the_rest_does():
    base = fingerprint(config("init_from=a"), "data", "code", "origin")
    moved = config("name=Other", "data.data_dir=elsewhere", "init_from=b")
    assert fingerprint(moved, "data", "code", "origin") == base
    others = [
        fingerprint(config("init_from=a", "seed=1"), "data", "code", "origin"),
        fingerprint(config("init_from=a"), "data 2", "code", "origin"),
        fingerprint(config("init_from=a"), "data", "code 2", "origin"),
        fingerprint(config("init_from=a"), "data", "code", "origin 2"),
        fingerprint(config(), "data", "code", None),
    ]
    assert len({base, *others}) == 6
    assert fingerprint(config(), None, "code", None) is None
    assert fingerprint(config("init_from=a"), "data", "code", None) is None


def test_a_finished_run_has_the_fingerprint_that_was_expected(finished_run, tiny_config, tmp_path):
    run, expected = finished_run("pca"), tiny_config("pca")
    made = json.loads((run / "run.json").read_text())
    code = code_version(expected)
    assert made["code"] == made["starts"][0]["code"] == code
    known = fingerprint(expected, made["dataset"]["fingerprint"], code, None)
    assert fingerprint_of(run) == known is not None
    for change in (
        {"starts": [*made["starts"], {"code": "other"}]},
        {"starts": [{}]},
        {"custom": ["task"]},
    ):
        shutil.copytree(run, tmp_path / "copy", dirs_exist_ok=True)
        (tmp_path / "copy/run.json").write_text(json.dumps(made | change))
        assert fingerprint_of(tmp_path / "copy") is None
    (tmp_path / "copy/run.json").write_text(json.dumps(made))
    assert fingerprint_of(tmp_path / "copy") == known
    (tmp_path / "copy/results.json").unlink()
    assert fingerprint_of(tmp_path / "copy") is None
    assert fingerprint_of(tmp_path) is None


def test_the_code_of_ones_own_functions_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_loss_of_codes.py").write_text("def loss(a, b): return a")
    named = config("loss.name=my_loss_of_codes:loss")
    assert code_version(named) == code_version(config())  # not imported, so it is not used yet
    __import__("my_loss_of_codes")
    monkeypatch.delitem(sys.modules, "missing", raising=False)
    first = code_version(named)
    (tmp_path / "my_loss_of_codes.py").write_text("def loss(a, b): return b")
    assert len({first, code_version(named), code_version(config())}) == 3


def test_rooms_that_do_not_count_are_none_that_training_uses():
    graph, reached = house.imports(), set()
    left = ["vocjax.training.loop"]
    while left:
        for other in graph[left.pop()] - reached:
            reached.add(other)
            left.append(other)
    assert not {name.split(".")[1] for name in reached if "." in name} & module.SHOWING


def test_the_source_of_a_room_that_counts_changes_the_version(tmp_path, monkeypatch):
    def version(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return module._package.__wrapped__()

    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    first = version(losses="a", cli="a")
    assert version(cli="b") == first
    assert version(losses="b") != first
    assert pytest.approx(len(first)) == 32


def test_a_function_of_a_notebook_counts_by_its_own_source(monkeypatch):
    notebook = types.ModuleType("notebook")  # has no file
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    versions = []
    for number in (1, 2, 2):
        lines = [f"def model(config, outputs): return {number}\n"]
        file = f"<cell {number}>"
        linecache.cache[file] = (len(lines[0]), None, lines, file)
        exec(compile(lines[0], file, "exec"), notebook.__dict__)
        versions.append(code_version(config("model.name=notebook:model")))
    assert versions[0] != versions[1] == versions[2]
