"""The report: run directories in, one HTML file out that needs no other file."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from vocjax.errors import UserError
from vocjax.files import write_text
from vocjax.reporting import pictures, story
from vocjax.reporting.chapters import CHAPTERS, Chapter
from vocjax.reporting.contests import contests, described
from vocjax.reporting.provenance import made
from vocjax.reporting.study import STUDY
from vocjax.reporting.table import is_linear, results_table
from vocjax.runs.groups import by_data, replicates
from vocjax.runs.reader import Run, counted, joined, lookup, read_runs


def write_report(
    directories: Sequence[Path],
    output: Path,
    *,
    without_pictures: Sequence[Path] = (),
    failed: Mapping[str, str] = {},
) -> None:
    """Write the report of run directories, or folders of them, as one HTML file.

    The file is replaced as a whole, its folder is made. Runs in `without_pictures` are in tables
    and comparisons alone. `failed` are runs that are missing, with why.

    Raises `UserError` if a directory is no run, a run is broken, or `output` can't be written.
    """
    runs = read_runs([*directories, *without_pictures])
    plain = read_runs(without_pictures) if without_pictures else []
    hidden = {run.directory.resolve() for run in plain}
    pictured = [run for run in runs if run.directory.resolve() not in hidden]
    page = render(runs, pictured, failed)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, page)
    except OSError as error:
        raise UserError(
            f"Can't write the report to {output}: {error.strerror}. Expected the name of a file in "
            "a folder that may be written to: choose another --output."
        ) from error


def render(runs: Sequence[Run], pictured: Sequence[Run], failed: Mapping[str, str] = {}) -> str:
    """Return the page of some runs as HTML text: the same runs give the same text.

    Those in `pictured` have pictures; of several seeds the first is drawn.
    """
    anchors = {run.directory: f"run-{number}" for number, run in enumerate(runs, start=1)}
    chapters = {c: [run for run in runs if c.takes(run)] for c in CHAPTERS}
    chapters = {chapter: members for chapter, members in chapters.items() if members}
    sections, links = [], []
    if outcome := _outcome(chapters):
        sections.append(f'<section id="outcome"><h2>What came out</h2>{outcome}</section>')
        links.append('<a href="#outcome">What came out</a>')
    for number, (chapter, members) in enumerate(chapters.items(), start=1):
        heading = f"{number}. {chapter.title}"
        body = _chapter(chapter, members, pictured, anchors)
        sections.append(f'<section id="{chapter.id}"><h2>{heading}</h2>{body}</section>')
        links.append(f'<a href="#{chapter.id}">{heading}</a>')
    how = "".join(made(run, anchors[run.directory]) for run in runs)
    sections.append(f'<section id="made"><h2>How each number was made</h2>{how}</section>')
    links.append('<a href="#made">How each number was made</a>')
    template = resources.files("vocjax.reporting").joinpath("template.html")
    return Template(template.read_text(encoding="utf-8")).substitute(
        summary=_summary(runs) + _missing(failed),
        navigation="".join(links),
        sections="\n".join(sections),
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


def _missing(failed: Mapping[str, str]) -> str:
    """The runs of a plan that failed or were skipped, each with the reason."""
    items = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in failed.items())
    return f"<p>Not finished, and not in this report:</p><ul>{items}</ul>" if items else ""


def _outcome(chapters: dict[Chapter, list[Run]]) -> str:
    """The sentences at the top: one for each step, and what they come to."""
    found = {c: of[0] for c, runs in chapters.items() if (of := contests(runs))}
    items = [
        f'<li><a href="#{chapter.id}">{chapter.title}</a>: {escape(story.outcome(contest))}</li>'
        for chapter, contest in found.items()
    ]
    if last := story.conclusion({chapter.title: contest for chapter, contest in found.items()}):
        items.append(f"<li>{escape(last)}</li>")
    return f'<ol class="sentences">{"".join(items)}</ol>' if items else ""


def _chapter(
    chapter: Chapter, runs: Sequence[Run], pictured: Sequence[Run], anchors: dict[Path, str]
) -> str:
    """A chapter's idea, networks, pictures, table, and what it shows; then each run by itself."""
    drawn = [seeds[0] for seeds in replicates([run for run in runs if run in pictured])]
    # What came before is shown again, where it has the same task.
    before = [run for run in pictured if run.task == chapter.task and is_linear(run)]
    beside = [*(seeds[0] for seeds in replicates(before) if seeds[0] not in drawn), *drawn]
    shown = [pictures.drawn(figure, title) for title, figure in chapter.lead(beside).items()]
    shown += [
        pictures.drawn(figure, f"{title} ({data})")
        for data, on_data in by_data(runs).items()
        for title, figure in chapter.comparison(on_data).items()
    ]
    table = results_table(runs, drawn or runs, anchors, chapter.metrics)
    every = results_table(runs, drawn or runs, anchors)
    parts = {
        "The networks": pictures.networks(drawn or [seeds[0] for seeds in replicates(runs)]),
        "The pictures": "".join(f"<figure>{figure}</figure>" for figure in shown),
        "The figures": f"{table}{_study_note(runs)}<details><summary>All metrics</summary>"
        f'<p class="note">{chapter.note}</p>{every}</details>',
        "What this shows": _shows(runs),
        "Run by run": pictures.run_by_run(drawn, chapter.figures),
    }
    sections = (f"<h3>{title}</h3>{body}" for title, body in parts.items() if body)
    return f'<p class="idea">{chapter.idea}</p>{"".join(sections)}'


def _shows(runs: Sequence[Run]) -> str:
    """A paragraph for each group of runs that compare, with its data where there are several."""
    found = contests(runs)
    paragraphs = []
    for contest in found:
        target = described(contest.best.run) if len(found) > 1 else ""
        before = f"<b>{escape(target)}.</b> " if target else ""
        paragraphs.append(f"<p>{before}{escape(story.shows(contest))}</p>")
    return "".join(paragraphs)


def _study_note(runs: Sequence[Run]) -> str:
    """Where the study's figures come from, with a warning if the runs used other data."""
    if all(map(is_linear, runs)):
        return ""
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
