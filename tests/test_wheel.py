"""The wheel, built as an index gets it and used from another folder, has all it takes."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("vocjax", "configs", "experiments")
BUILD = """
import sys
from setuptools import build_meta

what, dist = sys.argv[1:]
print(getattr(build_meta, f"build_{what}")(dist))
"""
# Each line of the command line, with its exit code; and no file of the checkout is opened.
USE = """
import json, sys

lines, checkout = json.loads(sys.argv[1])
opened = []
sys.addaudithook(lambda event, found: event == "open" and opened.append(str(found[0])))
from vocjax import cli

for code, line in lines:
    assert cli.main(line.split()) == code, line
assert opened
assert [path for path in opened if path.startswith(tuple(checkout))] == []
"""
PLAN = """
from vocjax.runner import Experiment


def plan(options):
    small = ("data.size=8", "model.components=2")
    return [Experiment("shipped", "pca", small), Experiment("mine", "mine.py", small)]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the unpacked wheel, which was made from an unpacked sdist."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)

    def build(what, home):
        arguments = [sys.executable, "-c", BUILD, what, str(dist)]
        made = subprocess.run(arguments, cwd=home, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        return dist / made.stdout.splitlines()[-1]

    shutil.unpack_archive(build("sdist", source), dist / "unpacked", filter="data")
    wheel = build("wheel", next((dist / "unpacked").iterdir()))
    zipfile.ZipFile(wheel).extractall(dist / "site")
    return dist / "site"


@pytest.fixture
def use(site, toy_dir, child_environment, monkeypatch, tmp_path):
    """`use((exit code, line), ...)` calls `vocjax` in another folder; returns (stdout, stderr)."""
    (tmp_path / "data").symlink_to(toy_dir)
    monkeypatch.chdir(tmp_path)

    def call(*lines):
        told = json.dumps([lines, [f"{ROOT / name}/" for name in (*FOLDERS, "tests")]])
        process = subprocess.run(
            [sys.executable, "-P", "-c", USE, told],
            env=child_environment(PYTHONPATH=str(site)),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout, process.stderr

    return call


def files(folder, *patterns):
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_wheel_has_what_the_tree_has(site):
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"vocjax"}
    wheel = files(site / "vocjax", "**/*")
    tree = files(ROOT / "vocjax", "**/*.py", "**/*.html", "**/*.css", "**/*.js", "**/*.json")
    for folder in ("configs", "experiments"):
        within = files(ROOT / folder, "*.py", "*.md")
        tree |= {f"{folder}/{name}": content for name, content in within.items()}
    assert wheel == tree


def test_configs_and_experiments_run_from_another_folder(use, tmp_path):
    (tmp_path / "plan.py").write_text(PLAN)
    small = "--config.data.size=8 --config.model.components=2"
    out, err = use(
        (0, "configs"),
        (0, "experiments"),
        (0, "configs copy pca --output mine.py"),
        (1, "configs copy pca --output mine.py"),
        (1, "configs copy pca --output mine"),
        (0, "experiments copy study"),
        (0, f"train --config pca --workdir named {small}"),
        (0, f"train --config configs/pca.py --workdir path {small}"),
        (0, f"train --config mine.py --workdir mine {small}"),
        (1, "train --config pcaa --workdir wrong"),
        (0, "experiments run plan.py --workdir runs"),
        (1, "experiments run collect --workdir wrong"),
        (1, "experiments run mine.py --workdir wrong"),
        (1, "experiments run study --workdir wrong --config.epoch=3"),
    )
    assert re.search(r"\npca +Task 1: linear PCA, in closed form\.\n", out)
    assert re.search(r"\nstudy +The whole study in one go", out)
    assert "mine.py: edit it, then `vocjax train --config mine.py --workdir runs/mine`" in out
    told = [line for line in err.splitlines() if line.startswith("vocjax: ")]
    for line, part in zip(
        told,
        (
            "mine.py exists already; give a new file by --output",
            "mine does not end with .py;",
            "there is no configs/pca.py here; pca, which comes with vocjax, is used",
            "Did you mean 'pca'? `vocjax configs` lists",
            "there is no experiment file collect, and none of this name comes with vocjax.",
            "mine.py plans nothing: it must define plan(options)",
            "pca: an override names an unknown field",
        ),
        strict=True,
    ):
        assert part in line
    assert "Traceback" not in err
    assert (tmp_path / "mine.py").read_text() == (ROOT / "configs/pca.py").read_text()
    results = [
        json.loads((tmp_path / run / "results.json").read_text())["val"]
        for run in ("named", "path", "mine", "runs/shipped", "runs/mine")
    ]
    assert all(result == results[0] for result in results)
    assert (tmp_path / "runs/report.html").exists()
    assert not (tmp_path / "wrong").exists()
