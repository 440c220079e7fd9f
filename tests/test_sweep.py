"""`vocjax train --sweep`: the grid, its ranking, its failures, and what is refused."""

import json

import pytest

from vocjax import cli
from vocjax.errors import UserError
from vocjax.sweep import Point, grid, parse, ranked, table

RATE = "config.optimizer.learning_rate"


@pytest.fixture
def sweep(toy_dir, capsys):
    """`sweep(workdir, *flags)`: exit code, printed lines, errors of a tiny linear autoencoder."""

    def run(workdir, *flags):
        fields = {
            "data.data_dir": toy_dir,
            "data.size": 4,
            "data.held_out": 0.4,
            "model.components": 3,
            "epochs": 2,
            "optimizer.warmup_steps": 0,
        }
        small = [f"--config.{field}={value}" for field, value in fields.items()]
        given = [*small, *flags, "--workdir", str(workdir)]
        code = cli.main(["train", "--config", "linear_autoencoder", *given])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


def test_a_sweep_ranks_settings_by_their_seeds_and_outlives_a_failure(sweep, tmp_path):
    swept = ("--sweep", f"{RATE}=3e38,5e-2", "--sweep", "config.seed=0,1")
    code, printed, errors = sweep(tmp_path, *swept)
    assert code == 1
    names = [f"learning_rate=0.05,seed={seed}" for seed in (0, 1)]
    losses = [
        json.loads((tmp_path / name / "results.json").read_text())["val"]["loss"] for name in names
    ]
    assert losses[0] != losses[1]
    best, failed = json.loads((tmp_path / "sweep.json").read_text())["settings"]
    assert best["fields"] == {"optimizer.learning_rate": 0.05}
    assert best["mean"] == pytest.approx(sum(losses) / 2)
    assert [best["least"], best["most"]] == sorted(losses)
    assert "photographs of train (data.held_out=0.4)" in printed[0]
    rows = [line.split() for line in printed[2:4]]
    assert [row[0] for row in rows] == ["1", "\N{EN DASH}"]
    assert [row[1] for row in rows] == ["0.05", "3e+38"]
    assert printed[3].endswith("0 of 2")
    for run in failed["runs"]:
        assert f"vocjax: {run['directory']}: {run['error']}" in errors
    config = json.loads((tmp_path / names[1] / "config.json").read_text())
    assert (config["optimizer"]["learning_rate"], config["seed"]) == (0.05, 1)
    assert config["name"] == "Linear autoencoder, learning_rate 0.05"

    before = {name: (tmp_path / name / "run.json").read_text() for name in names}
    code, again, _ = sweep(tmp_path, *swept)
    assert (code, again) == (1, printed)
    assert before == {name: (tmp_path / name / "run.json").read_text() for name in names}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--sweep", f"{RATE}"), "can't be read; it names a field and its values"),
        (("--sweep", f"{RATE}=1e-3,,1e-4"), "can't be read"),
        (("--sweep", "seed=1,2"), "can't be read"),
        (("--sweep", "config.seed=1", "--sweep", "config.seed=2"), "config.seed is given twice"),
        (("--sweep", "config.seed=1,1"), "two points of the sweep are seed=1"),
        (("--sweep", "config.sede=1,2"), "unknown field: .* Did you mean"),
        (("--sweep", "config.batch_size=1,many"), "an override can't be used"),
        (
            ("--sweep", "config.batch_size=1,0"),
            "batch_size=0: batch_size is 0; it must be",
        ),
        (("--sweep", "config.seed=1,2", "--config.seed=3"), "by --config.seed and by --sweep"),
        (("--sweep", "config.best.metric=mse,mae"), "best.metric can't be swept"),
        (("--sweep", "config.loss.name=mse,mae"), "can't be ranked by the loss; name a metric"),
        (("--sweep", "config.seed=1,2", "--config.data.held_out=0"), "held_out is 0, and a choice"),
    ],
)
def test_a_sweep_that_can_not_be_run_or_ranked_is_refused(flags, reason, sweep, tmp_path):
    code, printed, errors = sweep(tmp_path / "sweep", *flags)
    assert (code, printed) == (1, [])
    assert not (tmp_path / "sweep").exists()
    with pytest.raises(UserError, match=reason):
        raise UserError(errors)


def test_commas_in_brackets_and_quotes_belong_to_a_value():
    fields = parse(["config.model.encoder=(4, 4),(8,4)", "config.optimizer.name=adam,'sgd'"])
    assert fields == {
        "model.encoder": ["(4, 4)", "(8,4)"],
        "optimizer.name": ["adam", "'sgd'"],
    }


def test_directories_have_readable_names_of_bounded_length(toy_dir, tmp_path):
    given = [f"--config.data.data_dir={toy_dir}", "--config.data.held_out=0.4"]
    phases = '((0, ((".*", 1.0),)),),((0, (("encoder/.*", 0.5), ("decoder/.*", 0.25))),)'
    swept = (f"optimizer.phases={phases}", "model.dropout=0.0,0.1", "optimizer.name=adam")
    fields = parse([f"config.{field}" for field in swept])
    points = grid("autoencoder_256", fields, given, tmp_path)
    names = [point.directory for point in points]
    assert names[0] == "phases=0-._-1.0,dropout=0.0,optimizer.name=adam"
    assert len(set(names)) == 4
    assert max(map(len, names)) < 100
    assert points[1].config.name.endswith("phases 0-._-1.0, dropout 0.1, optimizer.name adam")


def test_a_setting_without_all_its_runs_comes_last(tiny_config):
    def point(rate, seed):
        config = tiny_config("pca", **{"seed": seed, "data.held_out": 0.2})
        values = {"optimizer.learning_rate": rate, "seed": seed}
        return Point(f"{rate} {seed}", config, values)

    def measured(loss):
        return {"train": {"loss": 0.0}, "val": {"loss": loss}, "epoch": 1, "best": None}

    outcomes = {
        "0.1 0": measured(0.25),
        "0.1 1": UserError("the loss is nan"),
        "0.2 0": measured(0.5),
        "0.2 1": measured(0.25),
        "0.3 0": {**measured(0.0), "val": {}},
        "0.3 1": measured(0.125),
    }
    points = [point(rate, seed) for rate in (0.1, 0.2, 0.3) for seed in (0, 1)]
    result = ranked(points, outcomes)
    assert [s["fields"]["optimizer.learning_rate"] for s in result["settings"]] == [0.2, 0.3, 0.1]
    assert result["settings"][0]["mean"] == 0.375
    lines = table(result).splitlines()
    assert lines[2].split() == ["1", "0.2", "0.3750", "0.2500", "to", "0.5000", "2"]
    assert lines[4].endswith("1 of 2")
