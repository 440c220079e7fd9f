"""Runs that differ in seeds alone are one row: their mean, and how far they spread."""

from pathlib import Path

import pytest

from vocjax.runs import groups
from vocjax.runs.reader import Run


def run(number, seed=0, mse=0.0, **config):
    results = {split: {"mse": mse} for split in ("train", "val")}
    return Run(Path(str(number)), {"seed": seed, "data": {}, **config}, {}, [], results, {})


def test_replicates_differ_in_seeds_and_in_the_run_that_they_begin_from():
    runs = [
        run(0),
        run(1, seed=1, data={"split_seed": 1}, init_from="runs/x"),
        run(2, seed=2, batch_size=8),
        run(3, seed=1),  # this seed again
    ]
    found = [[str(r.directory) for r in group] for group in groups.replicates(runs)]
    assert found == [["0", "1"], ["2"], ["3"]]


def test_several_seeds_have_a_mean_and_a_deviation_and_one_its_values():
    # 0.1, 0.2 and 0.6: mean 0.3, squared deviations 0.04, 0.01 and 0.09, divided by 2
    value = groups.over_seeds([run(0, mse=0.1), run(1, mse=0.2), run(2, mse=0.6)])["val"]["mse"]
    assert value == pytest.approx((0.3, 0.07**0.5))
    assert groups.over_seeds([run(0, mse=0.1)])["train"] == {"mse": 0.1}


def test_a_spread_needs_a_value_of_every_seed():
    runs = [run(0), run(1)]
    runs[0].results["val"] = {"mse": 1.0, "psnr": 2.0}
    runs[1].results["val"] = {"mse": 3.0}
    assert groups.over_seeds(runs)["val"].keys() == {"mse"}
    assert groups.over_seeds(runs)["val"]["mse"].mean == 2
