"""The README's table and its Python are those of the tree."""

import importlib.util
import itertools
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vocjax.configuration

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def collect() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect", ROOT / "experiments" / "collect.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_kept_results():
    module = collect()
    tables = module.tables()
    # One of the study; of each data set one of task 1 and two of task 2; the family; the ladders.
    representation, classification = (
        len(module.read_kept(study)) for study in ("representation", "classification")
    )
    ladders = sum(len(module.read_kept(study)) for study in ("transform", "tuning"))
    assert len(tables) == 1 + representation + 2 * classification + 1 + ladders
    for table in tables:
        assert table.count("\n") > 5
        assert table in README


def test_kept_results_say_how_they_were_made():
    module = collect()
    studies = ("study", "representation", "transform", "classification", "tuning")
    kept = [runs for study in studies for runs in module.read_kept(study).values()]
    for run in itertools.chain(*kept):
        made = run.provenance
        assert re.fullmatch("[0-9a-f]{40}", made["commit"]) and made["dirty"] is False
        assert made["versions"]["jax"] and made["device"]["kind"] and made["command"]
        assert made["seed"] == run.config["seed"]
        assert len(made["dataset"]["fingerprint"]) == 64


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_readme_runs(block, tiny_config, tmp_path, monkeypatch):
    def load(path: Path, overrides: tuple[str, ...] = ()):
        assert (ROOT / path).is_file()
        return tiny_config(path.stem, epochs=1, **{"data.size": 64})

    monkeypatch.setattr(vocjax.configuration, "load_config", load)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), scope)
    assert scope["results"]["val"]["loss"] > 0
    assert next((tmp_path / "runs").iterdir()).joinpath("results.json").is_file()
