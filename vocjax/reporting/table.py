"""The report's tables: runs with their spread over seeds, baselines, the study's own figures."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vocjax.metrics.names import METRIC_NAMES, by_reason
from vocjax.reporting.study import STUDY
from vocjax.runs import groups
from vocjax.runs.reader import SPLITS, Run, counted, joined, lookup

LINEAR = ("pca", "linear_autoencoder")  # models of the story's first step
MISSING = "\N{EN DASH}"


def results_table(
    runs: Sequence[Run],
    with_baselines: Sequence[Run],
    anchors: Mapping[Path, str],
    chosen: Sequence[str] = (),
) -> str:
    """Return the table of runs of a task as HTML: by data runs and baselines, then the study's.

    Runs that differ in their seed alone share a row: mean and standard deviation. The baselines of
    `with_baselines`, which are some of the runs, have rows, too. `anchors` maps directories to the
    id of the run's provenance on the page. The columns are the metrics in `chosen` that are known,
    or all; with all of them each row is a card on every screen. The study's rows are there if they
    have one of the columns, and a run has another model than a linear code.
    """
    study = [] if all(is_linear(run) for run in runs) else STUDY[runs[0].task]["rows"]
    known = in_order(
        name
        for splits in [*(run.results or {} for run in runs), *study]
        for split in SPLITS
        for name in (splits.get(split) or {}) | (lookup(splits, "absent", split) or {})
    )
    metrics = [name for name in known if name in chosen] if chosen else known
    bodies = []
    for data, members in groups.by_data(runs).items():
        rows = [_run_row(seeds, metrics, anchors) for seeds in groups.replicates(members)]
        rows += _baseline_rows([run for run in members if run in with_baselines], metrics)
        bodies.append(_body(_group(escape(data), metrics), rows))
    rows = [_row(escape(r["name"]), escape(r["setting"]), _cells(r, metrics)) for r in study]
    if rows:
        title = "The study's own figures <b class='tag'>study, slides</b>"
        bodies.append(_body(_group(title, metrics), rows, ' class="study"'))
    labels = ["&nbsp;".join(_label(name)) for name in metrics]
    head = "".join(f'<th scope="col" role="columnheader">{label}</th>' for label in labels)
    columns = "".join(f'<th scope="col" role="columnheader">{n}</th>' for n in ("Run", "Split"))
    kind, name = ("results", "Results") if chosen else ("results all", "All metrics")
    # A table that is folded into cards keeps its roles only where they are written down.
    return (
        f'<table class="{kind}" role="table" aria-label="{name}">'
        f'<thead role="rowgroup"><tr role="row">{columns}{head}</tr></thead>{"".join(bodies)}'
        '</table><p class="note">↓ less is better, ↑ more is better, '
        f"{MISSING} not known or not defined. Runs have the values after their last epoch. A loss "
        f"compares only with losses of its own kind.{_reasons(runs)}</p>"
    )


def is_linear(run: Run) -> bool:
    """Whether a run is of a linear code, which the study has no figure of."""
    return run.field("model.name") in LINEAR


def _label(metric: str) -> tuple[str, ...]:
    """A metric's label and the direction of better values, as HTML."""
    return METRIC_NAMES.get(metric, (escape(metric),))[:2]


def _body(group: str, rows: Sequence[str], attributes: str = "") -> str:
    return f'<tbody role="rowgroup"{attributes}>{group}{"".join(rows)}</tbody>'


def _reasons(runs: Sequence[Run]) -> str:
    """Say which metrics are not defined on the data of a run, and why, as HTML."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs:
        for split, absent in (lookup(run.results, "absent") or {}).items():
            for reason, names in by_reason(absent).items():
                labels = joined(*(METRIC_NAMES.get(name, (name,))[0] for name in names), by="; ")
                found.setdefault((split, reason, labels), []).append(run.name)
    return "".join(
        f"<br>{MISSING} {escape(joined(*dict.fromkeys(names)))} on {split}: {escape(reason)}, so "
        f"there is no {escape(labels)}."
        for (split, reason, labels), names in found.items()
    )


def in_order(names: Iterable[str]) -> list[str]:
    """Return each metric once: known ones in the order of `METRIC_NAMES`, then the others."""
    present = dict.fromkeys(names)
    known = [name for name in METRIC_NAMES if name in present]
    return known + [name for name in present if name not in METRIC_NAMES]


def _group(title: str, metrics: Sequence[str]) -> str:
    width = len(metrics) + 2
    cell = f'<th scope="rowgroup" role="rowheader" colspan="{width}">{title}</th>'
    return f'<tr role="row">{cell}</tr>'


def _run_row(seeds: Sequence[Run], metrics: Sequence[str], anchors: Mapping[Path, str]) -> str:
    run, finished = seeds[0], [seed for seed in seeds if seed.results is not None]
    if finished:
        lines = _cells(groups.over_seeds(finished), metrics)
    else:
        span = len(metrics) + 1
        lines = [f'<td role="cell" class="split" colspan="{span}">{escape(run.outcome)}</td>']
    setting = _setting(run)
    setting += f" and {len(seeds) - 1} more" if len(seeds) > 1 else ""
    setting += ", mean ± standard deviation" if len(finished) > 1 else ""
    if 0 < len(finished) < len(seeds):
        setting += f"; {len(seeds) - len(finished)} unfinished"
    return _row(
        f'<a href="#{anchors[run.directory]}">{escape(run.name)}</a>', escape(setting), lines
    )


def _setting(run: Run) -> str:
    """What distinguishes the run: model, optimizer, epochs, masks, seed and directory."""
    epochs, seed = (run.config.get(key) for key in ("epochs", "seed"))
    # A model that is fitted in closed form has an optimizer in its config, but no epochs.
    fitted = run.results is not None and not run.epochs
    trained = joined(run.field("optimizer.name"), counted(epochs, "epoch"))
    steps = "closed form" if fitted else trained
    kind = run.field("data.masks") or "nearest"
    masks = "" if kind == "nearest" else f"{kind.replace('_', ', ')} masks"
    seeded = f"seed {seed}" if seed is not None else ""
    return joined(run.field("model.name"), steps, masks, seeded, f"in {run.directory.name}")


def _baseline_rows(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """The rows of baselines: one where the runs agree, one for each run where they don't."""
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
    label = f'<th scope="row" role="rowheader" rowspan="{len(lines)}">{label}</th>'
    return f'<tr role="row" class="first">{label}' + '</tr><tr role="row">'.join(lines) + "</tr>"


def _cells(splits: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """A line of cells for each split that has values, or one line without any."""
    known = {split: splits[split] for split in SPLITS if splits.get(split)} or {MISSING: {}}
    return [
        f'<td role="cell" class="split">{split}</td>'
        + "".join(
            f'<td role="cell"{_unknown(values.get(name))} data-label="{" ".join(_label(name))}">'
            f"{_value(values.get(name), name)}</td>"
            for name in metrics
        )
        for split, values in known.items()
    ]


def _unknown(value: Any) -> str:
    """The class of a cell without a value, which a card leaves out."""
    return ' class="unknown"' if value is None else ""


def _value(value: Any, metric: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, groups.Spread):
        return f"{_value(value.mean, metric)} ± {_value(value.deviation, metric)}"
    if isinstance(value, int | float):
        return format(value, METRIC_NAMES[metric][2] if metric in METRIC_NAMES else ".4g")
    return escape(str(value))  # the study's, with the digits of its slides
