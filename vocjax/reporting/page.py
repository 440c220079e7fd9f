"""The report: run directories in, one self-contained HTML file out."""

import base64
import errno
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vocjax.errors import UserError
from vocjax.reporting import classification, figures, hover, reconstruction, segmentation
from vocjax.reporting.hover import Scatter
from vocjax.reporting.table import MISSING, in_order, results_table
from vocjax.runs.reader import TASKS, Run, by_data, counted, joined, lookup, read_runs, replicates

Drawn = Mapping[str, Figure | Scatter]
Draw = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Drawn]

FIGURES: Mapping[str, Draw] = {
    "reconstruction": reconstruction.figures,
    "classification": classification.figures,
    "segmentation": segmentation.figures,
}
# Pictures of several runs together.
COMPARISONS: Mapping[str, Callable[[Sequence[Run], Sequence[Mapping[str, Any]]], Drawn]] = {
    "reconstruction": reconstruction.comparison,
    "classification": classification.comparison,
    "segmentation": segmentation.comparison,
}

RESOURCES = resources.files("vocjax.reporting")
NOTES = {
    "reconstruction": "Images through a code and back. Errors are those of intensities in [0, 1], "
    "each image's own, averaged; PSNR too, beside that of the data set's MSE.",
    "classification": "Which classes an image shows. Element-wise accuracy is the share of an "
    "image's classes that are right, averaged over images, as the log loss is, exact match the "
    "share of images of which all are, and argmax accuracy that of images whose likeliest class is "
    "present; balanced accuracy is the mean over classes. "
    "The log loss is in nats. Average precision is VOC's, by the 11-point rule of 2007 to 2009 and "
    "by every point; ECE is the expected calibration error. All are of the whole split.",
    "segmentation": "Which pixels belong to an object, or to which class. Dice is that of the "
    "foreground, all classes together: per image, then averaged, or of the set, all of its pixels "
    "at once; soft from probabilities, hard from decisions. A pixel is decided for above a "
    "probability of .5, or above the threshold that is best on train, which full size has, too; by "
    "a softmax for its likeliest class. IoU of set is the foreground's; the mean IoU is over the "
    "classes that occur, background among them. At full size a prediction is resized to its image "
    "and held against the mask there, as VOC does; boundary F rates the outlines. Void pixels "
    "count nowhere, but as object in the legacy masks, which full size does without.",
}


def write_report(
    directories: Sequence[Path],
    output: Path,
    *,
    without_pictures: Sequence[Path] = (),
    figures_of: Mapping[str, Draw] = FIGURES,
) -> None:
    """Write the report of some runs: one HTML file that needs nothing beside it.

    The file is replaced as a whole: a reader sees the old report or the new one, never a half.

    Args:
        directories: run directories, or folders of run directories (`runs.read_runs`).
        output: the HTML file; its folder is made if it isn't there.
        without_pictures: more of them, which stand in tables and comparisons alone.
        figures_of: task name -> the function that draws that task's samples.

    Raises:
        UserError: a directory is no run, a run is broken, or the output can't be written.
    """
    template = RESOURCES.joinpath("template.html").read_text(encoding="utf-8")
    runs = read_runs([*directories, *without_pictures])
    plain = read_runs(without_pictures) if without_pictures else []
    hidden = {run.directory.resolve() for run in plain}
    pictured = [run for run in runs if run.directory.resolve() not in hidden]
    page = render(runs, pictured, read_study(), template, figures_of)
    try:
        _replace(output, page)
    except OSError as error:
        raise UserError(
            f"Can't write the report to {output}: {error.strerror}. Expected the name of a file in "
            "a folder that may be written to: choose another --output."
        ) from error


def read_study() -> dict[str, Any]:
    """Return the study's own figures: by task its rows, and what they were measured on."""
    return json.loads(RESOURCES.joinpath("study.json").read_text(encoding="utf-8"))


def _replace(path: Path, text: str) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def render(
    runs: Sequence[Run],
    pictured: Sequence[Run],
    study: Mapping[str, Any],
    template: str,
    figures_of: Mapping[str, Draw],
) -> str:
    """The page of some runs as HTML text: the same runs give the same text.

    Args:
        runs: what the report tells of, in the order of its rows.
        pictured: those of them that have pictures; of several seeds the first is drawn.
        study: `study.json`: for each task the study's rows and what they were measured on.
        template: `template.html`, with places for `summary`, `navigation` and `sections`.
        figures_of: task name -> the function that draws that task's samples.
    """
    anchors = {run.directory: f"run-{number}" for number, run in enumerate(runs, start=1)}
    sections, links = [], []
    for task in TASKS:
        members = [run for run in runs if run.task == task]
        if members:
            rows = study[task]["rows"]
            drawn = [seeds[0] for seeds in replicates([r for r in members if r in pictured])]
            pictures = _comparisons(members, rows)
            pictures += "".join(_pictures(run, figures_of[task]) for run in drawn)
            sections.append(
                f'<section id="{task}"><h2>{task.capitalize()}</h2><p>{NOTES[task]}</p>'
                f"{results_table(members, drawn or members, rows, anchors)}"
                f"{_study_note(members, study[task]['data'], study['source'])}{pictures}</section>"
            )
            links.append(f'<a href="#{task}">{task.capitalize()}</a>')
    made = "".join(_provenance(run, anchors[run.directory]) for run in runs)
    sections.append(f'<section id="made"><h2>How each number was made</h2>{made}</section>')
    links.append('<a href="#made">How each number was made</a>')
    return Template(template).substitute(
        summary=_summary(runs), navigation="".join(links), sections="\n".join(sections)
    )


