"""Plans from the command line: repeated, looked at before, copied, trained again, and failing."""

import json
import shutil

import pytest

from vocjax import cli, runner
from vocjax.evaluate import evaluate
from vocjax.runs import fingerprint

PLAN = """
from vocjax.runner import Experiment


def plan(options):
    small = ("data.size=8", "model.components=2", f"data.data_dir={options.data_dir}")
    linear = (*small, "epochs=2", "batch_size=4", "optimizer.name=adam")
    linear += ("evaluate_every_epochs=1",)
    further = f"init_from={options.workdir / 'linear'}"
    return [
        Experiment("pca", "pca", ("name=Principal", *small)),
        Experiment("linear", "linear_autoencoder", linear),
        Experiment("further", "linear_autoencoder", (*linear, further, "epochs=1")),
    ]
"""


@pytest.fixture(scope="module", autouse=True)
def reports():
    """Lists of the directories that reports are of, then those that failed; writing takes long."""
    written = []

    def write_report(directories, output, without_pictures, failed):
        written.append([path.name for path in (*directories, *without_pictures)] + [*failed])
        output.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "write_report", write_report)
        yield written


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.py"
    path.write_text(PLAN)
    return path


@pytest.fixture
def call(plan, toy_dir, capsys):
    """`call(workdir, *arguments)` is (exit code, stdout, stderr) of `vocjax experiments run`."""

    def call(workdir, *arguments, plan=plan):
        capsys.readouterr()
        line = ["experiments", "run", plan, "--workdir", workdir, "--data_dir", toy_dir, *arguments]
        return cli.main([str(part) for part in line]), *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def made(plan, toy_dir, tmp_path_factory):
    """A folder of the plan's finished runs; to be read, not written."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    line = ["experiments", "run", plan, "--workdir", folder, "--data_dir", toy_dir]
    assert cli.main([str(part) for part in line]) == 0
    return folder


@pytest.fixture
def mine(made, tmp_path):
    """A copy of `made`, which was made in that place."""
    folder = tmp_path / "runs"
    shutil.copytree(made, folder)
    for file in folder.glob("*/config.json"):
        file.write_text(file.read_text().replace(str(made), str(folder)))
    return folder


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(runner, "train_group", refuse)


@pytest.fixture
def other_code(monkeypatch):
    monkeypatch.setattr(fingerprint, "_package", lambda: b"other")


def read(path):
    return json.loads(path.read_text())


def states(out):
    """Return {directory: the rest of its line} of a table of what would run."""
    lines = out.partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: " ".join(line.split()[2:]) for line in lines}


def test_a_dry_run_says_what_is_done_and_what_is_to_do(mine, call, tmp_path):
    shutil.rmtree(mine / "pca")
    (mine / "linear/results.json").unlink()
    lines = (mine / "linear/metrics.jsonl").read_text().splitlines()
    (mine / "linear/metrics.jsonl").write_text(lines[0] + "\n")
    before = sorted(mine.rglob("*"))
    code, out, _ = call(mine, "--dry-run")
    found = states(out)
    assert code == 0 and sorted(mine.rglob("*")) == before
    assert list(found) == ["pca", "linear", "further"]
    assert found["pca"].startswith("to do ")
    assert found["linear"].startswith("to continue after epoch 1 of 2 about ")
    assert found["further"] == "done"
    assert "to be trained: 2 of 3 runs, about " in out


def test_times_come_from_runs_of_the_same_config(mine, call, tmp_path):
    for name, seconds in (("pca", 7), ("linear", 600), ("further", 3600)):
        results = mine / name / "results.json"
        results.write_text(json.dumps(read(results) | {"seconds": seconds}))
    # Another seed is another run, which takes as long.
    seen = ("--dry-run", "--reuse", mine, "--config.seed=7")
    code, out, _ = call(tmp_path / "new", *seen)
    assert code == 0
    assert states(out) == {
        "pca": "to do about 7 s",
        "linear": "to do about 10 min",
        "further": "to do about 60 min",
    }
    assert "to be trained: 3 of 3 runs, about 70 min" in out
    assert not (tmp_path / "new").exists()


def test_equal_runs_are_copied_and_not_trained(mine, call, tmp_path, no_training):
    new = tmp_path / "elsewhere" / "new"
    code, out, _ = call(new, "--dry-run", "--reuse", mine.parent)
    assert code == 0 and states(out)["linear"] == f"to be copied from {mine / 'linear'}"
    assert "to be trained: 0 of 3 runs" in out and not new.exists()
    code, _, err = call(new, "--reuse", mine.parent, "--config.name=Other")
    assert code == 0
    assert f"linear: copied from {mine / 'linear'}, an equal run" in err
    assert {path.name for path in new.iterdir()} == {"pca", "linear", "further", "report.html"}
    shutil.rmtree(mine)
    for name in ("pca", "linear", "further"):
        assert read(new / name / "config.json")["name"] == "Other"
        assert read(new / name / "run.json")["reused"] == str(mine / name)
    results = read(new / "further/results.json")
    found = evaluate(new / "further", "val", "last")["metrics"]
    assert found["mse"] == pytest.approx(results["val"]["mse"], rel=1e-5)
    assert "done" in set(states(call(new, "--dry-run", "--config.name=Other")[1]).values())


def test_runs_of_other_code_stay_and_are_told(mine, call, no_training, other_code, tmp_path):
    for arguments in (["--dry-run"], []):
        code, _, err = call(mine, *arguments)
        assert code == 0
        assert "pca, linear, further: not trained again, though other code made it (commit " in err
        assert "deletes what is there: --again pca linear further" in err
    code, _, err = call(tmp_path / "new", "--dry-run", "--reuse", mine / "none")
    assert code == 1 and f"--reuse is {mine / 'none'}, which is no folder" in err
    code, out, _ = call(tmp_path / "new", "--dry-run", "--reuse", mine)
    assert set(states(out)) == {"pca", "linear", "further"}
    assert all(state.startswith("to do") for state in states(out).values())


def test_what_is_trained_again_makes_what_began_from_it_differ(mine, call, other_code):
    """And the same command, given once more, trains nothing."""
    before = {name: read(mine / name / "run.json") for name in ("pca", "linear", "further")}
    for _ in range(2):
        code, _, err = call(mine, "--again", "linear", "--only", "linear", "further")
        assert code == 0
        assert "further: not trained again, though other code made it" in err
        assert "linear: not trained again" not in err
    after = {name: read(mine / name / "run.json") for name in before}
    assert after["pca"] == before["pca"] and after["further"] == before["further"]
    assert after["linear"]["code"] != before["linear"]["code"]
    assert len(after["linear"]["starts"]) == 1
    made = after["further"] | {"starts": after["linear"]["starts"]}
    (mine / "further/run.json").write_text(json.dumps(made))
    _, _, err = call(mine, "--dry-run", "--only", "linear", "further")
    assert "further: not trained again, though linear, from which it began, is another now" in err


def test_a_run_of_another_config_is_told_before_anything_trains(mine, call, no_training):
    code, out, err = call(mine, "--config.epochs=1", "--only", "linear")
    assert (code, out) == (1, "")
    assert "linear: " in err and "epochs=2, which can't become 1" in err
    assert "which deletes what is there: --again linear" in err
    code, out, _ = call(
        mine, "--config.epochs=1", "--only", "linear", "--again", "linear", "--dry-run"
    )
    assert code == 0 and states(out)["linear"].startswith("to do again, in the place of ")


def test_seeds_repeat_runs_and_the_table_has_their_range(call, tmp_path):
    code, out, err = call(tmp_path / "runs", "--seeds", "0,3", "--only", "linear", "further_3")
    assert code == 0
    runs = ["linear_0", "linear_3", "further_3"]
    configs = {name: read(tmp_path / "runs" / name / "config.json") for name in runs}
    assert {path.parent.name for path in tmp_path.glob("runs/*/config.json")} == set(runs)
    assert [config["seed"] for config in configs.values()] == [0, 3, 3]
    assert configs["further_3"]["init_from"] == str(tmp_path / "runs/linear_3")
    values = [read(tmp_path / "runs" / name / "results.json") for name in runs[:2]]
    train, val = ([run[split]["mse"] for run in values] for split in ("train", "val"))
    expected = f"{sum(train) / 2:.4f} / {sum(val) / 2:.4f} [{min(val):.4f}, {max(val):.4f}]"
    assert "linear, 2 seeds" in out and expected in out
    assert "run 2 of 3: linear_3; about " in err and "run 3 of 3: further_3 done after " in err
    code, _, err = call(tmp_path / "runs", "--seeds", "2", "--config.seed=1")
    assert code == 1 and "--seeds gives each run its seed" in err


def test_a_run_that_fails_stops_only_what_begins_from_it(plan, call, reports, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(PLAN.replace("linear)", '(*linear, "optimizer.learning_rate=1e38"))'))
    code, out, err = call(tmp_path / "runs", plan=broken)
    assert code == 1
    told = err.splitlines()[-2:]
    assert told[0].startswith("vocjax: linear: the loss is ") and "lower optimizer" in told[0]
    assert (
        told[1] == "vocjax: further: skipped, because it begins from linear, which is not finished."
    )
    assert "run 2 of 3: linear failed after " in err
    assert "pca" in out and reports[-1] == ["pca", "linear", "further"]
    assert not (tmp_path / "runs/further").exists()
    _, _, err = call(tmp_path / "runs", "--dry-run", plan=broken)
    assert "linear: continued, though it diverged there. To train from the beginning" in err
    _, out, err = call(tmp_path / "runs", "--dry-run", "--again", "linear", plan=broken)
    assert states(out)["linear"].startswith("to do again") and "diverged" not in err


def test_an_error_of_a_library_is_a_failure_too(made, call, monkeypatch, tmp_path):
    def full(config, *_, **__):
        raise MemoryError("out of memory")

    monkeypatch.setattr(runner, "train_group", full)
    code, out, err = call(tmp_path / "runs", "--only", "pca", "linear")
    assert (code, out) == (1, "")
    assert err.splitlines()[-2:] == [
        "vocjax: pca: MemoryError: out of memory",
        "vocjax: linear: MemoryError: out of memory",
    ]
    assert err.count("Traceback") == 2 and not (tmp_path / "runs").exists()
