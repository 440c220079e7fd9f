"""The command line: every verb, and every mistake as one clear message and an exit code."""

import importlib.metadata
import json
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from vocjax import cli
from vocjax.explorer import explore

CONFIGS = Path(__file__).parents[1] / "configs"
VERBS = [["data", "prepare"], ["data", "info"], ["train"], ["evaluate"], ["predict"], ["report"]]
VERBS += [["runs"], ["diff"]]
VERBS += [["explore"], ["configs"], ["configs", "copy"], ["experiments"], ["experiments", "copy"]]
VERBS += [["experiments", "run"], ["weights", "import"], ["weights", "export"]]
TINY = {
    "data.size": "16",
    "batch_size": "8",
    "epochs": "1",
    "model.encoder": "(4,4,4)",
    "model.decoder": "(4,4)",
}


def overrides(toy_dir, **fields):
    values = TINY | {"data.data_dir": str(toy_dir)} | fields
    return [f"--config.{name}={value}" for name, value in values.items()]


def run(capsys, *arguments):
    """(exit code, stdout, stderr); flags that don't parse exit too."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def example_of(verb, capsys):
    code, out, err = run(capsys, *verb, "--help")
    assert (code, err) == (0, "")
    return out[out.index("example:") :].splitlines()[1].split()


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_shows_an_example(verb, capsys):
    example = example_of(verb, capsys)
    assert example[: 1 + len(verb)] == ["vocjax", *verb]
    parser = cli._parser()
    options, left = parser.parse_known_args(example[1:])  # and the example parses
    assert all(argument.startswith("--config.") for argument in left)
    assert callable(options.verb)


def test_examples_work_one_after_the_other_in_any_folder(toy_dir, capsys, monkeypatch, tmp_path):
    """All but those that need a file of weights, serve a page or take minutes."""
    (tmp_path / "data").symlink_to(toy_dir)
    monkeypatch.chdir(tmp_path)
    for verb in VERBS:
        if verb[0] not in ("explore", "weights") and verb != ["experiments", "run"]:
            small = overrides("data") if verb == ["train"] else []
            code, _, err = run(capsys, *example_of(verb, capsys)[1:], *small)
            assert code == 0, err
    for path in ("toy.png", "runs/ae", "predictions", "report.html", "autoencoder_256.py"):
        assert (tmp_path / path).exists()


def test_help_of_the_whole_names_the_verbs(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for verb in dict.fromkeys(verb[0] for verb in VERBS):
        assert re.search(rf"^    {verb}\s", out, re.MULTILINE)
    assert "prepare" in run(capsys, "data", "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["fly"], "invalid choice: 'fly'"),
        (["data"], "the following arguments are required: VERB"),
        (["data", "info"], "the following arguments are required: --dataset"),
        (["train", "--config", "c.py"], "the following arguments are required: --workdir"),
        (["train", "--workdir", "w"], "the following arguments are required: --config"),
        (
            ["train", "--config", "c.py", "--workdir", "w", "--epochs=3"],
            "unknown argument '--epochs=3'; fields are set like --config.epochs=3",
        ),
        (
            ["evaluate", "--workdir", "w", "--splits=val"],
            "unknown argument '--splits=val'; see `vocjax evaluate --help`",
        ),
        (["predict", "--workdir", "w", "--output", "o"], "arguments are required: IMAGE"),
        (["report", "w"], "the following arguments are required: --output"),
        (["explore"], "the following arguments are required: --workdir"),
        (["explore", "--workdir", "w", "--port", "http"], "--port: invalid int value: 'http'"),
        (
            ["data", "prepare", "--dataset", "a", "--held_out", "x"],
            "argument --held_out: invalid float value: 'x'",
        ),
    ],
)
def test_flags_that_do_not_parse(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--config.optimiser.name=adam"], 'Did you mean "optimizer" instead of "optimiser"?'),
        (["--config.epochs=few"], "flag --config.epochs=few: invalid literal"),
        (["epochs=3"], "'epochs=3' is no flag and no override"),
        (["--config.batch_size=0"], "batch_size is 0; it must be at least 1"),
        (["--config.task=dreaming"], "task is 'dreaming'; it is one of"),
        (["--config.data.size=17"], "data.size=17 can't be halved 2 times"),
        (["--config.data.dataset=voc2009"], "voc2009 isn't prepared in"),
        (["--config.data.classes=('unicorn',)"], "data.classes is 'unicorn'; it is one of"),
        (["--config.best.metric=beauty"], "'beauty'; it is one of loss, "),
        (["--config.init_from=nowhere"], "nowhere has neither imported weights"),
        (["--config.optimizer.learning_rate=-1"], "it must be a number above 0"),
        (["--profile", "20:10"], "--profile is '20:10'; it is two numbers of steps, the smaller"),
        (["--profile", "5"], "10:20 looks at the ten steps after step 10"),
        (["--profile", "0:5", "--sweep", "config.seed=0,1"], "--profile looks at one run, and"),
    ],
)
def test_mistake_in_a_config_leaves_nothing(extra, message, toy_dir, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = CONFIGS / "autoencoder_256.py"
    arguments = ["--config", config, "--workdir", "run", *overrides(toy_dir), *extra]
    code, out, err = run(capsys, "train", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("vocjax: ")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_missing_files_are_named(finished_run, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    finished = tmp_path / "finished"
    shutil.copytree(finished_run("linear_autoencoder"), finished)
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    for arguments, message in (
        (["train", "--config", "no.py", "--workdir", "w"], "there is no config file no.py"),
        (["train", "--config", "./no", "--workdir", "w"], "there is no config file ./no"),
        (["configs", "copy", "../../pca"], "there is no config file ../../pca"),
        (["configs", "copy", "pca", "--output", "/proc/x.py"], "/proc/x.py can't be written"),
        (["evaluate", "--workdir", "w"], "w holds no run (no config.json)"),
        (["evaluate", "--workdir", finished, "--split", "test"], "split is 'test'; it is one of"),
        (["evaluate", "--workdir", finished, "--checkpoint", "5"], "checkpoint is '5'; it is one"),
        (["predict", "--workdir", "w", "a.jpg", "--output", "empty"], "w holds no run"),
        (["report", "w", "--output", "r.html"], "w does not exist"),
        (["report", "empty", "--output", "r.html"], "empty is no run"),
        (["report", finished, "--without_pictures", "w", "--output", "r.html"], "w does not exist"),
        (["runs", "empty"], "no run lies in empty or below"),
        (["runs", finished, "--sort", "beauty"], "--sort is 'beauty'; it is one of loss, mae"),
        (["diff", finished, "empty"], "empty holds no run (no config.json)"),
        (["explore", "--workdir", "empty"], "empty holds no run (no config.json)"),
        (["data", "info", "--dataset", "Voc1999", "--data_dir", "d"], "the data set is 'Voc1999'"),
        (["data", "info", "--dataset", "voc2009", "--data_dir", "d"], "voc2009 isn't prepared"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, ""), arguments
        assert err.startswith("vocjax: ")
        assert message in err
        assert err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_report_without_some_pictures(finished_run, capsys, tmp_path):
    output = tmp_path / "report.html"
    drawn, plain = finished_run("pca"), finished_run("linear_autoencoder")
    capsys.readouterr()
    arguments = ["report", drawn, "--without_pictures", plain, "--output", output]
    assert run(capsys, *arguments) == (0, f"report: {output}\n", "")
    page = output.read_text(encoding="utf-8")
    assert 'alt="PCA: Reconstructions"' in page
    assert 'alt="Linear autoencoder: ' not in page
    assert "<h3>Linear autoencoder</h3>" in page  # how its numbers were made


def test_what_cannot_be_explored(finished_run, capsys, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(finished_run("pca"), unfinished)
    (unfinished / "samples.npz").unlink()
    pca, classifier = finished_run("pca"), finished_run("classifier_256")
    capsys.readouterr()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, message in (
            ([classifier], "is a run of classification, which has no decoder; give one of"),
            ([unfinished], "unfinished is not finished; continue its `vocjax train`"),
            ([pca, "--port", port], f"can't listen on port {port} of 127.0.0.1: it is in use"),
            ([pca, "--port", 70000], "the port is 70000; it must be at least 0 and less"),
            ([pca, "--host", "nowhere.invalid"], "the host 'nowhere.invalid' has no address"),
        ):
            code, out, err = run(capsys, "explore", "--workdir", *arguments)
            assert (code, out) == (1, ""), arguments
            assert err.startswith("vocjax: ")
            assert message in err
            assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_explorer_answers_until_it_is_stopped(number, finished_run, monkeypatch, capsys):
    workdir, answers = finished_run("linear_autoencoder"), []
    make = explore.make_server

    def ask(url):
        try:
            with urllib.request.urlopen(f"{url}space", timeout=20) as answer:
                answers.append(json.load(answer))
        finally:
            signal.pthread_kill(threading.main_thread().ident, number)

    def make_and_ask(*arguments, **named):
        server = make(*arguments, **named)
        threading.Thread(target=ask, args=(server.url,), daemon=True).start()
        return server

    monkeypatch.setattr(explore, "make_server", make_and_ask)
    capsys.readouterr()
    code, out, err = run(capsys, "explore", "--workdir", workdir, "--port", "0")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"explore at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)\n", out)
    (answer,) = answers
    assert (answer["title"], answer["numbers"]) == ("Linear autoencoder", 3)
    assert sum(answer["share"]) == pytest.approx(1)


def test_python_m_vocjax_trains_and_notes_what_was_typed(toy_dir, monkeypatch, capsys, tmp_path):
    (tmp_path / "data").symlink_to(toy_dir)
    shutil.copy(CONFIGS / "pca.py", tmp_path)
    typed = ["train", "--config", "pca.py", "--workdir", "run", "--config.data.size=8"]
    typed += ["--config.model.components", "2", "--config.data.classes=('dog','aeroplane')"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["-m", *typed])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("vocjax", run_name="__main__", alter_sys=True)
    assert stop.value.code == 0
    train, val, last = capsys.readouterr().out.splitlines()
    assert train.startswith("train loss ")
    assert val.startswith("val   loss ")
    assert last == "run directory: run"
    text = (tmp_path / "run" / "run.json").read_text()
    printed = json.loads(text)
    assert shlex.split(printed["command"]) == ["vocjax", *typed]
    here = Path(__file__).parents[1]
    for path in (tmp_path, toy_dir, here, sys.prefix, sys.base_prefix, Path.home()):
        assert str(path) not in text
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["components"] == 2
    assert config["data"]["classes"] == ["dog", "aeroplane"]
    # Another config in the same directory: the difference is shown.
    code, out, err = run(capsys, *typed, "--config.model.components", "3")
    assert (code, out) == (1, "")
    assert "\n  model.components: 2 -> 3\n" in err


def test_installed_command_is_the_same():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="vocjax")
    assert script.load() is cli.main


WHOLE_PATH = """
import functools, json, sys
from pathlib import Path
from vocjax import cli
from vocjax.data import toy

