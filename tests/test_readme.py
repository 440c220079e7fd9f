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


def tables_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "experiments" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# How many tables each data set of a study has.
TABLES = {
    "representation": 1,
    "ladder_reconstruction": 1,
    "classification": 2,
    "ladder_classification": 1,
    "segmentation": 2,
    "ladder_segmentation": 1,
}


def test_tables_are_those_of_the_kept_results():
    module = tables_module()
    tables = module.tables()
    expected = sum(len(module.read_kept(study)) * n for study, n in TABLES.items())
    expected += bool(module.read_backbones())
    assert len(tables) == expected + 2  # the study's, and the family of variants
    for table in tables:
        assert table.count("\n") > 3
        assert table in README


def test_kept_results_say_how_they_were_made():
    module = tables_module()
    kept = [runs for study in ("study", *TABLES) for runs in module.read_kept(study).values()]
    for run in itertools.chain(*kept):
        made = run.provenance
        assert re.fullmatch("[0-9a-f]{40}", made["commit"]) and made["dirty"] is False
        assert made["versions"]["jax"] and made["device"]["kind"] and made["command"]
        assert made["seed"] == run.config["seed"]
        assert len(made["dataset"]["fingerprint"]) == 64


def test_kept_figures_of_backbones_are_complete_and_say_how_they_were_made():
    """Or there is no such file yet."""
    for record in tables_module().read_backbones():
        for what, found in record.items():
            if what not in ("backbone", "pixels"):
                assert found is not None, f"{record['backbone']}: {what} is not measured"
                made = found["provenance"]
                assert re.fullmatch("[0-9a-f]{40}", made["commit"]) and made["dirty"] is False
                assert made["versions"]["jax"] and made["device"]["kind"] and made["command"]
            if what in ("torchvision", "keras"):
                assert found["error"] < 1e-4 and found["version"]


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
