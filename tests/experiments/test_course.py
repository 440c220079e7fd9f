"""The course notebook: kept without outputs, each section with an exercise, and it runs."""

import ast
import os
import re
import resource
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

COURSE = Path(__file__).parents[2] / "experiments" / "course.ipynb"
TEXT = COURSE.read_text(encoding="utf-8")
NOTEBOOK = nbformat.reads(TEXT, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
NEEDED = {"vocjax", "jax", "flax", "optax", "numpy", "matplotlib", "IPython"}
SECTIONS, CPU_SECONDS = 12, 600


def sections():
    """The cells of each section, its title first."""
    found = []
    for cell in NOTEBOOK.cells:
        if re.match(r"## \d+\. ", cell.source):
            found.append([])
        if cell.source.startswith("## Where to go"):
            break
        if found:
            found[-1].append(cell)
    return found


def test_git_has_no_outputs_and_the_file_as_jupyter_writes_it():
    nbformat.validate(NOTEBOOK)
    # Otherwise who opens and saves it would change every line.
    assert nbformat.writes(NOTEBOOK) + "\n" == TEXT
    assert all(not cell.outputs and cell.execution_count is None for cell in CODE)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", cell.id) for cell in NOTEBOOK.cells)
    assert set(NOTEBOOK.metadata) == {"kernelspec", "language_info"}


def test_each_section_ends_in_an_exercise_with_a_hidden_answer_that_is_run():
    assert len(sections()) == SECTIONS
    for *_, exercise, answer in sections():
        assert exercise.source.startswith("**Exercise.** ")
        assert answer.cell_type == "code" and answer.metadata["jupyter"]["source_hidden"]
    hidden = [cell for cell in CODE if "jupyter" in cell.metadata]
    assert hidden == [answer for *_, answer in sections()]


def test_it_needs_what_an_installed_vocjax_has():
    for cell in CODE:
        plain = "\n".join(line for line in cell.source.splitlines() if line != "%matplotlib inline")
        for node in ast.walk(ast.parse(plain)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= NEEDED | sys.stdlib_module_names


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_in_ten_minutes_of_cpu(tmp_path):
    """In a Jupyter kernel: its running event loop is what a plain `exec` would not have."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(NOTEBOOK.copy(), timeout=900, kernel_name="python3", resources=place)
    # The tests' own flags make programs fast to compile and slow to run; here the runs are longer.
    ran = client.execute(env={k: value for k, value in os.environ.items() if k != "XLA_FLAGS"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < CPU_SECONDS
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    drawn = {
        cell.id.split("-")[0]
        for cell in ran.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    }
    assert {cells[0].id for cells in sections()} <= drawn
