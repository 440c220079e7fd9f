"""Several experiments in one go: their order and fields, their report, and going on."""

import argparse
import json
import runpy
import signal
import sys
from pathlib import Path

import pytest

from vocjax import runner
from vocjax.config import to_json
from vocjax.errors import UserError
from vocjax.models.backbones.preprocessing import IDENTITY
from vocjax.pretrained import resolve
from vocjax.runner import Experiment, print_results
from vocjax.tasks import make_task
from vocjax.training import loop, validate
from vocjax.training.evaluation import measured_shapes
from vocjax.training.interrupts import Interrupted

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SMALL = ("data.size=8", "model.components=2")


@pytest.fixture(scope="module")
def experiments(toy_dir):
    data = f"data.data_dir={toy_dir}"
    linear = ("epochs=2", "batch_size=4", "optimizer.name=adam", "name=Linear", data, *SMALL)
    return [
        Experiment("second", "linear_autoencoder", linear),
        Experiment("first", "pca", ("name=Principal", data, *SMALL)),
        Experiment("third", "pca", ("name=Plain", "seed=5", data, *SMALL), pictured=False),
    ]


@pytest.fixture(scope="module")
def done(experiments, tmp_path_factory):
    """The folder of the whole campaign, and its results."""
    folder = tmp_path_factory.mktemp("campaign") / "new"
    return folder, run(experiments, folder)


def run(experiments, workdir, overrides=()):
    results, failed = runner.run(runner.prepare(experiments, workdir, overrides))
    assert not failed
    return results


def read(path):
    return json.loads(path.read_text())


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != "report.html"}


def test_every_experiment_has_its_directory_and_its_fields(done):
    folder, results = done
    assert list(results) == ["second", "first", "third"]
    for name, result in results.items():
        assert read(folder / name / "results.json") == result
        config = read(folder / name / "config.json")
        assert (config["data"]["size"], config["model"]["components"]) == (8, 2)
        assert config["seed"] == (5 if name == "third" else 0)


def test_the_report_draws_the_pictured_and_tells_of_all(done):
    page = (done[0] / "report.html").read_text(encoding="utf-8")
    for name, pictured in (("Linear", True), ("Principal", True), ("Plain", False)):
        assert (f'alt="{name}: Reconstructions"' in page) == pictured
        assert f"<h3>{name}</h3>" in page
    assert "3 runs" in page


def test_what_is_finished_is_left_alone_and_reported_again(done, experiments):
    folder, results = done
    (folder / "report.html").unlink()
    before = contents(folder)
    assert run(experiments, folder) == results
    assert contents(folder) == before
    assert (folder / "report.html").exists()


def test_overrides_hold_for_all_and_win_over_an_experiments_own(experiments, tmp_path):
    run(experiments[1:], tmp_path, ["--config.seed=3", "--config.model.components", "1"])
    configs = [read(tmp_path / name / "config.json") for name in ("first", "third")]
    assert [config["seed"] for config in configs] == [3, 3]
    assert [config["model"]["components"] for config in configs] == [1, 1]
    assert [config["name"] for config in configs] == ["Principal", "Plain"]