def _summary(runs: Sequence[Run]) -> str:
    unfinished = sum(run.results is None for run in runs)
    days = sorted(str(run.provenance.get("started") or "")[:10] for run in runs)
    facts = joined(
        counted(len(runs), "run"),
        f"{unfinished} unfinished" if unfinished else "",
        joined(*dict.fromkeys(run.dataset for run in runs)),
        joined(*dict.fromkeys(run.device for run in runs)),
        joined(*dict.fromkeys([days[0], days[-1]]), by=" to "),
        by=" · ",
    )
    return f"<p>{escape(facts)}</p>"


def _study_note(runs: Sequence[Run], data: str, source: str) -> str:
    other = dict.fromkeys(run.dataset for run in runs if not run.is_full_voc2009)
    warning = (
        "<strong>The study's figures come from other data</strong> than these runs "
        f"({escape(', '.join(other))}): read them as a scale, not as a match. "
        if other
        else ""
    )
    return f'<p class="note">{warning}Study: {escape(data)} {escape(source)}</p>'


def _comparisons(runs: Sequence[Run], study: Sequence[Mapping[str, Any]]) -> str:
    compare = COMPARISONS.get(runs[0].task)
    if compare is None:
        return ""
    drawn = {
        f"{title} ({data})": figure
        for data, members in by_data(runs).items()
        for title, figure in compare(members, study).items()
    }
    return "".join(f"<figure>{_drawn(figure, title)}</figure>" for title, figure in drawn.items())


def _pictures(run: Run, draw: Draw) -> str:
    """A run's learning curves, where it has epochs; its task's figures, where it has samples."""
    best = lookup(run.results, "best", "epoch")
    # A picture for each metric: on a phone they stand below each other.
    curves = [
        _image(
            figures.learning_curves(run.epochs, [name], best, _levels(run, name)),
            f"{run.name}: {name} by epoch",
        )
        for name in _curves(run.epochs)
    ]
    blocks = []
    if curves:
        chosen = f"best {lookup(run.results, 'best', 'metric')} on val at epoch {best}"
        dotted = "dotted: PCA with as many components or all it has" if _levels(run, "mse") else ""
        caption = joined("Learning curves", chosen if best is not None else "", dotted)
        blocks.append(f'<div class="panels">{"".join(curves)}</div>{_caption(caption)}')
    for title, figure in (draw(run.samples, run.config) if run.samples else {}).items():
        blocks.append(_drawn(figure, title, f"{run.name}: "))
    body = "".join(f"<figure>{block}</figure>" for block in blocks)
    return f"<h3>{escape(run.name)}</h3>{body}" if body else ""


def _levels(run: Run, metric: str) -> dict[str, float]:
    """What PCA with as many numbers reaches on each split."""
    for name, splits in (lookup(run.results, "baselines") or {}).items():
        if name.startswith("PCA"):
            return {split: values[metric] for split, values in splits.items() if metric in values}
    return {}


def _drawn(figure: Figure | Scatter, title: str, run: str = "") -> str:
    if isinstance(figure, Scatter):
        return hover.to_html(figure) + _caption(title)
    return _image(figure, run + title) + _caption(title)


def _curves(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The loss, and the first metric that is not the loss under another name."""
    names = in_order(name for epoch in epochs for name in epoch.get("val") or {})

    def is_loss(name: str) -> bool:
        pairs = [(lookup(e, "val", name), lookup(e, "val", "loss")) for e in epochs]
        known = [pair for pair in pairs if None not in pair]
        return bool(known) and all(math.isclose(*pair, rel_tol=1e-3) for pair in known)

    inspected = in_order(name for epoch in epochs for name in epoch.get("model") or {})
    first = [n for n in names if not is_loss(n)][:1]
    return [n for n in names if n == "loss"] + (inspected[:1] or first)


def _image(figure: Figure, description: str) -> str:
    data = base64.b64encode(figures.encode_webp(figure)).decode("ascii")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{escape(description)}" '
        f'width="{width}" height="{height}">'
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>"


def _provenance(run: Run, anchor: str) -> str:
    items = "".join(
        f'<dt>{name}</dt><dd class="{name.lower()}">{escape(fact) or MISSING}</dd>'
        for name, fact in run.facts.items()
    )
    config = escape("\n".join(_flat(run.config)))
    return (
        f'<article id="{anchor}"><h3>{escape(run.name)}</h3><dl>{items}</dl>'
        f"<details><summary>Config</summary><pre>{config}</pre></details></article>"
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A config's fields by their full names, as the command line calls them."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}"
