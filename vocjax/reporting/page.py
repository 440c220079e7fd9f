"""The report: run directories in, one self-contained HTML file out."""

import base64
import errno
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vocjax import figures
from vocjax.errors import UserError
from vocjax.runs import TASKS, Run, counted, joined, lookup, read_runs

Draw = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], dict[str, Figure]]

# In the order of the columns: how a metric is called, where better lies, and its digits. A metric
# that isn't here follows under its own name.
METRICS = {
    "mse": ("MSE", "↓", ".4f"),
    "mae": ("MAE", "↓", ".3f"),
    "psnr": ("PSNR, dB", "↑", ".2f"),
    "log_loss": ("log loss", "↓", ".3f"),
    "elementwise_accuracy": ("element-wise accuracy", "↑", ".3f"),
    "argmax_accuracy": ("argmax accuracy", "↑", ".3f"),
    "exact_match": ("exact match", "↑", ".3f"),
    "soft_dice": ("soft Dice", "↑", ".3f"),
    "soft_iou": ("soft IoU", "↑", ".3f"),
    "hard_dice": ("hard Dice", "↑", ".3f"),
    "iou": ("IoU, data set", "↑", ".3f"),
    "pixel_accuracy": ("pixel accuracy", "↑", ".3f"),
    "loss": ("loss", "↓", ".4f"),
}
NOTES = {
    "reconstruction": "Images through a code and back. Errors are those of intensities in [0, 1].",
    "classification": "Which classes an image shows. Element-wise accuracy counts every class of "
    "every image by itself, exact match the images of which all classes are right, and argmax "
    "accuracy those whose likeliest class is present. The log loss is in nats.",
    "segmentation": "Which pixels belong to an object. Dice and IoU are averaged over images, soft "
    "ones from probabilities and hard ones from decisions; the IoU of the data set is that of the "
    "foreground, from one confusion matrix over all pixels.",
}
SPLITS = ("train", "val")
MISSING = "\N{EN DASH}"


def write_report(
    directories: Sequence[Path],
    output: Path,
    figures_of: Callable[[str], Draw] | None = None,
) -> None:
    """Write the report of some runs: one HTML file that needs nothing beside it.

    The file is replaced as a whole: a reader sees the old report or the new one, never a half.

    Args:
        directories: run directories, or folders of run directories (`runs.read_runs`).
        output: the HTML file; its folder is made if it isn't there.
        figures_of: task name -> the function that draws that task's samples; `vocjax.tasks` has
            the default.

    Raises:
        UserError: a directory is no run, a run is broken, or the output can't be written.
    """
    if figures_of is None:
        # Here, because it brings JAX with it, which nothing else on this page needs.
        from vocjax import tasks

        figures_of = tasks.figures_of
    here = resources.files("vocjax.reporting")
    study = json.loads(here.joinpath("study.json").read_text(encoding="utf-8"))
    template = here.joinpath("template.html").read_text(encoding="utf-8")
    page = render(read_runs(directories), study, template, figures_of)
    try:
        _replace(output, page)
    except OSError as error:
        raise UserError(
            f"Can't write the report to {output}: {error.strerror}. Expected the name of a file in "
            "a folder that may be written to: choose another --output."
        ) from error


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
    study: Mapping[str, Any],
    template: str,
    figures_of: Callable[[str], Draw],
) -> str:
    """The page of some runs as HTML text: the same runs give the same text.

    Args:
        runs: what the report tells of, in the order of its rows.
        study: `study.json`: for each task the study's rows and what they were measured on.
        template: `template.html`, with places for `summary`, `navigation` and `sections`.
        figures_of: task name -> the function that draws that task's samples.
    """
    anchors = {run.directory: f"run-{number}" for number, run in enumerate(runs, start=1)}
    sections, links = [], []
    for task in TASKS:
        members = [run for run in runs if run.task == task]
        if members:
            pictures = "".join(_pictures(run, figures_of(task)) for run in members)
            sections.append(
                f'<section id="{task}"><h2>{task.capitalize()}</h2><p>{NOTES[task]}</p>'
                f"{_table(members, study[task]['rows'], anchors)}"
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


def _table(
    runs: Sequence[Run], study: Sequence[Mapping[str, Any]], anchors: Mapping[Path, str]
) -> str:
    """Runs and baselines, a group of rows for each kind of data; then the study's rows."""
    metrics = _in_order(
        name
        for splits in [*(run.results or {} for run in runs), *study]
        for split in SPLITS
        for name in splits.get(split) or {}
    )
    groups: dict[str, list[Run]] = {}
    for run in runs:
        fingerprint = lookup(run.provenance, "dataset", "fingerprint") or ""
        groups.setdefault(joined(run.data, fingerprint[:8], by=" · "), []).append(run)
    bodies = []
    for data, members in groups.items():
        rows = [_run_row(run, metrics, anchors[run.directory]) for run in members]
        rows += _baseline_rows(members, metrics)
        bodies.append(f"<tbody>{_group(escape(data), metrics)}{''.join(rows)}</tbody>")
    rows = [_row(escape(r["name"]), escape(r["setting"]), _cells(r, metrics)) for r in study]
    title = "The study's own figures <b class='tag'>study, slides</b>"
    bodies.append(f'<tbody class="study">{_group(title, metrics)}{"".join(rows)}</tbody>')
    labels = ["&nbsp;".join(METRICS.get(name, (escape(name),))[:2]) for name in metrics]
    head = "".join(f'<th scope="col">{label}</th>' for label in labels)
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Results"><table>'
        f'<thead><tr><th scope="col">Run</th><th scope="col">Split</th>{head}</tr></thead>'
        f"{''.join(bodies)}</table></div>"
        f'<p class="note">↓ less is better, ↑ more is better, {MISSING} not known. Runs have the '
        "values after their last epoch. A loss compares only with losses of its own kind.</p>"
    )


