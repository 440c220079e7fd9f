"""The study's figures: whether they are in our metrics, and which runs repeat them."""

import pytest
from example_runs import run_of

from vocjax.metrics.names import METRIC_NAMES
from vocjax.reporting.study import STUDY, recipe, repeated
from vocjax.runs.reader import TASKS


def test_the_study_is_told_in_our_metrics():
    assert [len(STUDY[task]["rows"]) for task in TASKS] == [2, 3, 6]
    for task in TASKS:
        for row in STUDY[task]["rows"]:
            assert row["val"].keys() | row.get("train", {}).keys() <= METRIC_NAMES.keys()


@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_repeated_by_a_run_of_its_fields(task):
    for row in STUDY[task]["rows"]:
        run = run_of(task, **row["fields"], epochs=row["epochs"])
        assert repeated(run) == row
        for field in row["fields"]:
            other = run_of(task, **row["fields"] | {field: "another"}, epochs=row["epochs"])
            assert repeated(other) != row


@pytest.mark.parametrize("task", TASKS)
def test_a_recipe_may_have_other_data(task):
    for row in STUDY[task]["rows"]:
        fields = {name: value for name, value in row["fields"].items() if name[:5] != "data."}
        assert recipe(run_of(task, **fields, epochs=row["epochs"])) == row
        other = run_of(task, **fields | {"optimizer.name": "another"}, epochs=row["epochs"])
        assert recipe(other) != row


@pytest.mark.parametrize(("epochs", "name"), [(5, 2), (10, 2), (15, 3), (30, 3), (60, 3)])
def test_of_rows_that_differ_in_epochs_a_run_repeats_the_first_that_is_as_long(epochs, name):
    fields = STUDY["segmentation"]["rows"][1]["fields"]
    assert repeated(run_of("segmentation", **fields, epochs=epochs))["name"] == f"run {name}"
