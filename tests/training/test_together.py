"""Runs that train in one program are as they are alone."""

import json
import signal

import numpy as np
import pytest
from outcome import saved_state

from vocjax.errors import UserError
from vocjax.runs.reader import read_epochs
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import Own, train_and_evaluate, train_group
from vocjax.training.together import train_together


@pytest.fixture
def alike(random_config):
    """`alike(seed, rate)`: runs with everything random in them, and all parts of an optimizer."""

    def load(seed, rate, **overrides):
        return random_config(
            **{
                "seed": seed,
                "epochs": 2,
                "model.norm_statistics": "debiased",
                # Adam and rmsprop divide by the gradient's size, and with it rounding grows.
                "optimizer.name": "sgd",
                "optimizer.learning_rate": rate,
                "optimizer.schedule": "cosine",
                "optimizer.weight_decay": rate / 10,
                "optimizer.clip_norm": 1 + rate,
                "optimizer.average_decay": 0.9,
            }
            | overrides
        )

    return load


def test_a_run_alone_equals_the_run_among_others(alike, bare, signal_at, tmp_path):
    configs = [alike(0, 0.1), alike(1, 0.05), alike(2, 0.02)]
    runs, alone, own = [tmp_path / f"{i}" for i in range(3)], tmp_path / "alone", bare(configs[0])
    signal_at({12: (signal.SIGTERM,)})  # every run counts a step: in step 4 of 6
    with pytest.raises(Interrupted, match=r"step 4 of 6 is saved in .*0 and 2 more"):
        train_group(configs, runs, Own(own))
    results = train_group(configs, runs, Own(own))
    train_and_evaluate(configs[1], alone, own)
    other, part, whole = saved_state(runs[0]), saved_state(runs[1]), saved_state(alone)
    assert whole.keys() == part.keys()
    for name in ("key", "step"):
        np.testing.assert_array_equal(part[name], whole[name])
    for name in whole:
        np.testing.assert_allclose(part[name], whole[name], rtol=1e-3, atol=1e-5, err_msg=name)
    assert max(np.abs(other[name] - whole[name]).max() for name in whole if "kernel" in name) > 0.01
    for ours, theirs in zip(read_epochs(runs[1]), read_epochs(alone), strict=True):
        assert ours.keys() == theirs.keys()
        for split in ("train", "val"):
            assert ours[split] == pytest.approx(theirs[split], rel=1e-3)
    assert results[1]["runs_at_once"] == 3
    assert json.loads((runs[1] / "results.json").read_text()) == results[1]
    kept = {path.name for path in alone.iterdir()}
    assert {path.name for path in runs[1].iterdir()} == kept
    for name in ("config.json", "baselines.json"):
        assert (runs[1] / name).read_text() == (alone / name).read_text()
    assert train_group(configs, runs, Own(own)) == results  # finished runs are left as they are


def test_runs_end_each_by_itself(tiny_config, tmp_path):
    """One has a loss that is not finite, one stops early, and the others go on."""
    fields = {
        "data.size": 4,
        "epochs": 4,
        "evaluate_every_epochs": 1,
        "optimizer.schedule": "constant",
        "stop_early.patience": 2,
    }
    rates = (0.05, 3e38, 1e-30, 0.05)  # with the third no error gets better
    configs = [
        tiny_config("linear_autoencoder", **fields, **{"seed": i, "optimizer.learning_rate": rate})
        for i, rate in enumerate(rates)
    ]
    runs = [tmp_path / f"{i}" for i in range(4)]
    found = train_together(configs, runs, at_once=True)
    assert [type(outcome) for outcome in found] == [dict, UserError, dict, dict]
    assert [found[i]["epoch"] for i in (0, 2, 3)] == [4, 3, 4]
    assert "since epoch 1" in found[2]["stopped_early"]
    assert str(found[1]).startswith("the loss is")
    assert not (runs[1] / "results.json").exists()

    for run in (runs[0], runs[2]):  # which are at different steps
        (run / "results.json").unlink()
    again = train_together([configs[i] for i in (0, 2)], [runs[0], runs[2]], at_once=True)
    for ours, theirs in zip(again, (found[0], found[2]), strict=True):
        assert ours["epoch"] == theirs["epoch"]
        assert ours["val"] == pytest.approx(theirs["val"], rel=1e-6)


def test_configs_of_several_kinds_are_refused(tiny_config, tmp_path):
    one = tiny_config("linear_autoencoder")
    for field, value in (("batch_size", 3), ("optimizer.weight_decay", 0.1)):
        other = tiny_config("linear_autoencoder", **{field: value})
        with pytest.raises(UserError, match=f"may differ in name, seed.*\n  {field}: "):
            train_together([one, other], [tmp_path / "one", tmp_path / "other"])
