"""The report: run directories in, one HTML file out that needs no other file."""

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from vocjax.errors import UserError
from vocjax.files import write_text
from vocjax.reporting import classification, figures, hover, reconstruction, segmentation
from vocjax.reporting.hover import Drawn, Scatter
from vocjax.reporting.study import STUDY
from vocjax.reporting.table import MISSING, in_order, results_table
from vocjax.runs.reader import Run, by_data, counted, joined, lookup, read_runs, replicates


class Section(NamedTuple):
    """What the page shows of a task: a note, the samples of a run, runs on the same data."""

    note: str
    figures: Callable[[Run], Drawn]
    comparison: Callable[[Sequence[Run]], Mapping[str, Figure]]


SECTIONS = {
    "reconstruction": Section(
        "Images are encoded and decoded. Errors are those of intensities in [0, 1]: each image has "
        "its own, and the table has their mean. The PSNR is a mean, too; the PSNR of the MSE is "
        "that of the data set.",
        reconstruction.figures,
        reconstruction.comparison,
    ),
    "classification": Section(
        "Which classes an image shows. Element-wise accuracy is the share of an image's classes "
        "that are right, averaged over images; the log loss is averaged in the same way, in nats. "
        "Exact match is the share of images of which all classes are right; argmax accuracy is the "
        "share of images whose likeliest class is present; balanced accuracy is the mean over "
        "classes. Average precision is VOC's, by the 11-point rule of 2007 to 2009 and by every "
        "point; ECE is the expected calibration error. All are of the whole split.",
        classification.figures,
        classification.comparison,
    ),
    "segmentation": Section(
        "Which pixels belong to an object, or to which class. Dice is that of the foreground, all "
        "classes together: per image, then averaged, or of the set, all its pixels at once; soft "
        "from probabilities, hard from decisions. With sigmoids a pixel is foreground if its "
        "probability exceeds .5, or exceeds the threshold that is best on train, which full size "
        "uses; with a softmax the likeliest class decides. IoU of set is the foreground's; the "
        "mean IoU is over the classes that occur, background among them. At full size a prediction "
        "is resized to its image and compared with the mask there, as VOC does; boundary F rates "
        "the outlines. Void pixels count nowhere, except that the legacy masks have them as "
        "object; full size does not use those masks.",
        segmentation.figures,
        segmentation.comparison,
    ),
}


def write_report(
    directories: Sequence[Path], output: Path, *, without_pictures: Sequence[Path] = ()
) -> None:
    """Write the report of run directories, or folders of them, as one HTML file.

    The file is replaced as a whole, its folder is made. Runs in `without_pictures` are in tables
    and comparisons alone.

    Raises `UserError` if a directory is no run, a run is broken, or `output` can't be written.
    """
    runs = read_runs([*directories, *without_pictures])
    plain = read_runs(without_pictures) if without_pictures else []
    hidden = {run.directory.resolve() for run in plain}
    pictured = [run for run in runs if run.directory.resolve() not in hidden]
    page = render(runs, pictured)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, page)
    except OSError as error:
        raise UserError(
            f"Can't write the report to {output}: {error.strerror}. Expected the name of a file in "
            "a folder that may be written to: choose another --output."
        ) from error


