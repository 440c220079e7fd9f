"""A trace of some steps, and the share of their time that is waiting for input."""

import gzip
import json
import re
import time

import numpy as np
import pytest

from vocjax.errors import UserError
from vocjax.training.loop import Own, Watch, train_group
from vocjax.training.profile import Profile, Steps, parse


def profiled(tiny_config, bare, data, workdir, steps, **overrides):
    """Train a linear model, two steps an epoch, and look at steps."""
    small = {"data.size": 4, "optimizer.name": "adam", "optimizer.schedule": "constant"}
    config = tiny_config("linear_autoencoder", **(small | overrides))
    own, watch = Own(bare(config), data), Watch(profile=parse(steps))
    train_group([config], [workdir], own, watch)


def test_a_run_that_goes_on_is_traced_from_there(tiny_config, bare, arrays, tmp_path, capsys):
    run = (tiny_config, bare, arrays, tmp_path)
    profiled(*run, "9:12")
    assert "nothing is profiled: steps 10 to 12 are asked for, and the run has 4" in told(capsys)
    assert not (tmp_path / "profile").exists()
    profiled(*run, "2:9", epochs=4)
    said = told(capsys)
    assert "steps 5 to 8 are profiled, not all of steps 3 to 9: the run goes on with steps" in said
    found = re.search(r"steps 5 to 8: ([\d.]+)% of the time .* \(([\d.]+) of ([\d.]+) ms; ", said)
    assert found and 0 < float(found[2]) < float(found[3])
    assert "images kept on the device; mean of 3 steps, without those that compile" in said
    (trace,) = (tmp_path / "profile/plugins/profile").glob("*/perfetto_trace.json.gz")
    assert list(trace.parent.glob("*.xplane.pb"))
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    steps = [e["args"]["step_num"] for e in events if e.get("name") == "train" and "args" in e]
    assert sorted(map(int, steps)) == [5, 6, 7, 8]
    assert sum(event.get("name") == "input" for event in events) == 4
    profiled(*run, "2:9", epochs=4)
    assert "holds a finished run: no step is left to profile" in told(capsys)


def told(capsys):
    return capsys.readouterr().err


def test_profile_changes_nothing(tiny_config, bare, arrays, quick_run, tmp_path):
    profiled(tiny_config, bare, arrays, tmp_path / "profiled", "1:3")
    plain = quick_run(tmp_path / "plain", **{"optimizer.schedule": "constant"})
    looked_at = json.loads((tmp_path / "profiled/results.json").read_text())
    assert looked_at["val"] == plain["val"] and looked_at["train"] == plain["train"]


def test_time_of_slow_input_is_the_inputs(arrays, tmp_path):
    said, train = [], arrays.splits["train"]

    def slow(planned):
        for batch in train.batches(planned):
            time.sleep(0.03)
            yield batch

    with Profile(Steps(1, 5), tmp_path, (0, 9), said.append) as profile:
        slowed = train._replace(batches=slow, resident=False)
        (looked_at,), step = profile.around(
            [slowed], lambda state, batches: (state + 1, np.ones(1))
        )
        state, plan = 0, [(np.arange(2), np.ones(2, np.float32))] * 4
        for _ in range(2):  # epochs
            for batch in looked_at.batches(iter(plan)):
                time.sleep(0.05)  # what is neither input nor step has no part in it
                state, _ = step(state, (batch,))
    assert state == 8
    share, trace = said
    found = re.match(r"steps 2 to 5: ([\d.]+)% .* \(([\d.]+) of [\d.]+ ms; images streamed", share)
    assert found and float(found[1]) > 80 and 30 <= float(found[2]) < 50
    assert trace.startswith(f"trace: {tmp_path / 'profile'}, ")


@pytest.mark.parametrize("text", ["", "3", "5:5", "6:5", "-1:4", "a:b", "1:2:3", "1.5:2"])
def test_ranges_that_are_none(text):
    with pytest.raises(UserError, match="two numbers of steps, the smaller one first"):
        parse(text)


def test_the_range_is_that_of_python():
    assert parse("10:20") == (10, 20)
    assert str(parse("10:20")) == "steps 11 to 20"
