"""Run directories read back, whole, half-written and broken."""

import json
import math
from pathlib import Path

import pytest

from vocjax.errors import UserError
from vocjax.files import write_json
from vocjax.runs import reader
from vocjax.runs.reader import Run


def write_run(directory, task="reconstruction", started="2026-01-01"):
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"task": task}))
    (directory / "run.json").write_text(json.dumps({"started": started}))
    return directory


def test_a_folder_of_runs_is_read_by_start_and_no_run_twice(tmp_path):
    for name, started in (("a", "2026-01-03"), ("b", "2026-01-01"), ("c", "2026-01-02")):
        write_run(tmp_path / name, started=started)
    (tmp_path / "notes").mkdir()
    found = reader.read_runs([tmp_path / "c", tmp_path])
    assert [run.name for run in found] == ["c", "b", "a"]


def test_a_resumed_epoch_counts_once_and_half_a_last_line_not_at_all(tmp_path):
    directory = write_run(tmp_path / "run")
    lines = ['{"epoch": 2, "step": 1}', '{"epoch": 1}', '{"epoch": 2, "step": 2}', '{"epo']
    (directory / "metrics.jsonl").write_text("\n".join(lines))
    assert reader.read_run(directory).epochs == [{"epoch": 1}, {"epoch": 2, "step": 2}]


def test_what_is_no_run_is_named(tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, words in (
        ("empty", "is no run"),
        ("absent", "does not exist"),
        ("file", "is a file"),
    ):
        with pytest.raises(UserError, match=f"{tmp_path / name} {words}"):
            reader.read_runs([run, tmp_path / name])
    with pytest.raises(UserError, match="No run directory given"):
        reader.read_runs([])


def test_an_unknown_task_is_refused(tmp_path):
    directory = write_run(tmp_path / "run", task="detection")
    with pytest.raises(UserError, match=r"config\.json is 'detection'; it is one of"):
        reader.read_run(directory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("run.json", "[]"),
        ("results.json", ""),
        ("results.json", '{"epoch": 1, "step": 2, "seconds": {}}'),
        ("results.json", '{"epoch": true, "step": 2, "seconds": 1}'),
        ("results.json", '{"epoch": 1, "step": 2, "val": [1]}'),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n'),
        ("metrics.jsonl", '{"epoch": [1]}\n{"epoch": 2}\n'),
        ("metrics.jsonl", '{"epoch": "a"}\n{"epoch": 2}\n'),
        ("run.json", '{"a":' * 900 + "1" + "}" * 900),
        ("samples.npz", "PK"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content):
    directory = write_run(tmp_path / "run")
    (directory / name).write_text(content)
    with pytest.raises(UserError, match=f"{directory / name} can't be read"):
        reader.read_run(directory)


def test_a_config_has_no_images_that_no_file_can_have(tmp_path):
    (tmp_path / "config.json").write_text('{"data": {"size": 60000}}')
    with pytest.raises(UserError, match=r"is damaged: its images have 60000 x 60000 pixels\."):
        reader.read_config(tmp_path)


def run(number, seed=0, mse=0.0, **config):
    results = {split: {"mse": mse} for split in ("train", "val")}
    return Run(Path(str(number)), {"seed": seed, "data": {}, **config}, {}, [], results, {})


def test_a_baseline_is_found_without_its_size():
    values = {"val": {"mse": 0.5}}
    found = run(0)
    found.results["baselines"] = {"mean image": {}, "PCA, at most 3 components": values}
    assert found.baseline("PCA") == values
    assert found.baseline("DCT") == {}


def test_a_number_that_json_cannot_say_is_absent_also_in_older_files(tmp_path):
    write_json(tmp_path / "new.json", {"val": {"mse": 1, "psnr": math.inf}, "of": [math.nan, (2,)]})
    (tmp_path / "old.json").write_text('{"val": {"mse": 1, "psnr": Infinity}, "of": [NaN, [2]]}')
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "val": {"loss": NaN, "mse": 2}}\n')
    for name in ("new.json", "old.json"):
        assert reader.read_json(tmp_path / name) == {"val": {"mse": 1}, "of": [None, [2]]}
    assert "NaN" not in (tmp_path / "new.json").read_text()
    assert reader.read_epochs(tmp_path) == [{"epoch": 1, "val": {"mse": 2}}]
