"""A fresh study against the kept one: what is inside, what is not, and what can't be compared."""

import json
import sys
from pathlib import Path

import pytest

from experiments import collect, reproduce
from experiments.tables.representation import study_table
from vocjax import runner
from vocjax.runs.reader import Run

PLAN = """
from vocjax.runner import Experiment


def plan(options):
    small = ("data.size=8", "model.components=2", f"data.data_dir={options.data_dir}")
    linear = (*small, "epochs=1", "batch_size=4", "optimizer.name=adam")
    return [Experiment("pca", "pca", small), Experiment("linear", "linear_autoencoder", linear)]
"""


def run(directory, value, seed=0, epochs=10, data="f", **config):
    fields = {"seed": seed, "epochs": epochs, "task": "reconstruction", "name": "AE", **config}
    results = {
        "train": {"mse": value / 2},
        "val": {"mse": value},
        "baselines": {"mean image": {"train": {"mse": 1.0}, "val": {"mse": 1.0}}},
    }
    provenance = {"dataset": {"fingerprint": data}}
    return Run(Path("kept") / directory, fields, provenance, [], results, {})


def seeds(*values, **fields):
    return [run(f"ae_{n}", value, seed=n, **fields) for n, value in enumerate(values)]


KEPT = seeds(0.1, 0.11, 0.12)


@pytest.mark.parametrize(
    ("kept", "fresh", "verdict", "reason"),
    [
        (KEPT, KEPT, "inside", "range of 3 seeds, widened: 0.0800 to 0.1400"),
        (KEPT, seeds(0.139), "inside", "0.0800 to 0.1400"),
        (KEPT, seeds(0.1, 0.18, 0.1), "inside", "0.0800"),  # the mean is compared
        (KEPT, seeds(0.141), "OUTSIDE", "0.0800 to 0.1400"),
        (KEPT, seeds(0.079), "OUTSIDE", "0.0800 to 0.1400"),
        (seeds(0.1, 0.1, 0.1), seeds(0.1019), "inside", "0.0980 to 0.1020"),
        (seeds(0.1, 0.1, 0.1), seeds(0.1021), "OUTSIDE", "0.0980 to 0.1020"),
        (seeds(0.1, epochs=0), seeds(0.1004, epochs=0), "inside", "closed form: 0.0995"),
        (seeds(0.1, epochs=0), seeds(0.1006, epochs=0), "OUTSIDE", "closed form: 0.0995"),
        (seeds(0.1, 0.2), seeds(0.9), "no range", "2 kept seeds, 3 make a range"),
        ([], KEPT, "not kept", ""),
        (KEPT, [], "MISSING", "no finished run"),
        (KEPT, seeds(0.11, epochs=9), "OTHER CONFIG", "epochs was 10, is 9"),
        (KEPT, seeds(0.11, name="Other", new_field=1), "inside", ""),
        (KEPT, seeds(0.11, data="g"), "OTHER DATA", "another fingerprint"),
    ],
)
def test_a_figure_is_inside_if_the_kept_seeds_make_it_likely(kept, fresh, verdict, reason):
    (row,) = reproduce.compare(kept, fresh)
    assert row.figure == "ae, MSE"
    assert row.verdict == verdict and reason in row.reason
    assert row.holds == (verdict in ("inside", "no range", "not kept"))


def test_a_table_has_mean_and_range_of_both():
    rows = reproduce.compare(KEPT, seeds(0.2))
    expected = ["ae, MSE", "0.1100 [0.1000, 0.1200] (3)", "0.2000", "OUTSIDE"]
    assert [text.strip() for text in reproduce.table(rows).splitlines()[1].split("  ")][
        :4
    ] == expected


def test_the_table_of_the_study_has_the_range_of_several_seeds():
    lines = study_table({"toy": KEPT, "voc": [run("ae", 0.3)]}).splitlines()
    assert (
        lines[2]
        == "| AE | MSE | 0.0550 / 0.1100 [0.1000, 0.1200] (1.0000) | 0.1500 / 0.3000 (1.0000) |"
    )
    assert len(lines) == 3


def test_a_study_is_trained_with_the_kept_seeds_and_compared(
    toy_dir, tmp_path, monkeypatch, capsys
):
    """Then the kept figures are changed."""
    plan, kept, work = tmp_path / "plan.py", tmp_path / "kept.json", tmp_path / "runs"
    plan.write_text(PLAN)
    monkeypatch.setattr(runner, "write_report", lambda *_, **__: None)

    def call(*more):
        line = ["reproduce", "--plan", plan, "--workdir", work, "--data_dir", toy_dir, *more]
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        capsys.readouterr()
        return reproduce.main(), *capsys.readouterr()

    code, out, err = call()
    assert (code, out) == (1, "") and "has to hold one file of plan on toy" in err
    kept.write_text("[]")
    code, out, _ = call("--kept", kept, "--seeds", "3", "--only", "linear")
    assert code == 0 and "not kept" in out
    kept.write_text(collect.collect(work))
    code, out, _ = call("--kept", kept, "--only", "linear")
    assert code == 0 and "1 of 1 figures hold\n" in out
    assert [path.parent.name for path in sorted(work.glob("*/config.json"))] == [
        "linear_0",
        "linear_1",
        "linear_2",
    ]
    assert "\nkept: commit " in out and "\nfresh: commit " in out
    records = json.loads(kept.read_text())
    for record in records:
        record["results"]["val"]["mse"] *= 10
    kept.write_text(json.dumps(records))
    code, out, _ = call("--kept", kept, "--seeds", "1,", "--only", "linear")
    assert code == 1 and "0 of 1 figures hold; not so: linear, MSE\n" in out
