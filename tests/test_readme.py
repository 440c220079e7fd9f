"""The documents' tables and the Python of the READMEs are those of the tree."""

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import vocjax.config
from experiments.tables.__main__ import DOCUMENTS, PLACE, filled, tables
from experiments.tables.kept import RESULTS, read_kept, read_records
from vocjax.config import flat, load_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FIELDS = (ROOT / "configs/README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README + FIELDS, re.DOTALL)
# A block whose first line is "# NAME.py" is a file that the other blocks use.
FILES = {found[1]: block for block in BLOCKS if (found := re.match(r"# (\w+\.py)\n", block))}


def test_tables_are_those_of_the_kept_results():
    found, texts = tables(), [path.read_text() for path in DOCUMENTS]
    for text in texts:
        assert filled(text, found) == text
    assert set(found) == {name for text in texts for name in PLACE.findall(text)}
    rows = {name: text.count("\n") for name, text in found.items()}
    assert rows.pop("reliability") == 0  # a line
    assert all(count >= 3 for count in rows.values())


def test_kept_results_say_how_they_were_made():
    studies = {path.stem.split("_toy")[0].split("_voc")[0] for path in RESULTS.glob("*_*.json")}
    kept = [runs for study in studies for runs in read_kept(study).values()]
    for run in itertools.chain(*kept):
        made = run.provenance
        assert re.fullmatch("[0-9a-f]{40}", made["commit"]) and made["dirty"] is False
        assert made["versions"]["jax"] and made["device"]["kind"] and made["command"]
        assert made["seed"] == run.config["seed"]
        assert len(made["dataset"]["fingerprint"]) == 64


def test_kept_figures_of_backbones_are_complete_and_say_how_they_were_made():
    """Or there is no such file yet."""
    for record in read_records("backbones"):
        for what, found in record.items():
            if what not in ("backbone", "pixels"):
                assert found is not None, f"{record['backbone']}: {what} is not measured"
                made = found["provenance"]
                assert re.fullmatch("[0-9a-f]{40}", made["commit"]) and made["dirty"] is False
                assert made["versions"]["jax"] and made["device"]["kind"] and made["command"]
            if what in ("torchvision", "keras"):
                assert found["error"] < 1e-4 and found["version"]


@pytest.fixture
def folder_of_a_reader(tiny_config, tmp_path, monkeypatch):
    """A working directory with the README's files, in which configs load small."""

    def load(name: str, overrides: tuple[str, ...] = ()):
        assert (ROOT / "configs" / f"{name}.py").is_file()
        config = tiny_config(name, epochs=1, **{"data.size": 64})
        for override in overrides:
            field, value = override.removeprefix("--config.").split("=")
            config.update_from_flattened_dict({field: value})
        return config

    for name, block in FILES.items():
        (tmp_path / name).write_text(block)
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(vocjax.config, "load_config", load)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", [block for block in BLOCKS if block not in FILES.values()])
def test_python_of_the_readme_runs(block, folder_of_a_reader):
    scope: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), scope)
    assert scope["results"]["val"]["loss"] > 0
    assert next((folder_of_a_reader / "runs").glob("*/results.json"))


def test_every_field_of_the_shipped_configs_has_a_line():
    rows = "\n".join(line for line in FIELDS.splitlines() if line.startswith("| "))
    known = set(re.findall(r"`([\w.]+)`", rows))
    shipped = map(load_config, vocjax.config.shipped("configs"))
    fields = {field for config in shipped for field in flat(config.to_dict())}
    ends = {field: field.split(".") for field in fields}
    assert [
        f for f, (*_, last) in ends.items() if not {f, last, ".".join(ends[f][-2:])} & known
    ] == []


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200
