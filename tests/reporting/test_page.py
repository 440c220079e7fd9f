"""The report: what it says of run directories, and that it needs nothing beside itself."""

import base64
import errno
import io
import json
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vocjax import runs
from vocjax.errors import UserError
from vocjax.reporting.page import METRICS, write_report

METRIC_VALUES = {
    "reconstruction": {"loss": 0.0312, "mse": 0.0312, "mae": 0.1313, "psnr": 15.123},
    "classification": {"loss": 0.5, "log_loss": 0.5, "elementwise_accuracy": 0.875},
    "segmentation": {"loss": 0.35, "soft_dice": 0.63, "soft_iou": 0.48},
}
DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
VOID_ELEMENTS = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The rows, texts and attributes of a page whose elements are properly nested."""

    def __init__(self, html):
        super().__init__()
        self.open, self.rows, self.attributes, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""
        if "tr" in self.open:
            self.rows[-1][-1] += data

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]

    def row(self, start):
        """The cells of the row whose first cell starts with a text."""
        (found,) = (row for row in self.rows if row[0].startswith(start))
        return found


def figures_of(task):
    return lambda samples, config: {f"{task} of {len(samples['image'])} images": Figure((1, 1))}


def write_run(directory, task="reconstruction", epochs=0, finished=True, **changes):
    """Write a run directory; `changes` go into run.json, its config and its results."""
    directory.mkdir(parents=True)
    values = METRIC_VALUES[task]
    config = {
        "task": task,
        "name": directory.name,
        "model": {"name": "autoencoder", "encoder": [8, 4]},
        "data": {"dataset": "toy", "size": 64, "channels": 3, "classes": ["cat", "dog"]},
        "optimizer": {"name": "rmsprop"},
        "epochs": epochs,
        "seed": 7,
    }
    provenance = {
        "command": f"vocjax train --workdir runs/{directory.name}",
        "seed": 7,
        "commit": "0123abc",
        "dirty": False,
        "versions": {"jax": "1.2.3"},
        "python": "3.11.9",
        "device": {"platform": "cpu", "kind": "cpu", "count": 2},
        "dataset": {
            "name": "toy",
            "fingerprint": "f00dcafe99",
            "partial": False,
            "source": "drawn",
        },
        "started": "2026-01-01T00:00:00+00:00",
        "parameters": 798163,
        "images": {"train": 517, "val": 539},
    }
    final = {
        "epoch": epochs,
        "step": 17 * epochs,
        "seconds": 73.25,
        "train": values,
        "val": values,
        "best": {"metric": "loss", "epoch": epochs, "value": 0.5} if epochs else None,
        "baselines": {},
    }
    (directory / "config.json").write_text(json.dumps(config | changes.get("config", {})))
    (directory / "run.json").write_text(json.dumps(provenance | changes.get("run", {})))
    lines = [{"epoch": epoch, "train": values, "val": values} for epoch in range(1, epochs + 1)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        (directory / "results.json").write_text(json.dumps(final | changes.get("results", {})))
    return directory


def report(*directories, draw=figures_of):
    output = directories[0].parent / "report.html"
    write_report(directories, output, draw)
    return Page(output.read_text(encoding="utf-8"))


class TestTable:
    def test_a_row_for_each_run_and_split_with_values_to_their_digits(self, tmp_path):
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

    def test_the_study_stands_below_with_its_own_digits_and_mark(self, tmp_path):
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
    def test_the_page_says_when_the_study_had_other_data(self, tmp_path, name, partial, other):
        dataset = {"name": name, "partial": partial}
        page = report(write_run(tmp_path / "run", run={"dataset": dataset}))
        assert ("come from other data" in page.text) == other
        assert (f"{name} (partial)" in page.text) == partial

    def test_the_tasks_come_in_the_studys_order(self, tmp_path):
        tasks = ("segmentation", "reconstruction", "classification")
        page = report(*(write_run(tmp_path / task, task) for task in tasks))
        assert page.values("section", "id") == [*runs.TASKS, "made"]

    def test_tasks_without_a_run_are_left_out(self, tmp_path):
        page = report(write_run(tmp_path / "run", "classification"))
        assert page.values("section", "id") == ["classification", "made"]

    def test_missing_values_are_dashes_and_unknown_metrics_keep_their_name(self, tmp_path):
        values = {"mse": 0.5, "zeal": 0.123456, "loss": None}
        page = report(write_run(tmp_path / "run", results={"train": {"mse": 0.25}, "val": values}))
        assert page.row("Run")[2:] == ["MSE\xa0↓", "MAE\xa0↓", "loss\xa0↓", "zeal"]
        assert page.row("run")[1:] == ["train", "0.2500", DASH, DASH, DASH]
        assert ["val", "0.5000", DASH, DASH, "0.1235"] in page.rows

    def test_runs_on_other_data_stand_apart_each_with_its_baselines(self, tmp_path):
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

    def test_baselines_appear_once_whatever_the_runs_losses_are(self, tmp_path):
        directories = [
            write_run(
                tmp_path / f"run {loss}",
                results={"baselines": {"mean image": {"val": {"mse": 0.0707, "loss": loss}}}},
            )
            for loss in (1, 2)
        ]
        page = report(*directories)
        assert page.row("mean image") == ["mean imagebaseline", "val", "0.0707", DASH, DASH, DASH]

    def test_baselines_that_differ_name_their_runs(self, tmp_path):
        directories = [
            write_run(
                tmp_path / name, results={"baselines": {"mean image": {"val": {"mse": value}}}}
            )
            for name, value in (("run a", 0.1), ("run b", 0.2))
        ]
        page = report(*directories)
        assert page.row("mean imagebaseline of run a")[2] == "0.1000"
        assert page.row("mean imagebaseline of run b")[2] == "0.2000"

    def test_an_unfinished_run_is_listed_with_its_last_epoch(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=2, finished=False, config={"epochs": 30})
        page = report(directory)
        assert page.row("run")[1:] == ["unfinished: last epoch 2 of 30"]
        assert "1 run · 1 unfinished" in page.text


class TestFigures:
    def images(self, page):
        for source in page.values("img", "src"):
            head, data = source.split(",")
            assert head == "data:image/png;base64"
            yield Image.open(io.BytesIO(base64.b64decode(data)))

    def test_learning_curves_show_the_loss_and_what_is_not_the_loss_again(self, tmp_path):
        page = report(write_run(tmp_path / "run", epochs=3))
        described = page.values("img", "alt")
        assert described == ["run: loss by epoch", "run: mae by epoch"]  # mse is the loss
        assert "best loss on val at epoch 3" in page.text
        assert all(image.size > (300, 200) for image in self.images(page))

    def test_without_epochs_there_are_no_curves(self, tmp_path):
        page = report(write_run(tmp_path / "run", epochs=0, results={"seconds": 0.0}))
        assert "OutcomefinishedCommand" in page.text
        assert not page.values("img", "alt")
        assert "closed form" in page.row("run")[0]

    def test_the_tasks_figures_are_drawn_from_the_samples(self, tmp_path):
        directory = write_run(tmp_path / "run")
        np.savez(directory / "samples.npz", image=np.zeros((5, 2, 2, 3)))
        page = report(directory)
        assert page.values("img", "alt") == ["run: reconstruction of 5 images"]
        assert len(list(self.images(page))) == 1


class TestProvenance:
    def test_it_tells_how_a_number_was_made(self, tmp_path):
        page = report(write_run(tmp_path / "run", epochs=2, run={"dirty": True}))
        for fact in (
            "finished: 2 epochs, 34 steps, 73.2 s",
            "vocjax train --workdir runs/run",
            "0123abc, with uncommitted changes",
            f"2 {TIMES} cpu",
            "Python 3.11.9, jax 1.2.3",
            f"toy · 64{TIMES}64{TIMES}3 · cat, dog · 517 train, 539 val, complete, drawn",
            "f00dcafe99",
            "798,163",
            "2026-01-01T00:00:00+00:00",
            "model.encoder = [8, 4]",
            'optimizer.name = "rmsprop"',
        ):
            assert fact in page.text
        assert page.values("a", "href").count("#run-1") == 1
        assert "run-1" in page.values("article", "id")

    def test_a_resumed_run_names_every_commit_it_ran_on(self, tmp_path):
        starts = [
            {"time": "monday", "commit": "aaa", "dirty": False},
            {"time": "tuesday", "commit": "bbb", "dirty": True},
            {"time": "sunday", "commit": "aaa", "dirty": False},
        ]
        page = report(write_run(tmp_path / "run", run={"starts": starts}))
        assert "aaa; then bbb, with uncommitted changes" in page.text
        assert "resumed tuesday, resumed sunday" in page.text

    def test_a_run_that_tells_nothing_is_all_dashes(self, tmp_path):
        directory = tmp_path / "bare"
        directory.mkdir()
        (directory / "config.json").write_text('{"task": "segmentation"}')
        page = report(directory)
        assert page.row("bare") == ["barein bare", "unfinished: last epoch 0"]
        for name in ("Command", "Seed", "Commit", "Device", "Versions", "Parameters", "Started"):
            assert f"{name}{DASH}" in page.text


class TestPage:
    def test_it_asks_for_nothing_from_outside(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=1)
        page = report(directory)
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        linked = [
            v for _, name, v in page.attributes if name in ("src", "href", "action", "srcset")
        ]
        assert linked
        assert all(value.startswith(("data:", "#")) for value in linked)
        assert not any(
            word in html for word in ("<script", "@import", "url(", "http://", "https://")
        )

    def test_links_within_the_page_lead_somewhere(self, tmp_path):
        page = report(*(write_run(tmp_path / task, task) for task in runs.TASKS))
        places = {f"#{value}" for _, name, value in page.attributes if name == "id"}
        assert set(page.values("a", "href")) <= places

    def test_everything_from_a_run_is_escaped(self, tmp_path):
        hostile = "<script>alert('&\"')</script>"
        directory = write_run(
            tmp_path / "run",
            epochs=1,
            config={"name": hostile, "model": {"name": hostile}, hostile: hostile},
            run=dict.fromkeys(("command", "seed", "commit", "started", "python"), hostile)
            | {
                "versions": {hostile: hostile},
                "dataset": {"name": hostile, "fingerprint": hostile, "source": hostile},
                "device": {"kind": hostile, "count": hostile},
                "images": {hostile: hostile},
            },
            results={
                "val": {"loss": 1.0, hostile: hostile},
                "best": {"metric": hostile, "epoch": 1},
                "baselines": {hostile: {"val": {hostile: hostile}}},
            },
        )
        np.savez(directory / "samples.npz", image=np.zeros(1))
        page = report(directory, draw=lambda task: lambda *_: {hostile: Figure((1, 1))})
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "<script" not in html
        assert page.text.count(hostile) >= 15
        assert f"{hostile}: {hostile}" in page.values("img", "alt")

    def test_the_same_runs_give_the_same_page(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=1)
        for name in ("one.html", "two.html"):
            write_report([directory], tmp_path / name, figures_of)
        assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()

    def test_a_report_that_fails_leaves_the_old_one(self, tmp_path):
        directory = write_run(tmp_path / "run")
        np.savez(directory / "samples.npz", image=np.zeros(1))
        report(directory)
        before = (tmp_path / "report.html").read_bytes()

        def fail(*_):
            raise RuntimeError("can't draw")

        with pytest.raises(RuntimeError, match="can't draw"):
            report(directory, draw=lambda task: fail)
        assert (tmp_path / "report.html").read_bytes() == before
        assert {path.name for path in tmp_path.iterdir()} == {"run", "report.html"}

    def test_a_write_that_fails_leaves_the_old_one(self, tmp_path, monkeypatch):
        directory = write_run(tmp_path / "run")
        report(directory)
        before = (tmp_path / "report.html").read_bytes()

        def half(path, text, **_):
            path.write_bytes(text[:10].encode())
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(Path, "write_text", half)
        with pytest.raises(UserError, match="no space left"):
            write_report([directory], tmp_path / "report.html", figures_of)
        assert (tmp_path / "report.html").read_bytes() == before
        assert {path.name for path in tmp_path.iterdir()} == {"run", "report.html"}

    def test_the_folder_of_the_output_is_made(self, tmp_path):
        output = tmp_path / "new" / "folder" / "report.html"
        write_report([write_run(tmp_path / "run")], output, figures_of)
        assert list(output.parent.iterdir()) == [output]

    def test_an_output_that_is_no_file_is_refused(self, tmp_path):
        directory = write_run(tmp_path / "run")
        for output in (tmp_path, directory / "config.json" / "report.html"):
            with pytest.raises(UserError, match=f"Can't write the report to {output}"):
                write_report([directory], output, figures_of)

    def test_the_study_is_told_in_our_metrics(self):
        text = resources.files("vocjax.reporting").joinpath("study.json").read_text("utf-8")
        study = json.loads(text)
        assert [len(study[task]["rows"]) for task in runs.TASKS] == [2, 3, 6]
        for task in runs.TASKS:
            for row in study[task]["rows"]:
                assert row["val"].keys() | row.get("train", {}).keys() <= METRICS.keys()


class TestReading:
    def test_a_folder_of_runs_is_read_by_start_and_no_run_twice(self, tmp_path):
        for name, started in (("a", "2026-01-03"), ("b", "2026-01-01"), ("c", "2026-01-02")):
            write_run(tmp_path / name, run={"started": started})
        (tmp_path / "notes").mkdir()
        found = runs.read_runs([tmp_path / "c", tmp_path])
        assert [run.name for run in found] == ["c", "b", "a"]

    def test_a_resumed_epoch_counts_once_and_half_a_last_line_not_at_all(self, tmp_path):
        directory = write_run(tmp_path / "run")
        lines = ['{"epoch": 2, "step": 1}', '{"epoch": 1}', '{"epoch": 2, "step": 2}', '{"epo']
        (directory / "metrics.jsonl").write_text("\n".join(lines))
        assert runs.read_run(directory).epochs == [{"epoch": 1}, {"epoch": 2, "step": 2}]

    @pytest.mark.parametrize("kind", ["empty", "missing", "file"])
    def test_what_is_no_run_is_named(self, tmp_path, kind):
        path = tmp_path / kind
        if kind == "empty":
            path.mkdir()
        elif kind == "file":
            path.write_text("")
        with pytest.raises(UserError, match=rf"{path} .*(no run|does not exist|is a file)"):
            runs.read_runs([write_run(tmp_path / "run"), path])

    def test_no_directory_at_all_is_refused(self):
        with pytest.raises(UserError, match="No run directory given"):
            runs.read_runs([])

    def test_another_task_is_refused(self, tmp_path):
        directory = write_run(tmp_path / "run", config={"task": "detection"})
        with pytest.raises(UserError, match="task is 'detection', expected one of reconstruction"):
            runs.read_runs([directory])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("config.json", "{"),
            ("run.json", "[]"),
            ("results.json", ""),
            ("metrics.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n'),
            ("samples.npz", "PK"),
        ],
    )
    def test_a_broken_file_is_named(self, tmp_path, name, content):
        directory = write_run(tmp_path / "run")
        (directory / name).write_text(content)
        with pytest.raises(UserError, match=f"{directory / name} can't be read"):
            runs.read_runs([directory])