def test_a_mistake_of_the_last_is_told_before_the_first_begins(experiments, tmp_path):
    late = Experiment("late", "linear_autoencoder", ("optimizer.phases=((3, (('.*', 1.0),)),)",))
    with pytest.raises(UserError, match=r"late: optimizer.phases begin at the epochs 3"):
        run([*experiments, late], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_campaign_that_was_stopped_continues_in_its_order(done, experiments, signal_at, tmp_path):
    signal_at({4: (signal.SIGTERM,)})
    with pytest.raises(Interrupted, match="step 4 of 6 is saved"):
        run(experiments, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    assert not (tmp_path / "second" / "results.json").exists()
    again, (_, results) = run(experiments, tmp_path), done
    for name, result in results.items():
        assert again[name]["val"] == result["val"]
        assert again[name]["train"] == result["train"]


# The scripts that there are ----------------------------------------------------------------------


def described(origin):
    """What imported weights in weights/BACKBONE would say."""
    if origin.parent.name != "weights":
        return {}
    fields = (("variant", "gluon"),) if origin.name == "mobilenet_v2" else ()
    preprocessing = IDENTITY._asdict()
    return {
        "name": origin.name,
        "fields": fields,
        "preprocessing": preprocessing,
        "last": "",
        "stem": "imagenet",
    }


@pytest.fixture(scope="module")
def traced_once():
    """Networks are traced once for all configs that have the same, which takes most of a check."""
    tasks, measured = {}, {}

    def make_once(config):
        fields = json.loads(to_json(config))
        of_data = {k: fields["data"][k] for k in ("size", "channels", "classes", "image_set")}
        of_task = {k: fields[k] for k in ("task", "model", "loss", "precision", "epochs")}
        key = json.dumps([of_data, of_task])
        if key not in tasks:
            tasks[key] = make_task(config)
        return tasks[key]

    def measure_once(task, *shapes):
        if id(task) not in measured:
            measured[id(task)] = measured_shapes(task, *shapes)
        return measured[id(task)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "make_task", make_once)
        patch.setattr(validate, "measured_shapes", measure_once)
        yield


PLANS = sorted(p.stem for p in EXPERIMENTS.glob("*.py") if "\ndef plan(" in p.read_text())
LARGE = ("recipe", "representation", "transfer")


@pytest.mark.parametrize("dataset", ["toy", pytest.param("voc2009", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",  # many networks, and large ones, take long to trace
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in PLANS],
)
def test_plans_can_be_run(name, dataset, traced_once, monkeypatch):
    """Every config loads and fits together; what an override misspells would show after hours."""
    monkeypatch.setattr(resolve, "check_origin", lambda origin: None)
    monkeypatch.setattr(resolve, "described", described)
    # Class weights are counted on data that need not be there.
    monkeypatch.setattr(loop.voc, "load", lambda dataset, home: None)
    monkeypatch.setattr(loop, "with_class_weights", lambda config, source: config)
    plan = runpy.run_path(str(EXPERIMENTS / f"{name}.py"))["plan"]
    homes = {"data_dir": Path("all"), "objects_dir": Path("objects"), "workdir": Path("runs")}
    experiments = plan(argparse.Namespace(dataset=dataset, **homes))
    assert len({experiment.directory for experiment in experiments}) == len(experiments) > 1
    encoders = {}
    for experiment in experiments:
        config = runner.checked(experiment)
        assert config.data.dataset == dataset
        crops = config.data.image_set == "Main" and {*config.data.classes} <= {"aeroplane", "dog"}
        assert config.data.data_dir == ("objects" if crops else "all")
        encoders[experiment.directory] = config.model.get("encoder")
        origin = Path(config.init_from)
        if origin.parent == homes["workdir"]:  # planned before, and its encoder fits
            cut = slice(len(config.model.encoder))  # it can end before the other's last stage
            assert encoders[origin.name][cut] == config.model.encoder
        if experiment.beside:
            assert experiment.beside in encoders


# The command line of a script --------------------------------------------------------------------


@pytest.fixture
def script(monkeypatch, capsys):
    """`script(plan, *arguments)` is (exit code, stdout, stderr) of a script with a plan."""

    def run(plan, *arguments):
        monkeypatch.setattr(sys, "argv", ["experiments/mine.py", *map(str, arguments)])
        capsys.readouterr()
        try:
            code = runner.main("Mine.", plan)
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_a_script_runs_its_plan_and_prints_every_figure(experiments, script, tmp_path):
    code, out, _ = script(
        lambda options: experiments[1:2], "--workdir", tmp_path, "--config.model.components=1"
    )
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    results = read(tmp_path / "first" / "results.json")
    metrics = [name for name in results["val"] if name != "loss"]
    assert {"mse", "mae", "psnr"} < set(metrics)
    assert ["train", "/", "val", "first", "mean", "image"] in [row[:6] for row in rows]
    for metric in metrics:
        of_run, of_mean = (
            [f"{values[split][metric]:.4f}" for split in ("train", "val")]
            for values in (results, results["baselines"]["mean image"])
        )
        expected = [metric, of_run[0], "/", of_run[1], of_mean[0], "/", of_mean[1]]
        assert expected in [row[:7] for row in rows]
    assert rows[-1] == ["report:", str(tmp_path / "report.html")]
    assert read(tmp_path / "first" / "config.json")["model"]["components"] == 1


def test_what_stands_beside_the_study_is_printed_in_a_short_table(
    done, experiments, script, monkeypatch
):
    folder, results = done
    monkeypatch.setattr(
        runner, "run", lambda some: runner.Outcome({n: results[n] for n in some.experiments}, {})
    )
    planned = [experiments[1], experiments[2]._replace(beside="first")]
    code, out, _ = script(lambda _: planned, "--workdir", folder)
    assert code == 0
    row = next(line.split() for line in out.splitlines() if line.startswith("reconstruction"))
    assert row[-2:] == [f"{results[name]['val']['mse']:.4f}" for name in ("first", "third")]
    assert "reconstruction: mean image; Principal; Plain" in out
    assert "psnr" not in out
    # Without what it stands beside, all figures are printed.
    _, out, _ = script(lambda _: planned, "--workdir", folder, "--only", "third")
    assert "psnr" in out


def test_some_of_a_plan_can_be_run_alone(experiments, script, monkeypatch, tmp_path):
    ran = []
    nothing = runner.Outcome({}, {})
    monkeypatch.setattr(runner, "run", lambda some: ran.extend(some.experiments) or nothing)
    names = [experiment.directory for experiment in experiments]
    assert script(lambda _: experiments, "--workdir", tmp_path, "--only", names[-1])[0] == 0
    assert ran == names[-1:]
    code, _, err = script(lambda _: experiments, "--workdir", tmp_path, "--only", "frist")
    assert code == 1 and "--only is 'frist'; it is one of" in err and "Did you mean 'first'?" in err


def test_what_a_plan_can_not_be_is_told_before_anything_runs(experiments, script, tmp_path):
    with pytest.raises(UserError, match="several experiments of the directory 'first'; give each"):
        runner.prepare([*experiments, experiments[1]], tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file, which is a file; give a folder"):
        runner.prepare(experiments, tmp_path / "file")
    heir = Experiment("heir", "pca", (*SMALL, f"init_from={tmp_path / 'new' / 'second'}"))
    planned = [experiments[0], heir]
    code, _, err = script(lambda _: planned, "--workdir", tmp_path / "new", "--only", "heir")
    assert code == 1
    assert "heir begins from second, which --only leaves out, and" in err
    assert not (tmp_path / "new").exists()


def test_a_ladders_runs_have_all_that_those_before_them_have():
    steps = [("one", "a=1", "b=1"), ("two", "b=2"), ("three", "c=3")]
    runs = runner.ladder("pca", ("d=4",), steps)
    assert [run.directory for run in runs] == ["1", "2", "3"]
    assert {run.config for run in runs} == {"pca"}
    assert runs[0].overrides == ("name=one", "d=4", "a=1", "b=1")
    assert runs[2].overrides == ("name=three", "d=4", "a=1", "b=1", "b=2", "c=3")


def test_a_figure_that_only_validation_has_stands_alone(capsys):
    result = {
        "train": {"loss": 1.0},
        "val": {"loss": 2.0, "full": 0.5},
        "baselines": {"none": {"train": {}, "val": {}}},
    }
    print_results({"run": result}, {"run": "run"})
    assert capsys.readouterr().out.splitlines()[-1].split() == ["full", "/", "0.5000", "/"]


def test_a_plan_is_told_where_the_data_are(script, tmp_path):
    seen = []

    def plan(options):
        seen.append((options.dataset, str(options.data_dir), str(options.objects_dir)))
        raise UserError("enough.")

    for arguments in ([], ["--data_dir", "d"], ["--dataset", "voc2009", "--objects_dir", "o"]):
        code, out, err = script(plan, "--workdir", tmp_path / "w", *arguments)
        assert (code, out, err) == (1, "", "mine.py: enough.\n")
    assert seen == [("toy", "data", "data"), ("toy", "d", "d"), ("voc2009", "data", "o")]
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --workdir"),
        (["--workdir", "w", "--epochs=3"], "unknown argument '--epochs=3'; fields are set like"),
    ],
)
def test_flags_that_do_not_parse(arguments, message, script):
    code, out, err = script(lambda options: [], *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_script_that_is_stopped_says_so(experiments, script, signal_at, tmp_path):
    signal_at({3: (signal.SIGTERM,)})
    code, out, err = script(lambda options: experiments, "--workdir", tmp_path)
    assert (code, out) == (128 + signal.SIGTERM, "")
    assert err.splitlines()[-1].startswith("mine.py: stopped by signal; step 3 of ")
    assert "Traceback" not in err
