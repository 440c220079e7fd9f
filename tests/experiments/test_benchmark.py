"""The benchmark: what it refuses, our part of a row on tiny sizes, and its tables."""

import json
import sys

import numpy as np
import pytest

from experiments import benchmark, benchmark_ours, benchmark_worker
from experiments.benchmark_rows import ROWS, drawn_images, joined
from experiments.tables.speed import speed_tables
from experiments.tables.speed_picture import speed_picture

TINY = ("data.size=16", "batch_size=2", "model.encoder=(4,2)", "model.decoder=(4,)")


@pytest.fixture
def tiny(monkeypatch):
    """The spec of a row of tiny images."""
    monkeypatch.setitem(ROWS, "ae_256", ROWS["ae_256"]._replace(changes=TINY, epoch=None))
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
    # 8x8. These four are folded from one, by a matrix of 16 x 9.
    first, *others = 256 * 27 * 4, 64 * 36 * 2, 64 * 18 * 4, 4 * 64 * 16 * 3
    folding = 16 * 9 * 4 * 3
    convolutions = 2 * 2 * (2 * first + 3 * sum(others))
    assert found["floor"]["operations"] == convolutions + 2 * 3 * folding
    assert (tmp_path / "ours.npz").exists()


def test_epochs_of_ours_end_as_often_as_they_are_asked_for(tiny):
    contender = benchmark_ours.Contender(tiny | {"epoch": (3, 2)})
    found = benchmark_worker.epochs(contender, times=2)
    assert len(found["epoch"]) == len(found["epoch_processor"]) == 2
    assert min(found["epoch"]) > 0


def test_the_step_of_a_frozen_encoder_begins_with_its_codes_or_computes_them(monkeypatch):
    small = ("data.size=16", "batch_size=2", "model.encoder=(4,2)")
    floors, losses = [], []
    for row in ("classifier_frozen", "classifier_codes"):
        monkeypatch.setitem(ROWS, row, ROWS[row]._replace(changes=small))
        contender = benchmark_ours.Contender(*benchmark.specs_of([row], steps=1))
        contender.draw()
        losses.append(contender.step())
        floors.append(contender.floor()["operations"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # of the weights drawn last
    # Of 2 images: 3 -> 4 at 16x16 and 4 -> 2 at 8x8, forward; 128 numbers to 2 classes, and the
    # gradient of their kernel.
    head = 2 * 2 * 2 * 128 * 2
    assert floors == [2 * 2 * (256 * 27 * 4 + 64 * 36 * 2) + head, head]


def test_every_row_says_what_is_trained_and_draws_what_fits():
    for spec in benchmark.specs_of([*ROWS], steps=1):
        images, wanted = drawn_images(spec, 2, seed=0)
        assert images.shape == (2, *spec["image"])
        pixels = spec["config"].startswith("segmentation")
        assert wanted.shape == ((2, *spec["image"][:2]) if pixels else (2,))
        assert wanted.max() < max(spec["outputs"], 2)
        assert (spec["network"] == "unet") == spec["row"].startswith("unet")
        assert spec["frozen"] or not spec["codes"]


def test_the_two_convolutions_of_our_u_net_become_one_of_the_joined_maps():
    deep, skip = np.ones((3, 3, 4, 2)), np.zeros((3, 3, 5, 2))
    arrays = {"a/deep/kernel": deep, "a/deep/bias": np.ones(2), "a/skip/kernel": skip}
    found = joined(arrays | {"score/kernel": deep})
    assert set(found) == {"a/conv/kernel", "a/conv/bias", "score/kernel"}
    assert found["a/conv/kernel"][..., :4, :].all() and not found["a/conv/kernel"][..., 4:, :].any()


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
    ours |= {"first": 4.0, "epoch": [20.0], "epoch_processor": [20.0]}
    ours["warm"] = {"first": 1.0, "first_processor": 0.5, "compilation": 0.1}
    rounds = [{"ours": ours, "torch": {"missing": "torch is not installed"}}]
    rates = {clock: {"operations": 4.0, "bytes": 4.0} for clock in benchmark.STEPS}
    record = benchmark.record_of(tiny | {"epoch": (3, 2)}, rounds, rates)
    shown = {}
    for cores in (1, 2):
        record["provenance"] = {"device": {"cores": cores}}
        shown[cores] = [text.splitlines()[-1] for text in speed_tables([record]).values()]
    title = "| AE 256, 2 at 16 px"
    step, inference, first, memory, epoch = shown[1]
    assert epoch == f"{title} | 20.0 | torch is not installed |  |"
    assert inference == f"{title} | 2.00 | torch is not installed |  |"
    assert step == f"{title} | 1.00 | torch is not installed | 2.0 |  | 2 | 1.5 |"
    assert first == f"{title} | 3.0 (compiling: 25%), warm 0.5 | torch is not installed |"
    assert memory == f"{title} | 1 | torch is not installed |"
    assert shown[2][0].startswith(f"{title} | 2.00 |")
    del record["epoch"]  # a file that was kept before epochs were timed
    assert "speed, an epoch" not in speed_tables([record])


def test_the_picture_has_a_mark_for_each_framework_that_was_timed(tiny):
    one = {"operations": 8, "bytes": 6}
    warm = {"first": 1.0, "first_processor": 0.5, "compilation": 0.1}
    lost = {"missing": "it failed"}
    first = {"ours": measured(2.0, floor=one, warm=warm), "torch": measured(4.0), "keras_jax": lost}
    rates = {clock: {"operations": 4.0, "bytes": 4.0} for clock in benchmark.STEPS}
    record = benchmark.record_of(tiny, [first], rates) | {"provenance": {"device": {"cores": 2}}}
    step, start = speed_picture([record]).axes
    marks = [
        [line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
        for axis in (step, start)
    ]
    assert marks == [[1.0, 2.0], [1.0, 1.0, 1.0]]  # a step by ours; first steps, ours warm, too
    assert step.get_yticklabels()[0].get_text() == "AE 256\n2 at 16 px"
