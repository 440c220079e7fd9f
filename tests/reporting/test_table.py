"""The report's tables: which runs, baselines and values stand where."""

import pytest
from example_runs import DASH, TIMES, report, write_run

from vocjax.runs import reader


def test_a_row_for_each_run_and_split_with_values_to_their_digits(tmp_path):
    page = report(write_run(tmp_path / "AE 9", epochs=1))
    header = page.row("Run")
    assert header[2:] == ["MSE\xa0↓", "MAE\xa0↓", "PSNR, dB\xa0↑", "loss\xa0↓"]
    values = ["0.0312", "0.131", "15.12", "0.0312"]
    assert page.row("AE 9") == [
        "AE 9autoencoder, rmsprop, 1 epoch, seed 7, in AE 9",
        "train",
        *values,
    ]
    assert page.rows[page.rows.index(page.row("AE 9")) + 1] == ["val", *values]


def test_the_study_stands_below_with_its_own_digits_and_mark(tmp_path):
    page = report(write_run(tmp_path / "AE 9"))
    assert page.row("The study's own figures")[0].endswith("study, slides")
    assert page.row("AE 2048") == [
        "AE 2048rmsprop, 10 epochs",
        "train",
        "0.025",
        DASH,
        DASH,
        DASH,
    ]
    assert ["val", "0.029", "0.13", DASH, DASH] in page.rows


@pytest.mark.parametrize(
    ("name", "partial", "other"),
    [("voc2009", False, False), ("voc2009", True, True), ("toy", False, True)],
)
def test_the_page_says_when_the_study_had_other_data(tmp_path, name, partial, other):
    dataset = {"name": name, "partial": partial}
    page = report(write_run(tmp_path / "run", run={"dataset": dataset}))
    assert ("come from other data" in page.text) == other
    assert (f"{name} (partial)" in page.text) == partial


def test_the_tasks_come_in_the_studys_order(tmp_path):
    tasks = ("segmentation", "reconstruction", "classification")
    page = report(*(write_run(tmp_path / task, task) for task in tasks))
    assert page.values("section", "id") == [*reader.TASKS, "made"]


def test_tasks_without_a_run_are_left_out(tmp_path):
    page = report(write_run(tmp_path / "run", "classification"))
    assert page.values("section", "id") == ["classification", "made"]


def test_missing_values_are_dashes_and_unknown_metrics_keep_their_name(tmp_path):
    values = {"mse": 0.5, "zeal": 0.123456, "loss": None}
    page = report(write_run(tmp_path / "run", results={"train": {"mse": 0.25}, "val": values}))
    assert page.row("Run")[2:] == ["MSE\xa0↓", "MAE\xa0↓", "loss\xa0↓", "zeal"]
    assert page.row("run")[1:] == ["train", "0.2500", DASH, DASH, DASH]
    assert ["val", "0.5000", DASH, DASH, "0.1235"] in page.rows


def test_runs_on_other_data_stand_apart_each_with_its_baselines(tmp_path):
    baselines = {"baselines": {"mean image": {"val": {"mse": 0.0707}}}}
    larger = {"data": {"dataset": "toy", "size": 96, "channels": 3, "classes": []}}
    first = write_run(tmp_path / "first", results=baselines)
    second = write_run(tmp_path / "second", results=baselines, config=larger)
    firsts = [row[0] for row in report(first, second).rows if len(row[0]) > 5]
    groups = [text.split("closed")[0] for text in firsts[:6]]
    assert groups == [
        f"toy · 64{TIMES}64{TIMES}3 · cat, dog · 517 train, 539 val · f00dcafe",
        "firstautoencoder, ",
        "mean imagebaseline",
        f"toy · 96{TIMES}96{TIMES}3 · 517 train, 539 val · f00dcafe",
        "secondautoencoder, ",
        "mean imagebaseline",
    ]


def test_baselines_appear_once_whatever_the_runs_losses_are(tmp_path):
    directories = [
        write_run(
            tmp_path / f"run {loss}",
            results={"baselines": {"mean image": {"val": {"mse": 0.0707, "loss": loss}}}},
        )
        for loss in (1, 2)
    ]
    page = report(*directories)
    assert page.row("mean image") == ["mean imagebaseline", "val", "0.0707", DASH, DASH, DASH]


