"""The report: what it says of run directories, and that it needs no other file."""

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


def one_point(text):
    """A scatter of one image, whose texts are all the same."""
    views, thumbnail = {text: np.zeros((1, 2))}, np.zeros((1, 4, 4, 3), np.uint8)
    return Scatter(views, np.array([0]), [text], np.array([True]), thumbnail, np.array([text]))


class TestChapters:
    def test_the_steps_come_in_order_and_those_without_a_run_are_left_out(self, tmp_path):
        runs = [write_run(tmp_path / t, t) for t in ("segmentation", "reconstruction")]
        runs.append(write_run(tmp_path / "linear", config={"model": {"name": "pca"}}))
        page = report(*runs)
        ids = ["outcome", "linear-code", "convolutional-code", "segmenter", "made"]
        assert page.values("section", "id") == ids
        places = {f"#{value}" for _, name, value in page.attributes if name == "id"}
        assert set(page.values("a", "href")) <= places  # every link leads somewhere
        assert "3 runs" in page.text and "unfinished" not in page.text

    @pytest.mark.parametrize(
        ("name", "partial", "other"),
        [("voc2009", False, False), ("voc2009", True, True), ("toy", False, True)],
    )
    def test_the_page_says_when_the_study_had_other_data(self, tmp_path, name, partial, other):
        run = write_run(tmp_path / "run", run={"dataset": {"name": name, "partial": partial}})
        page = report(run)
        assert ("come from other data" in page.text) == other
        assert (f"{name} (partial)" in page.text) == partial


class TestPictures:
    def test_learning_curves_show_the_loss_and_what_is_not_the_loss_again(self, tmp_path):
        page = report(write_run(tmp_path / "run", epochs=3))
        described = page.values("img", "alt")
        assert described == ["run: loss by epoch", "run: mae by epoch"]  # mse is the loss
        assert "best loss on val at epoch 3" in page.text
        for source in page.values("img", "src"):
            head, data = source.split(",")
            assert head == "data:image/webp;base64"
            assert Image.open(io.BytesIO(base64.b64decode(data))).size > (300, 200)

    def test_without_epochs_there_are_no_curves(self, tmp_path):
        page = report(write_run(tmp_path / "run", results={"seconds": 0.0}))
        assert "OutcomefinishedCommand" in page.text
        assert not page.values("img", "alt")

    def test_a_metric_of_the_parameters_is_drawn_in_the_place_of_the_metric(self, tmp_path):
        directory = write_run(tmp_path / "run")
        values = {"loss": 0.5, "mse": 0.5, "mae": 0.25}
        line = {"epoch": 1, "train": values, "val": values, "model": {"angle": 90}}
        (directory / "metrics.jsonl").write_text(json.dumps(line))
        page = report(directory)
        assert page.values("img", "alt") == ["run: loss by epoch", "run: angle by epoch"]

    def test_the_level_of_pca_is_dotted_where_it_was_measured(self, tmp_path):
        values = {split: {"loss": 0.01, "mse": 0.01} for split in ("train", "val")}
        for name, dotted in (("PCA, at most 3 components", True), ("mean image", False)):
            directory = write_run(tmp_path / name, epochs=1, results={"baselines": {name: values}})
            assert ("dotted: PCA" in report(directory).text) == dotted

    def test_of_several_seeds_the_first_is_drawn_and_others_only_where_asked_for(self, tmp_path):
        configs = {"first": {"name": "AE", "seed": 0}, "second": {"name": "AE", "seed": 1}}
        configs |= {"other": {"name": "VAE"}, "plain": {"name": "PCA"}}
        for n, (name, config) in enumerate(configs.items(), 1):
            directory = write_run(tmp_path / "runs" / name, config=config)
            np.savez(directory / "samples.npz", image=np.zeros(n))
        folder = tmp_path / "runs"
        drawn = [folder / name for name in ("second", "first", "other")]
        page = report(*drawn, without_pictures=[folder / "plain"])
        assert page.values("img", "alt") == ["AE: figure of 2 images", "VAE: figure of 3 images"]
        assert len(page.values("article", "id")) == 4  # how each of them was made
        # A run that is named in both has no pictures.
        page = report(folder, without_pictures=[folder / "first", folder / "second"])
        assert page.values("img", "alt") == ["VAE: figure of 3 images", "PCA: figure of 4 images"]

    def test_runs_on_the_same_data_are_compared_with_those_without_pictures(self, tmp_path):
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
        (described,) = page.values("img", "alt")
        assert described.startswith("Reconstruction error against the numbers in the code")
        data = f"toy · 64{TIMES}64{TIMES}3 · cat, dog · 517 train, 539 val · toy"
        assert described.endswith(f"({data})")
        assert not report(sizes[0], without_pictures=sizes[2:]).values("img", "alt")


