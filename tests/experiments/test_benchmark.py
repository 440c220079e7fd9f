"""The benchmark: what it refuses, our part of a row on tiny sizes, and its tables."""

import json
import sys

import pytest

from experiments import benchmark, benchmark_worker
from experiments.benchmark_rows import ROWS
from experiments.tables.speed import speed_tables

TINY = ("data.size=16", "batch_size=2", "model.encoder=(4,2)", "model.decoder=(4,)")


@pytest.fixture
def tiny(monkeypatch):
    """The spec of a row of tiny images."""
    monkeypatch.setitem(ROWS, "ae_256", ROWS["ae_256"]._replace(changes=TINY))
    (spec,) = benchmark.specs_of(["ae_256"], steps=2)
    return spec


@pytest.mark.parametrize(
    "wrong",
    [["--rows", "ae_255"], ["--frameworks", "caffe"], ["--rounds", "many"], []],
)
def test_what_is_no_row_no_framework_or_no_number_is_refused(wrong, tmp_path, monkeypatch, capsys):
    output = [] if not wrong else ["--output", str(tmp_path / "benchmark.json")]
    monkeypatch.setattr(sys, "argv", ["benchmark", *output, *wrong])
    with pytest.raises(SystemExit) as caught:
        benchmark.main()
    assert caught.value.code == 2
    assert (wrong or ["--output"])[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_fewer_than_one_round_is_refused(tmp_path, monkeypatch, capsys):
    arguments = ["--output", str(tmp_path / "benchmark.json"), "--rounds", "0"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    assert benchmark.main() == 1
    assert "--rounds is 0; give 1 or more" in capsys.readouterr().err


def test_our_part_of_a_row_runs_and_says_what_it_takes(tiny, tmp_path):
    asked = {"framework": "ours", "arrays": str(tmp_path / "ours.npz"), "started": 0.0}
    found = benchmark_worker.timed(tiny | asked)
    assert len(found["step"]) == len(found["step_processor"]) == len(found["inference"]) == 2
    assert min(found["step"]) > 0 and found["memory"] > 0 and found["compilation"] > 0
    assert found["first"] > found["imports"] + found["network"]
    # Of 2 images: 3 -> 4 at 16x16, 4 -> 2 and 2 -> 4 at 8x8; then 4 -> 3 by four kernels of 2x2 at
    # 8x8. These four are folded from one, a few operations.
    first, *others = 256 * 27 * 4, 64 * 36 * 2, 64 * 18 * 4, 4 * 64 * 16 * 3
    least = 2 * 2 * (2 * first + 3 * sum(others))
    assert least <= found["floor"]["operations"] < 1.02 * least
    assert (tmp_path / "ours.npz").exists()


def test_a_framework_that_is_not_installed_is_missing(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(tiny | {"framework": "torch", "started": 0.0}))
    assert benchmark_worker.main(str(spec)) == {"missing": "torch is not installed"}


def measured(step, **more):
    timed = (*benchmark.STEPS.values(), *benchmark.INFERENCE.values())
    return dict.fromkeys(benchmark.FIGURES, 1.0) | {name: [step] for name in timed} | more


def test_a_ratio_is_of_the_best_other_in_each_round():
    lost = {"missing": "x is not installed"}
    rounds = [
        {"ours": measured(2.0), "torch": measured(4.0), "keras_jax": measured(3.0), "x": lost},
        {"ours": measured(4.0), "torch": measured(2.0), "keras_jax": measured(9.0), "x": lost},
    ]
    assert benchmark.ratio(rounds, "step") == {"median": 1.0, "least": 0.5, "most": 1.5}
    assert benchmark.ratio([{"ours": measured(2.0), "x": lost}], "step") is None
    assert benchmark.summary([one["x"] for one in rounds]) == lost


def test_tables_have_the_clock_that_fits_the_cores_and_say_what_is_missing(tiny):
    one = {"operations": 8, "bytes": 6}
    ours = measured(2.0, floor=one, step_processor=[1.0], memory=2**20, first_processor=3.0)
    ours["first"] = 4.0
    ours["warm"] = {"first": 1.0, "first_processor": 0.5, "compilation": 0.1}
    rounds = [{"ours": ours, "torch": {"missing": "torch is not installed"}}]
    rates = {clock: {"operations": 4.0, "bytes": 4.0} for clock in benchmark.STEPS}
    record = benchmark.record_of(tiny, rounds, rates)
    shown = {}
    for cores in (1, 2):
        record["provenance"] = {"device": {"cores": cores}}
        shown[cores] = [text.splitlines()[-1] for text in speed_tables([record]).values()]
    title = "| AE 256, 2 at 16 px"
    step, inference, first, memory = shown[1]
    assert inference == f"{title} | 2.00 | torch is not installed |  |"
    assert step == f"{title} | 1.00 | torch is not installed | 2.0 |  | 2 | 1.5 |"
    assert first == f"{title} | 3.0 (compiling: 25%), warm 0.5 | torch is not installed |"
    assert memory == f"{title} | 1 | torch is not installed |"
    assert shown[2][0].startswith(f"{title} | 2.00 |")