def test_baselines_that_differ_name_their_runs(tmp_path):
    directories = [
        write_run(tmp_path / name, results={"baselines": {"mean image": {"val": {"mse": value}}}})
        for name, value in (("run a", 0.1), ("run b", 0.2))
    ]
    page = report(*directories)
    assert page.row("mean imagebaseline of run a")[2] == "0.1000"
    assert page.row("mean imagebaseline of run b")[2] == "0.2000"


def with_seed(directory, seed, mse, **changes):
    """A run of a seed, with a value on validation."""
    results = {"train": {"mse": mse / 2}, "val": {"mse": mse}}
    config = {"name": "net", "seed": seed, **changes.pop("config", {})}
    return write_run(directory, config=config, results=results, **changes)


def test_runs_that_differ_in_seed_alone_share_a_row(tmp_path):
    page = report(
        *(
            with_seed(tmp_path / str(seed), seed, mse)
            for seed, mse in ((0, 0.1), (1, 0.2), (2, 0.6))
        )
    )
    # 0.1, 0.2 and 0.6: mean 0.3, squared deviations 0.04, 0.01 and 0.09, divided by 2
    first = page.row("net")
    assert first[0] == (
        "netautoencoder, closed form, seed 0, in 0 and 2 more, mean ± standard deviation"
    )
    assert first[1:] == ["train", "0.1500 ± 0.1323", DASH]
    assert page.below(first) == ["val", "0.3000 ± 0.2646", DASH]
    assert len(page.values("article", "id")) == 3


def test_a_run_that_began_from_another_seeds_encoder_is_a_replicate(tmp_path):
    page = report(
        with_seed(tmp_path / "a", 0, 0.1, config={"init_from": "runs/x"}),
        with_seed(tmp_path / "b", 1, 0.3, config={"init_from": "runs/y"}),
    )
    assert page.below(page.row("net")) == ["val", "0.2000 ± 0.1414", DASH]


def test_runs_that_differ_in_more_than_their_seed_have_rows_of_their_own(tmp_path):
    page = report(
        with_seed(tmp_path / "a", 0, 0.1),
        with_seed(tmp_path / "b", 1, 0.2, config={"batch_size": 8}),
        with_seed(tmp_path / "c", 2, 0.3, run={"dataset": {"name": "toy", "fingerprint": "other"}}),
    )
    rows = [row for row in page.rows if row[0].startswith("netauto")]
    assert [page.below(row)[1] for row in rows] == ["0.1000", "0.2000", "0.3000"]
    assert not any("±" in cell for row in rows for cell in row)


def test_seeds_that_are_not_finished_are_counted_and_left_out_of_the_mean(tmp_path):
    page = report(
        with_seed(tmp_path / "a", 0, 0.1),
        with_seed(tmp_path / "b", 1, 0.9, finished=False),
        with_seed(tmp_path / "c", 2, 0.3),
    )
    row = page.row("net")
    assert row[0].endswith("and 2 more, mean ± standard deviation; 1 unfinished")
    assert page.below(row) == ["val", "0.2000 ± 0.1414", DASH]
    assert "3 runs · 1 unfinished" in page.text


def test_seeds_of_which_none_is_finished_say_how_far_the_first_came(tmp_path):
    page = report(
        *(with_seed(tmp_path / str(seed), seed, 1, epochs=4, finished=False) for seed in (0, 1))
    )
    assert page.row("net")[1:] == ["unfinished: last epoch 4 of 4"]


def test_baselines_of_runs_without_pictures_are_left_out(tmp_path):
    """A trade-off over many code sizes has a PCA and a DCT for each."""
    drawn, plain = (
        write_run(
            tmp_path / name, results={"baselines": {f"PCA of {name}": {"val": {"mse": 0.01}}}}
        )
        for name in ("drawn", "plain")
    )
    page = report(drawn, without_pictures=[plain])
    assert page.row("plain")[1] == "train"
    assert "PCA of drawn" in page.text
    assert "PCA of plain" not in page.text
    assert "PCA of plain" in report(plain).text


def test_an_unfinished_run_is_listed_with_its_last_epoch(tmp_path):
    directory = write_run(tmp_path / "run", epochs=2, finished=False, config={"epochs": 30})
    page = report(directory)
    assert page.row("run")[1:] == ["unfinished: last epoch 2 of 30"]
    assert "1 run · 1 unfinished" in page.text
