"""What a plan prints: what is to be done, what was made otherwise, and the results."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vocjax.metrics.names import by_reason
from vocjax.plans.experiment import Experiment
from vocjax.plans.progress import duration
from vocjax.plans.states import CONTINUE, DONE, REUSE, TRAIN, State
from vocjax.runs.reader import SPLITS


def plan_table(
    experiments: Mapping[str, Experiment],
    configs: Mapping[str, ConfigDict],
    states: Mapping[str, State],
    expected: Mapping[str, float | None],
) -> str:
    """Return what would run: directory, config, state and time of each, and the total."""
    rows = [["directory", "config", "state", "time"]]
    for name, experiment in experiments.items():
        seconds = expected.get(name)
        time = "unknown" if seconds is None else f"about {duration(seconds)}"
        state = _state(states[name], configs[name].epochs)
        rows.append([name, experiment.config, state, time if name in expected else ""])
    known = [seconds for seconds in expected.values() if seconds is not None]
    unknown = len(expected) - len(known)
    total = [f"about {duration(sum(known))}"] if known else []
    total += [f"{unknown} of unknown time"] if unknown else []
    total += ["from the seconds of finished runs, perhaps on another machine"] if known else []
    summary = f"to be trained: {len(expected)} of {len(states)} runs"
    return f"{columns(rows)}\n{', '.join([summary, *total])}\n"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as lines, each column as wide as its widest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _state(state: State, epochs: int) -> str:
    if state.action == REUSE:
        return f"to be copied from {state.source}"
    return {
        DONE: "done",
        CONTINUE: f"to continue after epoch {state.epochs} of {epochs}",
        TRAIN: "to do again, in the place of what is there" if state.replaces else "to do",
    }[state.action]


def differing(states: Mapping[str, State]) -> list[str]:
    """Return a sentence for each way in which runs that stay were made otherwise than now."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, state in states.items():
        if state.differs and not state.replaces:
            groups.setdefault((state.action, state.differs), []).append(name)
    stays = {DONE: "not trained again", CONTINUE: "continued"}
    return [
        f"{', '.join(names)}: {stays[action]}, though {why}. To train from the beginning, which "
        f"deletes what is there: --again {' '.join(names)}"
        for (action, why), names in groups.items()
    ]


def print_results(results: Mapping[str, dict[str, Any]], series: Mapping[str, str]) -> None:
    """Print every run's final figures, train / val, and those of its baselines.

    Runs of one `series`, whose name each directory has, stand together: means, and the range on
    val.
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for directory, result in results.items():
        groups.setdefault(series[directory], {})[directory] = result
    for name, by_directory in groups.items():
        runs = [*by_directory.values()]
        title = next(iter(by_directory)) if len(runs) == 1 else f"{name}, {len(runs)} seeds"
        columns = {title: runs}
        for baseline in runs[0]["baselines"]:
            columns[baseline] = [run["baselines"].get(baseline, {}) for run in runs]
        metrics = [metric for metric in runs[0]["val"] if metric != "loss"]
        header = "train / val" if len(runs) == 1 else "train / val [range]"
        cells = [
            [title, *(_cell(of, metric) for metric in metrics)] for title, of in columns.items()
        ]
        _print_columns([[header, *metrics], *cells])
        for split, absent in runs[0].get("absent", {}).items():
            for reason, names in by_reason(absent).items():
                print(f"\N{EN DASH} {', '.join(names)} on {split}: {reason}")


def _print_columns(columns: Sequence[Sequence[str]]) -> None:
    """Print columns of texts, the first one to the left."""
    widths = [max(15 * (n > 0), *map(len, column)) for n, column in enumerate(columns)]
    print()
    for first, *others in zip(*columns, strict=True):
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]), *cells, sep="  ")


def _cell(runs: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Return `train / val` of a metric; of several runs the means, and on val the range."""
    texts = []
    for split in SPLITS:
        values = [v for run in runs if (v := run.get(split, {}).get(metric)) is not None]
        texts.append(f"{statistics.fmean(values):6.4f}" if values else " " * 6)
        if split == "val" and len(runs) > 1:
            texts[-1] += f" [{min(values):.4f}, {max(values):.4f}]" if values else " " * 17
    return " / ".join(texts)