class TestProvenance:
    def test_it_says_how_a_number_was_made(self, tmp_path):
        starts = [
            {"time": "monday", "commit": "0123abc", "dirty": False},
            {"time": "tuesday", "commit": "bbb", "dirty": True},
            {"time": "sunday", "commit": "0123abc", "dirty": False},
        ]
        page = report(write_run(tmp_path / "run", epochs=2, run={"starts": starts}))
        for fact in (
            "finished: 2 epochs, 34 steps, 73.2 s",
            "vocjax train --workdir runs/run",
            "0123abc; then bbb, with uncommitted changes",
            f"2 {TIMES} cpu",
            "Python 3.11.9, jax 1.2.3",
            f"toy · 64{TIMES}64{TIMES}3 · cat, dog · 517 train, 539 val, complete, drawn",
            "f00dcafe99",
            "798,163",
            "2026-01-01T00:00:00+00:00, resumed tuesday, resumed sunday",
            "model.encoder = [8, 4]",
            'optimizer.name = "rmsprop"',
        ):
            assert fact in page.text
        assert page.values("a", "href").count("#run-1") == 2  # from both tables
        assert "run-1" in page.values("article", "id")

    def test_runs_that_are_missing_are_named_with_the_reason(self, tmp_path):
        write_run(tmp_path / "run")
        page = report(tmp_path / "run", failed={"bad": "the loss is <nan>"})
        assert "Not finished, and not in this report:" in page.text
        assert "bad: the loss is <nan>" in page.text
        assert "Not finished" not in report(tmp_path / "run").text

    def test_what_is_not_known_is_a_dash(self, tmp_path):
        directory = tmp_path / "bare"
        directory.mkdir()
        (directory / "config.json").write_text('{"task": "segmentation"}')
        page = report(directory)
        assert page.row("bare") == ["barein bare", "unfinished: last epoch 0"]
        assert "1 run · 1 unfinished" in page.text
        for name in ("Command", "Seed", "Commit", "Device", "Versions", "Parameters", "Started"):
            assert f"{name}{DASH}" in page.text


class TestFile:
    def test_it_asks_for_nothing_from_outside(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=1)
        np.savez(directory / "samples.npz", image=np.zeros(1))
        page = report(directory, draw=lambda _: {"all": one_point("an image")})
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        names = ("src", "href", "action", "srcset")
        linked = [value for _, name, value in page.attributes if name in names]
        assert linked
        assert all(value.startswith(("data:", "#")) for value in linked)
        assert not any(word in html for word in ("<script", "@import", "http://", "https://"))
        assert re.findall(r"url\((.{22})", html) == ["data:image/jpeg;base64"]
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
        assert "default-src 'none'" in policy
        assert "script" not in policy

    def test_everything_from_a_run_is_escaped(self, tmp_path):
        hostile = "<script>alert('&\"')</script>"
        directory = write_run(
            tmp_path / "run",
            epochs=1,
            config={"name": hostile, "model": {"name": hostile}, hostile: hostile},
            run=dict.fromkeys(("command", "seed", "commit", "started", "python"), hostile)
            | {key: {hostile: hostile} for key in ("versions", "images")}
            | {
                "dataset": {"name": hostile, "fingerprint": hostile, "source": hostile},
                "device": {"kind": hostile, "count": hostile},
            },
            results={
                "val": {"loss": 1.0, hostile: hostile},
                "best": {"metric": hostile, "epoch": 1},
                "baselines": {hostile: {"val": {hostile: hostile}}},
            },
        )
        np.savez(directory / "samples.npz", image=np.zeros(1))
        drawn = {hostile: Figure((1, 1)), f"{hostile} again": one_point(hostile)}
        page = report(directory, draw=lambda _: drawn)
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "<script" not in html
        assert page.text.count(hostile) >= 15
        assert f"{hostile}: {hostile}" in page.values("img", "alt")
        assert page.values("i", "data-id") == [hostile]
        assert page.values("div", "aria-label")[-1] == hostile

    def test_a_new_folder_is_made_and_the_same_runs_give_the_same_page(self, tmp_path):
        directory = write_run(tmp_path / "run", epochs=1)
        outputs = [tmp_path / "new" / "folder" / f"{name}.html" for name in ("one", "two")]
        for output in outputs:
            write_report([directory], output)
        assert outputs[0].read_bytes() == outputs[1].read_bytes()
        assert sorted(outputs[0].parent.iterdir()) == outputs

    def test_a_report_that_fails_leaves_the_old_one(self, tmp_path, monkeypatch):
        directory = write_run(tmp_path / "run")
        np.savez(directory / "samples.npz", image=np.zeros(1))
        report(directory)
        before = (tmp_path / "report.html").read_bytes()

        def fail(_):
            raise RuntimeError("can't draw")

        def half(path, text, **_):
            path.write_bytes(text[:10].encode())
            raise OSError(errno.ENOSPC, "no space left")

        with pytest.raises(RuntimeError, match="can't draw"):
            report(directory, draw=fail)
        monkeypatch.setattr(Path, "write_text", half)
        with pytest.raises(UserError, match="no space left"):
            report(directory)
        assert (tmp_path / "report.html").read_bytes() == before
        assert {path.name for path in tmp_path.iterdir()} == {"run", "report.html"}

    def test_an_output_that_is_no_file_is_refused(self, tmp_path):
        directory = write_run(tmp_path / "run")
        for output in (tmp_path, directory / "config.json" / "report.html"):
            with pytest.raises(UserError, match=f"Can't write the report to {output}"):
                write_report([directory], output)
