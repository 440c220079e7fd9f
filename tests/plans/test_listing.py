"""The table of runs and the differences of two, from the command line."""

import json
import os
import shutil
import socket

import pytest

from vocjax import cli
from vocjax.files import write_json
from vocjax.plans import listing


@pytest.fixture(scope="module")
def runs(finished_run, tmp_path_factory):
    """Copies of a run with other seeds and values, an unfinished one, and broken ones."""
    home, whole = tmp_path_factory.mktemp("runs"), finished_run("linear_autoencoder")
    for seed, value in ((0, 0.3), (1, 0.1), (2, 0.2)):
        shutil.copytree(whole, home / f"run_{seed}")
        change(home / f"run_{seed}/config.json", seed=seed)
        change(home / f"run_{seed}/results.json", val={"mse": value, "psnr": 10 - value})
    config = json.loads((home / "run_2/config.json").read_text())
    change(home / "run_2/config.json", optimizer=config["optimizer"] | {"clip_norm": 0.5})
    (home / "run_2/results.json").unlink()
    with (home / "run_2/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "st')  # killed within a line
    for name, file, text in (
        ("damaged", "config.json", "{"),
        ("cut", "results.json", '{"val": '),
        ("begun", "config.json.part", ""),
    ):
        shutil.copytree(whole, home / name)
        if name == "begun":
            (home / name / "config.json").unlink()
        (home / name / file).write_text(text)
    return home


def change(path, **fields):
    write_json(path, json.loads(path.read_text()) | fields)


def told(capsys, *arguments):
    """(exit code, rows of stdout, stderr)."""
    capsys.readouterr()
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, [line.split("\t") for line in out.splitlines()], err


def test_runs_are_listed_and_broken_ones_are_named(runs, capsys):
    code, (head, *rows), err = told(capsys, "runs", runs)
    assert code == 0
    of = {row[0].rpartition("/")[2]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(of) == ["run_0", "run_1", "run_2"]
    assert [row["seed"] for row in of.values()] == ["0", "1", "2"]
    assert [row["state"] for row in of.values()] == ["finished"] * 2 + ["unfinished, epoch 2 of 2"]
    assert [row["differences"] for row in of.values()] == ["", "", "optimizer.clip_norm=0.5"]
    lines = (runs / "run_2/metrics.jsonl").read_text().splitlines()[:-1]
    losses = [json.loads(line)["val"]["loss"] for line in lines]
    assert float(of["run_2"]["best"]) == pytest.approx(min(losses), rel=1e-4)
    assert float(of["run_2"]["last"]) == pytest.approx(losses[-1], rel=1e-4)
    for name, reason in (
        ("damaged", "config.json is damaged"),
        ("cut", "results.json can't be read"),
        ("begun", "has no config.json, and so is no run, or not yet"),
    ):
        (line,) = (line for line in err.splitlines() if f"/{name}" in line)
        assert line.startswith("vocjax: ") and reason in line


@pytest.mark.parametrize(("metric", "order"), [("mse", "12 0"), ("psnr", "2 10")])
def test_runs_are_sorted_by_the_last_value(metric, order, runs, capsys):
    _, (head, *rows), _ = told(capsys, "runs", runs, "--sort", metric)
    assert {row[head.index("metric")] for row in rows} == {metric}
    values = [float(row[head.index("last")]) for row in rows]
    assert values == sorted(values, reverse=metric == "psnr")
    assert len(values) == 3


def test_a_run_that_is_trained_just_now(runs, tmp_path):
    shutil.copytree(runs / "run_2", tmp_path / "run")
    for pid, state in ((os.getpid(), "training, epoch 2 of 2"), (2**22 + 7, "unfinished, epoch")):
        write_json(tmp_path / "run/in_use.json", {"pid": pid, "host": socket.gethostname()})
        assert listing.read(tmp_path / "run").state.startswith(state)


def test_a_terminal_gets_columns_that_fit(runs, monkeypatch):
    found, _ = listing.find([runs])
    for width in (60, 300):
        monkeypatch.setenv("COLUMNS", f"{width}")
        head, *rows = listing.lines(listing.table(found), terminal=True).splitlines()
        assert head.startswith("\033[1mrun ") and len(rows) == 3
        assert all((len(row) == width) == (width == 60) for row in rows)
    assert "seed" in head and "differences" in head and "task" not in head


def test_how_two_runs_differ(runs, capsys):
    code, rows, err = told(capsys, "diff", runs / "run_0", runs / "run_2")
    assert (code, err) == (0, "")
    assert ["config", "seed", "0", "2"] in rows
    assert ["config", "optimizer.clip_norm", "0.0", "0.5"] in rows
    for part in ("code", "data", "versions"):
        assert [part, "the same"] in rows
    assert ["results", "state", "finished", "unfinished, epoch 2 of 2"] in rows
    (mse,) = (row for row in rows if row[1] == "val mse")
    assert float(mse[4]) == pytest.approx(float(mse[3]) - 0.3, rel=1e-3)
    change(runs / "run_1/run.json", versions={"jax": "0"}, dataset={"name": "toy"})
    _, rows, _ = told(capsys, "diff", runs / "run_0", runs / "run_1")
    assert [row[3] for row in rows if row[:2] == ["versions", "jax"]] == ["0"]
    assert [row[3] for row in rows if row[:2] == ["data", "fingerprint"]] == ["\N{EN DASH}"]
    parts = listing.differences(runs / "run_0", runs / "run_1")
    shown = listing.difference_lines(parts, [runs / "run_0", runs / "run_1"], terminal=True)
    assert "\033[1mcode\033[0m  the same" in shown


def test_exported_models_beside_the_runs_are_passed_over(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run("linear_autoencoder"), tmp_path / "ae")
    assert cli.main(["export", str(tmp_path / "ae"), "--format", "safetensors"]) == 0
    code, (_, *rows), err = told(capsys, "runs", tmp_path)
    assert (code, len(rows), err) == (0, 1, "")
    _, (_, *rows), err = told(capsys, "runs", tmp_path, tmp_path / "nowhere")
    assert (len(rows), err) == (1, f"vocjax: no run lies in {tmp_path / 'nowhere'} or below.\n")
    code, rows, err = told(capsys, "runs", tmp_path / "ae_safetensors")
    assert (code, rows) == (1, []) and "is an exported model" in err
