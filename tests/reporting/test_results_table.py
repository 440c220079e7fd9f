"""The report's tables: which runs, baselines and values are in which row."""

from dataclasses import replace

from example_runs import DASH, TIMES, Page, run_of

from vocjax.reporting.table import results_table

VALUES = {"loss": 0.0312, "mse": 0.0312, "mae": 0.1313, "psnr": 15.123}


def finished(name="net", values=None, baselines=None, fingerprint="", **fields):
    """A finished run of the reconstruction task, with the same values on both splits."""
    values = VALUES if values is None else values
    results = {"train": values, "val": values}
    if baselines:
        results["baselines"] = baselines
    run = run_of("reconstruction", name, results, **fields)
    run.provenance["dataset"] = {"name": "toy", "fingerprint": fingerprint}
    return run


def unfinished(seed=0, epochs=0):
    run = run_of("reconstruction", "net", seed=seed, epochs=30)
    run.provenance["dataset"] = {"name": "toy"}
    return replace(run, epochs=[{"epoch": epoch} for epoch in range(1, epochs + 1)])


def table(*runs, with_baselines=None):
    anchors = {run.directory: str(run.directory) for run in runs}
    return Page(results_table(runs, runs if with_baselines is None else with_baselines, anchors))


def test_a_row_for_each_run_and_split_with_values_to_their_digits():
    fields = {"model.name": "autoencoder", "optimizer.name": "rmsprop", "epochs": 1}
    found = table(replace(finished("AE 9", **fields), epochs=[{"epoch": 1}]))
    assert found.row("Run")[2:] == ["MSE\xa0↓", "MAE\xa0↓", "PSNR, dB\xa0↑", "loss\xa0↓"]
    values = ["0.0312", "0.131", "15.12", "0.0312"]
    row = found.row("AE 9")
    assert row == ["AE 9autoencoder, rmsprop, 1 epoch, seed 0, in AE 9", "train", *values]
    assert found.below(row) == ["val", *values]
    assert found.values("a", "href") == ["#AE 9"]
    legacy = table(finished("AE 9", **fields, **{"data.masks": "legacy"}))
    assert legacy.row("AE 9")[0] == "AE 9autoencoder, closed form, legacy masks, seed 0, in AE 9"


def test_the_study_is_below_with_its_own_digits_and_mark():
    found = table(finished())
    assert found.row("The study's own figures")[0].endswith("study, slides")
    row = found.row("AE 2048")
    assert row == ["AE 2048rmsprop, 10 epochs", "train", "0.025", DASH, DASH, DASH]
    assert ["val", "0.029", "0.13", DASH, DASH] in found.rows


def test_a_metric_that_is_not_defined_is_a_dash_with_its_reason():
    run = finished(values={"mse": 0.0})
    run.results["absent"] = {"val": {"psnr": "an image is reproduced without any error"}}
    found = table(run, finished("other", values={"mse": 0.5, "psnr": 3.0}))
    assert found.row("net")[1:4] == ["train", "0.0000", DASH]
    assert f"{DASH} net on val: an image is reproduced without any error, so" in found.text
    assert "so there is no PSNR, dB." in found.text


def test_missing_values_are_dashes_and_unknown_metrics_keep_their_name():
    found = table(finished(values={"mse": 0.5, "zeal": 0.123456, "loss": None}))
    assert found.row("Run")[2:] == ["MSE\xa0↓", "MAE\xa0↓", "loss\xa0↓", "zeal"]
    assert found.row("net")[1:] == ["train", "0.5000", DASH, DASH, "0.1235"]


def test_runs_on_other_data_are_apart_each_with_its_baselines():
    baselines = {"mean image": {"val": {"mse": 0.0707}}}
    small = {"data.size": 64, "data.channels": 3, "data.classes": ["cat", "dog"]}
    runs = [
        finished("first", baselines=baselines, fingerprint="f00dcafe99", **small),
        finished("second", baselines=baselines, fingerprint="f00dcafe99", **{"data.size": 96}),
        finished("third", baselines=baselines, **{"data.size": 96}),
    ]
    firsts = [row[0].split("closed")[0] for row in table(*runs).rows if len(row[0]) > 5]
    assert firsts[:9] == [
        f"toy · 64{TIMES}64{TIMES}3 · cat, dog · 100 train · f00dcafe",
        "first",
        "mean imagebaseline",
        f"toy · 96{TIMES}96 · 100 train · f00dcafe",
        "second",
        "mean imagebaseline",
        f"toy · 96{TIMES}96 · 100 train",
        "third",
        "mean imagebaseline",
    ]


def test_baselines_appear_once_whatever_the_loss_is_and_name_their_runs_where_they_differ():
    def with_baseline(name, mse, loss):
        return finished(name, baselines={"mean image": {"val": {"mse": mse, "loss": loss}}})

    alike = [with_baseline(f"run {loss}", 0.0707, loss) for loss in (1, 2)]
    expected = ["mean imagebaseline", "val", "0.0707", DASH, DASH, DASH]
    assert table(*alike).row("mean image") == expected
    found = table(*(with_baseline(name, mse, 1) for name, mse in (("a", 0.1), ("b", 0.2))))
    assert found.row("mean imagebaseline of a")[2] == "0.1000"
    assert found.row("mean imagebaseline of b")[2] == "0.2000"
    assert "mean imagebaseline" not in table(*alike, with_baselines=[]).text


def test_runs_that_differ_in_seed_alone_share_a_row():
    values = ((0, 0.1), (1, 0.2), (2, 0.6))
    other = finished(values={"mse": 0.5}, batch_size=8)
    found = table(*(finished(values={"mse": mse}, seed=seed) for seed, mse in values), other)
    row, alone = (row for row in found.rows if row[0].startswith("net"))
    assert row[0] == "netclosed form, seed 0, in net and 2 more, mean ± standard deviation"
    assert row[1:] == ["train", "0.3000 ± 0.2646", DASH]
    assert alone[1:] == ["train", "0.5000", DASH]


def test_unfinished_seeds_are_counted_and_left_out_of_the_mean():
    first = finished(values={"mse": 0.1}, seed=0, epochs=30)
    found = table(first, unfinished(seed=1), finished(values={"mse": 0.3}, seed=2, epochs=30))
    row = found.row("net")
    assert row[0].endswith("and 2 more, mean ± standard deviation; 1 unfinished")
    assert found.below(row) == ["val", "0.2000 ± 0.1414", DASH]


def test_seeds_of_which_none_is_finished_say_how_far_the_first_came():
    found = table(unfinished(epochs=4), unfinished(seed=1))
    assert found.row("net")[1:] == ["unfinished: last epoch 4 of 30"]
