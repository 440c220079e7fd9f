"""Repetitions of experiments with several seeds."""

from pathlib import Path

import pytest

from vocjax.errors import UserError
from vocjax.plans.experiment import Experiment, chosen, parse_seeds, repeated


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("0,4", (0, 4)), ("4,", (4,)), ("1", (0,))]
)
def test_seeds_are_counted_or_listed(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "-1", "a", ",", "1,1", "1,-2", "1.5"])
def test_seeds_that_are_none(text):
    with pytest.raises(UserError, match="give how many"):
        parse_seeds(text)


def test_runs_without_a_seed_are_repeated_and_begin_from_their_own():
    work = Path("runs")
    code = Experiment("code", "autoencoder_256")
    head = Experiment("head", "classifier_256", ("init_from=runs/code", "epochs=1"))
    fixed = Experiment("fixed_4", "classifier_256", ("init_from=runs/code", "seed=4"))
    other = Experiment("other_5", "classifier_256", ("init_from=weights/vgg16", "seed=5"))
    found = repeated([code, head, fixed, other], (1, 2), work)
    assert [(run.directory, run.pictured) for run in found] == [
        ("code_1", True),
        ("code_2", False),
        ("head_1", True),
        ("head_2", False),
        ("fixed_4", True),
        ("other_5", True),
    ]
    assert found[3].overrides == ("init_from=runs/code_2", "epochs=1", "seed=2")
    assert found[4].overrides == ("init_from=runs/code_1", "seed=4")  # the first of two, again
    assert found[5] == other
    assert repeated([code, head], (), work) == [code, head]


def test_runs_are_chosen_with_or_without_their_seed():
    runs = repeated([Experiment("a", "pca"), Experiment("b", "pca")], (0, 1), Path("runs"))
    assert chosen("--only", ["a", "b_1"], runs) == [runs[0], runs[1], runs[3]]
    assert chosen("--only", None, runs) == runs
    assert chosen("--again", [], runs) == []
    with pytest.raises(UserError, match="--only is 'c'; it is one of a_0, a, a_1"):
        chosen("--only", ["c"], runs)
