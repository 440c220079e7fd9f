"""The report: what it says of run directories, and that it needs nothing beside itself."""

import base64
import errno
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from example_runs import DASH, TIMES, report, write_run
from matplotlib.figure import Figure
from PIL import Image

from vocjax.errors import UserError
from vocjax.reporting.hover import Scatter
from vocjax.reporting.page import write_report
from vocjax.runs import reader


def one_point(text):
    """A scatter of one image, whose texts are all the same."""
    return Scatter(
        {text: np.zeros((1, 2))},
        np.zeros(1, int),
        [text],
        np.array([True]),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.array([text]),
    )


class TestFigures:
    def images(self, page):
        for source in page.values("img", "src"):
            head, data = source.split(",")
            assert head == "data:image/webp;base64"
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
        assert page.values("img", "alt") == ["run: figure of 5 images"]
        assert len(list(self.images(page))) == 1

    def test_what_the_parameters_tell_is_drawn_in_the_place_of_the_metric(self, tmp_path):
        directory = write_run(tmp_path / "run")
        values = {"loss": 0.5, "mse": 0.5, "mae": 0.25}
        lines = (
            {"epoch": epoch, "train": values, "val": values, "model": {"angle": 90 / epoch}}
            for epoch in (1, 2)
        )
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        page = report(directory)
        assert page.values("img", "alt") == ["run: loss by epoch", "run: angle by epoch"]

    def test_the_level_of_pca_is_dotted_where_it_was_measured(self, tmp_path):
        values = {split: {"loss": 0.01, "mse": 0.01} for split in ("train", "val")}
        for name, said in (("PCA, at most 3 components", True), ("mean image", False)):
            directory = write_run(tmp_path / name, epochs=2, results={"baselines": {name: values}})
            assert ("dotted: PCA" in report(directory).text) == said

    def test_of_several_seeds_the_first_is_drawn_and_others_only_where_asked_for(self, tmp_path):
        configs = {
            "first": {"name": "AE", "seed": 0},
            "second": {"name": "AE", "seed": 1},
            "other": {"name": "VAE"},
            "plain": {"name": "PCA"},
        }
        for n, (name, config) in enumerate(configs.items(), 1):
            directory = write_run(tmp_path / name, config=config)
            np.savez(directory / "samples.npz", image=np.zeros(n))
        drawn = [tmp_path / name for name in ("second", "first", "other")]
        page = report(*drawn, without_pictures=[tmp_path / "plain"])
        assert page.values("img", "alt") == ["AE: figure of 2 images", "VAE: figure of 3 images"]
        assert len(page.values("article", "id")) == 4  # all of them tell how they were made

    def test_runs_on_the_same_data_are_compared(self, tmp_path):
        """Those without pictures too: that is what they are there for."""
        sizes = [
            write_run(
                tmp_path / str(size),
                config={"model": {"name": "autoencoder", "encoder": [size]}},
                results={"code": size},
                run={"dataset": {"name": data, "fingerprint": data}},
            )
            for data, size in (("toy", 16), ("toy", 64), ("toy", 256), ("voc2009", 512))
        ]
        page = report(sizes[0], without_pictures=sizes[1:])
        (told,) = page.values("img", "alt")
        assert told.startswith("Reconstruction error against the numbers in the code")
        assert told.endswith(f"(toy · 64{TIMES}64{TIMES}3 · cat, dog · 517 train, 539 val · toy)")
        assert not report(sizes[0], without_pictures=sizes[2:]).values("img", "alt")

    def test_a_run_named_among_both_has_no_pictures(self, tmp_path):
        directory = write_run(tmp_path / "runs" / "a", epochs=1)
        output = tmp_path / "report.html"
        write_report([tmp_path / "runs"], output, without_pictures=[directory])
        assert "<img" not in output.read_text(encoding="utf-8")


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
        np.savez(directory / "samples.npz", image=np.zeros(1))
        page = report(directory, draw=lambda *_: {"all": one_point("an image")})
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        linked = [
            v for _, name, v in page.attributes if name in ("src", "href", "action", "srcset")
        ]
        assert linked
        assert all(value.startswith(("data:", "#")) for value in linked)
        assert not any(word in html for word in ("<script", "@import", "http://", "https://"))
        assert re.findall(r"url\((.{22})", html) == ["data:image/jpeg;base64"]
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
        assert "default-src 'none'" in policy
        assert "script" not in policy

    def test_links_within_the_page_lead_somewhere(self, tmp_path):
        page = report(*(write_run(tmp_path / task, task) for task in reader.TASKS))
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
        drawn = {hostile: Figure((1, 1)), f"{hostile} again": one_point(hostile)}
        page = report(directory, draw=lambda *_: drawn)
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "<script" not in html
        assert page.text.count(hostile) >= 15
        assert f"{hostile}: {hostile}" in page.values("img", "alt")
        assert page.values("i", "data-id") == [hostile]
        assert page.values("div", "aria-label")[-1] == hostile

    def test_the_same_runs_give_the_same_page(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=1)
        for name in ("one.html", "two.html"):
            write_report([directory], tmp_path / name)
        assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()

    def test_a_report_that_fails_leaves_the_old_one(self, tmp_path):
        directory = write_run(tmp_path / "run")
        np.savez(directory / "samples.npz", image=np.zeros(1))
        report(directory)
        before = (tmp_path / "report.html").read_bytes()

        def fail(*_):
            raise RuntimeError("can't draw")

        with pytest.raises(RuntimeError, match="can't draw"):
            report(directory, draw=fail)
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
            write_report([directory], tmp_path / "report.html")
        assert (tmp_path / "report.html").read_bytes() == before
        assert {path.name for path in tmp_path.iterdir()} == {"run", "report.html"}

    def test_the_folder_of_the_output_is_made(self, tmp_path):
        output = tmp_path / "new" / "folder" / "report.html"
        write_report([write_run(tmp_path / "run")], output)
        assert list(output.parent.iterdir()) == [output]

    def test_an_output_that_is_no_file_is_refused(self, tmp_path):
        directory = write_run(tmp_path / "run")
        for output in (tmp_path, directory / "config.json" / "report.html"):
            with pytest.raises(UserError, match=f"Can't write the report to {output}"):
                write_report([directory], output)
