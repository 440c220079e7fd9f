"""Times: from what is known of other runs, and corrected by what is measured."""

import io
import json
import sys

import pytest

from vocjax.config import load_config, to_json
from vocjax.plans.progress import Progress, duration
from vocjax.plans.seconds import Timed, expected_seconds, kept_runs
from vocjax.plans.states import CONTINUE, DONE, TRAIN, State
from vocjax.training.records import Records


def config(name, **fields):
    return load_config(name, [f"--config.{field}={value}" for field, value in fields.items()])


def timed(series, seconds, config):
    return Timed(series, json.loads(to_json(config)), seconds)


def test_an_equal_config_counts_before_an_equal_name():
    own, kept = config("linear_autoencoder", epochs=4), config("linear_autoencoder", epochs=8)
    here = [timed("other", 10.0, own), timed("other", 20.0, config("linear_autoencoder", epochs=4))]
    configs = {
        "other_3": config("linear_autoencoder", epochs=4, seed=3),
        "linear_1": config("linear_autoencoder", epochs=2, seed=1),
        "unknown": config("linear_autoencoder", epochs=5),
        "done": own,
        "half": config("linear_autoencoder", epochs=4, seed=3),
    }
    train = State(TRAIN, None)
    states = dict.fromkeys(configs, train) | {"done": State(DONE, None)}
    states["half"] = State(CONTINUE, None, epochs=1, seconds=7.0)
    found = expected_seconds(configs, states, [here, [timed("linear", 80.0, kept)]])
    assert found == {"other_3": 15.0, "linear_1": 20.0, "unknown": None, "half": 21.0}


def test_the_kept_results_say_how_long_the_study_takes():
    assert {"autoencoder_256", "segmentation_dice"} <= {run.series for run in kept_runs()}
    assert all(run.seconds > 0 for run in kept_runs())


def test_the_time_left_follows_what_is_measured():
    clock = [0.0]
    expected = {"a": 10.0, "b": 100.0, "c": None, "d": 100.0}
    epochs, series = dict.fromkeys(expected, 5), {name: name for name in expected}
    progress = Progress(expected, epochs, series, lambda: clock[0])
    assert progress.left() == "about 4 min and 1 run of unknown time left in all"
    progress.begin("a")
    clock[0] += 20  # twice as long as expected
    progress.end("done")
    assert progress.left() == f"about {duration(400)} and 1 run of unknown time left in all"
    progress.begin("b")
    bar = progress.bar(total=100, initial=0, desc="B", disable=True)
    for _ in range(2):
        bar.update()
    clock[0] += 100
    assert progress.left().startswith("about 5 min and 1 run")  # 200 - 100, and 200
    for _ in range(48):
        bar.update()
    # Half of the steps in 100 s: 100 s are left. The pace is 220 s for 110.
    assert progress.line() == (
        "run 2 of 4, B, epoch 3/5, about 5 min and 1 run of unknown time left in all"
    )
    clock[0] += 100
    progress.end("failed")
    progress.skip("d")
    assert progress.left() == "1 run of unknown time left in all"
    progress.begin("c")
    progress.end("done")
    assert progress.left() == ""


def test_another_seed_takes_as_long_as_the_first():
    clock = [0.0]
    expected = {"known": 10.0, "a_0": None, "a_1": None, "b_0": None}
    series = {"known": "known", "a_0": "a", "a_1": "a", "b_0": "b"}
    progress = Progress(expected, dict.fromkeys(expected, 1), series, lambda: clock[0])
    for name in ("known", "a_0"):
        progress.begin(name)
        clock[0] += 30
        progress.end("done")
    assert progress.left() == "about 30 s and 1 run of unknown time left in all"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "bars"), [(Terminal(), 1), (io.StringIO(), 0)])
def test_a_terminal_has_one_bar_for_all_runs_and_a_file_has_lines(
    stream, bars, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", stream)
    names = {"a": "a", "b": "b"}
    progress = Progress({"a": None, "b": 60.0}, {"a": 2, "b": 2}, names, lambda: 0.0)
    progress.begin("a")
    with Records(tmp_path, "AE", 2, 4, progress.bar) as log:
        log.step()
    progress.end("done")
    text, left = stream.getvalue(), "about 60 s and 1 run of unknown time left in all"
    if bars:
        assert f"run 1 of 2, AE, epoch 2/2, {left}  50%|" in text
    else:
        assert text.splitlines() == [
            f"run 1 of 2: a; {left}",
            "run 1 of 2: a done after 0 s; about 60 s left in all",
        ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (12000, "3 h 20 min")]
)
def test_a_duration_is_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