toy.write_devkit = functools.partial(toy.write_devkit, images=(6, 4), segmentation=(6, 4))
for arguments in json.loads(sys.argv[1]):
    assert cli.main(arguments) == 0, arguments
for path in Path("run/checkpoints").rglob("d/*"):  # the arrays of each checkpoint
    path.write_bytes(path.read_bytes()[:-100])
assert cli.main(["evaluate", "--workdir", "run"]) == 1
banned = ("tensorflow", "tensorboard", "clu")
print("BANNED", sorted(name for name in sys.modules if name.split(".")[0] in banned))
"""


def test_whole_path_without_tensorflow(child_environment, tmp_path):
    Image.new("RGB", (40, 30), (200, 60, 60)).save(tmp_path / "photo.png")
    config = ["--config", str(CONFIGS / "linear_autoencoder.py"), "--config.data.size=8"]
    small = ["--config.model.components=2", "--config.epochs=1", "--config.data.classes=()"]
    lines = [
        ["data", "prepare", "--dataset", "toy"],
        ["data", "info", "--dataset", "toy", "--figure", "toy.png"],
        ["train", *config, *small, "--config.optimizer.warmup_steps=0", "--workdir", "run"],
        ["evaluate", "--workdir", "run", "--checkpoint", "best"],
        ["predict", "--workdir", "run", "photo.png", "--output", "predicted"],
        ["report", "run", "--output", "report.html"],
    ]
    process = subprocess.run(
        [sys.executable, "-c", WHOLE_PATH, json.dumps(lines)],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "BANNED []"
    assert "vocjax: checkpoint 1 in " in process.stderr
    assert "can't be read: it is damaged" in process.stderr
    for path in ("toy.png", "run/results.json", "predicted/photo.png", "report.html"):
        assert (tmp_path / path).stat().st_size > 0
