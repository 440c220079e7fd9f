"""Small runs, in memory and as directories, and a page read back."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vocjax.reporting import page
from vocjax.runs.reader import Run

METRIC_VALUES = {
    "reconstruction": {"loss": 0.0312, "mse": 0.0312, "mae": 0.1313, "psnr": 15.123},
    "classification": {"loss": 0.5, "log_loss": 0.5, "elementwise_accuracy": 0.875},
    "segmentation": {"loss": 0.35, "soft_dice_per_image": 0.63, "soft_iou_per_image": 0.48},
}
DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
VOID_ELEMENTS = {"meta", "link", "img", "br"}


def run_of(task, name="run", results=None, samples=None, images=100, **fields):
    """A run in memory; `fields` of the config: `seed`, or "data.masks" by its full name."""
    config = {"task": task, "name": name, "seed": 0}
    for field, value in fields.items():
        *group, key = field.split(".")
        (config.setdefault(group[0], {}) if group else config)[key] = value
    return Run(Path(name), config, {"images": {"train": images}}, [], results, samples or {})


def codes_of(stage="", shift=0):
    """What a run keeps of 5 + 4 images that show a dog, and of the codes of all but the last."""
    samples = {}
    for split, n in (("train", 5), ("val", 4)):
        samples |= {
            f"{split}/labels": np.array([[-1, 1]]) * np.ones((n, 1)),
            f"{split}/ids": np.array([f"{split}{i}" for i in range(n)]),
            f"{split}/thumbnail": np.full((n, 4, 4, 3), np.arange(n)[:, None, None, None], "u1"),
            f"{stage}{split}/embedded": np.arange(n - 1),
            f"{stage}{split}/principal": np.full((n - 1, 2), shift),
            f"{stage}{split}/tsne": np.full((n - 1, 2), 10 + shift),
        }
    return samples


def write_run(directory, task="reconstruction", epochs=0, finished=True, **changes):
    """Write a run directory; `changes` go into run.json, its config and its results."""
    directory.mkdir(parents=True)
    values = METRIC_VALUES[task]
    config = {
        "task": task,
        "name": directory.name,
        "model": {"name": "autoencoder", "encoder": [8, 4], "target": "foreground"},
        "data": {"dataset": "toy", "size": 64, "channels": 3, "classes": ["cat", "dog"]},
        "loss": {"name": "mse"},
        "optimizer": {"name": "rmsprop"},
        "epochs": epochs,
        "seed": 7,
    }
    dataset = {"name": "toy", "fingerprint": "f00dcafe99", "partial": False, "source": "drawn"}
    provenance = {
        "command": f"vocjax train --workdir runs/{directory.name}",
        "seed": 7,
        "commit": "0123abc",
        "dirty": False,
        "versions": {"jax": "1.2.3"},
        "python": "3.11.9",
        "device": {"platform": "cpu", "kind": "cpu", "count": 2},
        "dataset": dataset,
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
        """The cells of the first row whose first cell starts with a text."""
        return next(row for row in self.rows if row[0].startswith(start))

    def below(self, row):
        return self.rows[self.rows.index(row) + 1]


def count_images(run):
    """A task's figures: one, whose title has the number of images."""
    return {f"figure of {len(run.samples['image'])} images": Figure((1, 1))}


def report(*directories, draw=count_images, **options):
    """The page of run directories, drawn by one function whatever their task is.

    `options` are those of `write_report`.
    """
    output = directories[0].parent / "report.html"
    chapters = [c._replace(figures=draw, lead=lambda _: {}) for c in page.CHAPTERS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "CHAPTERS", chapters)
        page.write_report(directories, output, **options)
    return Page(output.read_text(encoding="utf-8"))