def render(runs: Sequence[Run], pictured: Sequence[Run]) -> str:
    """Return the page of some runs as HTML text: the same runs give the same text.

    Those in `pictured` have pictures; of several seeds the first is drawn.
    """
    anchors = {run.directory: f"run-{number}" for number, run in enumerate(runs, start=1)}
    sections, links = [], []
    for task, section in SECTIONS.items():
        members = [run for run in runs if run.task == task]
        if members:
            drawn = [seeds[0] for seeds in replicates([r for r in members if r in pictured])]
            pictures = [
                f"<figure>{_drawn(figure, f'{title} ({data})')}</figure>"
                for data, on_data in by_data(members).items()
                for title, figure in section.comparison(on_data).items()
            ]
            pictures += [_pictures(run, section) for run in drawn]
            sections.append(
                f'<section id="{task}"><h2>{task.capitalize()}</h2><p>{section.note}</p>'
                f"{results_table(members, drawn or members, anchors)}"
                f"{_study_note(members)}{''.join(pictures)}</section>"
            )
            links.append(f'<a href="#{task}">{task.capitalize()}</a>')
    made = "".join(_provenance(run, anchors[run.directory]) for run in runs)
    sections.append(f'<section id="made"><h2>How each number was made</h2>{made}</section>')
    links.append('<a href="#made">How each number was made</a>')
    template = resources.files("vocjax.reporting").joinpath("template.html")
    return Template(template.read_text(encoding="utf-8")).substitute(
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


def _study_note(runs: Sequence[Run]) -> str:
    """Where the study's figures come from, with a warning if the runs used other data."""
    other = dict.fromkeys(
        run.dataset
        for run in runs
        if lookup(run.provenance, "dataset", "name") != "voc2009"
        or lookup(run.provenance, "dataset", "partial") is not False
    )
    warning = (
        "<strong>The study's figures come from other data</strong> than these runs "
        f"({escape(', '.join(other))}): they show the scale, not what these runs must reach. "
        if other
        else ""
    )
    data, source = STUDY[runs[0].task]["data"], STUDY["source"]
    return f'<p class="note">{warning}Study: {escape(data)} {escape(source)}</p>'


def _pictures(run: Run, section: Section) -> str:
    """A run's learning curves, where it has epochs; its task's figures, where it has samples."""
    best = lookup(run.results, "best", "epoch")
    pca = run.baseline("PCA")
    curves, blocks = [], []
    for name in _metrics_of_curves(run.epochs):  # a picture for each: on a phone one is below
        levels = {split: values[name] for split, values in pca.items() if name in values}
        figure = figures.learning_curve(run.epochs, name, best, levels)
        curves.append(_image(figure, f"{run.name}: {name} by epoch"))
    if curves:
        chosen = f"best {lookup(run.results, 'best', 'metric')} on val at epoch {best}"
        dotted = "dotted: PCA with as many components or all it has" if pca else ""
        caption = joined("Learning curves", chosen if best is not None else "", dotted)
        blocks.append(f'<div class="panels">{"".join(curves)}</div>{_caption(caption)}')
    drawn = section.figures(run) if run.samples else {}
    blocks += [_drawn(figure, title, f"{run.name}: ") for title, figure in drawn.items()]
    body = "".join(f"<figure>{block}</figure>" for block in blocks)
    return f"<h3>{escape(run.name)}</h3>{body}" if body else ""


def _metrics_of_curves(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The loss, and the first metric that is not the loss under another name."""
    names = in_order(name for epoch in epochs for name in epoch.get("val") or {})

    def is_loss(name: str) -> bool:
        pairs = [(lookup(e, "val", name), lookup(e, "val", "loss")) for e in epochs]
        known = [pair for pair in pairs if None not in pair]
        return bool(known) and all(math.isclose(*pair, rel_tol=1e-3) for pair in known)

    of_model = in_order(name for epoch in epochs for name in epoch.get("model") or {})
    others = of_model or [name for name in names if not is_loss(name)]
    return [name for name in names if name == "loss"] + others[:1]


def _drawn(figure: Figure | Scatter, title: str, run: str = "") -> str:
    if isinstance(figure, Scatter):
        return hover.to_html(figure) + _caption(title)
    return _image(figure, run + title) + _caption(title)


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
    """How a run was made, as HTML: command, commit, versions, device, data, config."""
    items = "".join(
        f'<dt>{name}</dt><dd class="{name.lower()}">{escape(fact) or MISSING}</dd>'
        for name, fact in _facts(run).items()
    )
    config = escape("\n".join(_flat(run.config)))
    return (
        f'<article id="{anchor}"><h3>{escape(run.name)}</h3><dl>{items}</dl>'
        f"<details><summary>Config</summary><pre>{config}</pre></details></article>"
    )


def _facts(run: Run) -> dict[str, str]:
    """What is known of a run, as text; empty where it is not known."""
    made = run.provenance
    source, partial = (lookup(made, "dataset", key) for key in ("source", "partial"))
    versions = {"Python": made.get("python"), **(lookup(made, "versions") or {})}
    seed, parameters = made.get("seed", run.config.get("seed")), made.get("parameters")
    # The code can have changed between the starts of a resumed run.
    starts = made.get("starts") or [made]
    commits = (
        joined(start.get("commit"), start.get("dirty") and "with uncommitted changes")
        for start in starts
    )
    resumed = (f"resumed {start.get('time')}" for start in starts[1:])
    return {
        "Outcome": run.outcome,
        "Command": made.get("command") or "",
        "Seed": "" if seed is None else str(seed),
        "Commit": joined(*dict.fromkeys(commits), by="; then "),
        "Device": run.device,
        "Versions": joined(*(f"{name} {value}" for name, value in versions.items() if value)),
        "Data": joined(run.data, "complete" if partial is False else "", source),
        "Fingerprint": lookup(made, "dataset", "fingerprint") or "",
        "Parameters": "" if parameters is None else f"{parameters:,}",
        "Started": joined(made.get("started"), *resumed),
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields of a config by their full names, as on the command line."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}"
