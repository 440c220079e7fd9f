"""Run directories read back, whole, half-written and broken."""

import pytest
from written import write_run

from vocjax.errors import UserError
from vocjax.runs import reader


def test_a_folder_of_runs_is_read_by_start_and_no_run_twice(tmp_path):
    for name, started in (("a", "2026-01-03"), ("b", "2026-01-01"), ("c", "2026-01-02")):
        write_run(tmp_path / name, run={"started": started})
    (tmp_path / "notes").mkdir()
    found = reader.read_runs([tmp_path / "c", tmp_path])
    assert [run.name for run in found] == ["c", "b", "a"]


def test_a_resumed_epoch_counts_once_and_half_a_last_line_not_at_all(tmp_path):
    directory = write_run(tmp_path / "run")
    lines = ['{"epoch": 2, "step": 1}', '{"epoch": 1}', '{"epoch": 2, "step": 2}', '{"epo']
    (directory / "metrics.jsonl").write_text("\n".join(lines))
    assert reader.read_run(directory).epochs == [{"epoch": 1}, {"epoch": 2, "step": 2}]


@pytest.mark.parametrize("kind", ["empty", "missing", "file"])
def test_what_is_no_run_is_named(tmp_path, kind):
    path = tmp_path / kind
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("")
    with pytest.raises(UserError, match=rf"{path} .*(no run|does not exist|is a file)"):
        reader.read_runs([write_run(tmp_path / "run"), path])


def test_no_directory_at_all_is_refused():
    with pytest.raises(UserError, match="No run directory given"):
        reader.read_runs([])


def test_another_task_is_refused(tmp_path):
    directory = write_run(tmp_path / "run", config={"task": "detection"})
    with pytest.raises(UserError, match="task is 'detection', expected one of reconstruction"):
        reader.read_runs([directory])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("run.json", "[]"),
        ("results.json", ""),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n'),
        ("samples.npz", "PK"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content):
    directory = write_run(tmp_path / "run")
    (directory / name).write_text(content)
    with pytest.raises(UserError, match=f"{directory / name} can't be read"):
        reader.read_runs([directory])