def _in_order(names: Iterable[str]) -> list[str]:
    present = dict.fromkeys(names)
    return [name for name in METRICS if name in present] + [n for n in present if n not in METRICS]


def _group(title: str, metrics: Sequence[str]) -> str:
    width = len(metrics) + 2
    return f'<tr><th scope="rowgroup" colspan="{width}"><span>{title}</span></th></tr>'


def _run_row(run: Run, metrics: Sequence[str], anchor: str) -> str:
    name = f'<a href="#{anchor}">{escape(run.name)}</a>'
    if run.results is not None:
        lines = _cells(run.results, metrics)
    else:
        lines = [f'<td class="split" colspan="{len(metrics) + 1}">{escape(run.outcome)}</td>']
    return _row(name, escape(run.setting), lines)


def _baseline_rows(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """The trivial baselines: once where the runs agree, by run where they don't."""
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    # Runs on the same data share every value but the loss, which each defines for itself.
    shared = ["" if name == "loss" else name for name in metrics]
    for run in runs:
        for name, splits in (lookup(run.results, "baselines") or {}).items():
            rows = found.setdefault(name, {})
            rows.setdefault(tuple(_cells(splits, shared)), []).append(run.name)
    tag = '<b class="tag">baseline</b>'
    return [
        _row(escape(name), tag + (escape(f" of {joined(*names)}") if len(rows) > 1 else ""), cells)
        for name, rows in found.items()
        for cells, names in rows.items()
    ]


def _row(name: str, setting: str, lines: Sequence[str]) -> str:
    """Table rows that share one label, from HTML."""
    label = f'{name}<span class="setting">{setting}</span>'
    label = f'<th scope="row" rowspan="{len(lines)}">{label}</th>'
    return f'<tr class="first">{label}' + "</tr><tr>".join(lines) + "</tr>"


def _cells(splits: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """A line of cells for each split that has values, or one line without any."""
    known = {split: splits[split] for split in SPLITS if splits.get(split)} or {MISSING: {}}
    return [
        f'<td class="split">{split}</td>'
        + "".join(f"<td>{_value(values.get(name), name)}</td>" for name in metrics)
        for split, values in known.items()
    ]


def _value(value: Any, metric: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int | float):
        return format(value, METRICS[metric][2] if metric in METRICS else ".4g")
    return escape(str(value))  # the study's, with the digits that it printed


def _study_note(runs: Sequence[Run], data: str, source: str) -> str:
    other = dict.fromkeys(run.dataset for run in runs if not run.is_full_voc2009)
    warning = (
        "<strong>The study's figures come from other data</strong> than these runs "
        f"({escape(', '.join(other))}): read them as a scale, not as a match. "
        if other
        else ""
    )
    return f'<p class="note">{warning}Study: {escape(data)} {escape(source)}</p>'


def _pictures(run: Run, draw: Draw) -> str:
    """A run's learning curves, where it has epochs; its task's figures, where it has samples."""
    best = lookup(run.results, "best", "epoch")
    # A picture for each metric: on a phone they stand below each other.
    curves = [
        _image(figures.learning_curves(run.epochs, [name], best), f"{run.name}: {name} by epoch")
        for name in _curves(run.epochs)
    ]
    blocks = []
    if curves:
        chosen = f"best {lookup(run.results, 'best', 'metric')} on val at epoch {best}"
        caption = joined("Learning curves", chosen if best is not None else "")
        blocks.append(f'<div class="panels">{"".join(curves)}</div>{_caption(caption)}')
    for title, figure in (draw(run.samples, run.config) if run.samples else {}).items():
        blocks.append(_image(figure, f"{run.name}: {title}") + _caption(title))
    body = "".join(f"<figure>{block}</figure>" for block in blocks)
    return f"<h3>{escape(run.name)}</h3>{body}" if body else ""


def _curves(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The loss, and the first metric that is not the loss under another name."""
    names = _in_order(name for epoch in epochs for name in epoch.get("val") or {})

    def is_loss(name: str) -> bool:
        pairs = [(lookup(e, "val", name), lookup(e, "val", "loss")) for e in epochs]
        known = [pair for pair in pairs if None not in pair]
        return bool(known) and all(math.isclose(*pair, rel_tol=1e-3) for pair in known)

    return [n for n in names if n == "loss"] + [n for n in names if not is_loss(n)][:1]


def _image(figure: Figure, description: str) -> str:
    data = base64.b64encode(figures.encode_png(figure)).decode("ascii")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(description)}" '
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
