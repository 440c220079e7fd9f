"""A list of experiments, one after the other: what the plans in experiments/ share."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vocjax.config import call_in_file, load_config
from vocjax.data.classes import with_classes
from vocjax.data.voc import known_classes
from vocjax.errors import UserError, check_choice, local_path, naming
from vocjax.metrics.names import by_reason
from vocjax.pretrained.resolve import complete
from vocjax.reporting.page import write_report
from vocjax.reporting.side_by_side import side_by_side
from vocjax.runs.reader import read_run
from vocjax.shipped import add_flags
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.validate import validate


class Experiment(NamedTuple):
    """One run: its directory's name, its config, and fields that differ from the config's.

    `config` is the name of one that comes with vocjax, or a file. `overrides` are fields by their
    full name after `config.`, "model.components=16". `pictured` says whether the report draws its
    pictures, or has it in tables and comparisons alone. `beside` is the directory of a run of the
    study's recipe that this one is printed beside.
    """

    directory: str
    config: str
    overrides: tuple[str, ...] = ()
    pictured: bool = True
    beside: str = ""


Plan = Callable[[argparse.Namespace], Sequence[Experiment]]


def ladder(
    config: str, shared: Sequence[str], steps: Sequence[tuple[str, ...]]
) -> list[Experiment]:
    """Return experiments of `steps`, (name, *changes), that add to the changes of those before."""
    experiments, changes = [], tuple(shared)
    for number, (name, *further) in enumerate(steps, start=1):
        changes += tuple(further)
        experiments.append(Experiment(f"{number}", config, (f"name={name}", *changes)))
    return experiments


def run(
    experiments: Sequence[Experiment], workdir: Path, overrides: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Train and evaluate experiments and write their report; return the results by directory.

    A finished run is left as it is, a stopped one is continued. `workdir` holds a run directory for
    each, and report.html; `overrides`, `--config.FIELD=VALUE`, are for all.
    """
    # All, before hours pass.
    configs = [checked(experiment, overrides, workdir) for experiment in experiments]
    results = {}
    for experiment, config in zip(experiments, configs, strict=True):
        with naming(experiment.directory):
            found = train_and_evaluate(config, workdir / experiment.directory)
        results[experiment.directory] = found
    pictured = [workdir / e.directory for e in experiments if e.pictured]
    others = [workdir / e.directory for e in experiments if not e.pictured]
    write_report(pictured, workdir / "report.html", without_pictures=others)
    return results


def checked(
    experiment: Experiment, overrides: Sequence[str] = (), workdir: Path | None = None
) -> ConfigDict:
    """Return an experiment's config; `UserError`, with the run's name, where it can't be run."""
    changes = [f"--config.{change}" for change in experiment.overrides]
    with naming(experiment.directory):
        config = load_config(experiment.config, [*changes, *overrides])
        data_dir = local_path(config.data.data_dir)
        config = with_classes(config, known_classes(config.data.dataset, data_dir))
        config = complete(config, workdir and workdir / experiment.directory)
        validate(config)
    return config


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """Print every run's final figures, train / val, and those of its baselines."""
    for name, result in results.items():
        columns = {name: result} | result["baselines"]
        metrics = [metric for metric in result["val"] if metric != "loss"]
        width = max(map(len, (*metrics, "train / val")))
        print("\n" + "train / val".ljust(width), *(label.rjust(15) for label in columns), sep="  ")
        for metric in metrics:
            cells = []
            for label, values in columns.items():
                numbers = [values[split].get(metric) for split in ("train", "val")]
                texts = [" " * 6 if n is None else f"{n:6.4f}" for n in numbers]
                cells.append(" / ".join(texts).rjust(max(15, len(label))))
            print(metric.ljust(width), *cells, sep="  ")
        for split, absent in result.get("absent", {}).items():
            for reason, names in by_reason(absent).items():
                print(f"\N{EN DASH} {', '.join(names)} on {split}: {reason}")


def _only(names: Sequence[str] | None, experiments: Sequence[Experiment]) -> list[Experiment]:
    """Return the experiments of these names, or all; `UserError` for an unknown name."""
    for name in names or ():
        check_choice("--only", name, [experiment.directory for experiment in experiments])
    return [e for e in experiments if names is None or e.directory in names]


def main(description: str | None, plan: Plan) -> int:
    """Parse a script's flags and carry out what it plans; return the exit code."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    try:
        options, overrides = parser.parse_known_args()
    except UserError as error:  # an address in the place of a path
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    for override in overrides:
        if not override.startswith("--config."):
            parser.error(f"unknown argument {override!r}; fields are set like --config.epochs=3")
    return carry_out(plan, options, overrides, parser.prog)


def plan_of(path: Path) -> Plan:
    """Return the plan that a file in experiments/, or one of the user's, defines as `plan`."""

    def plan(options: argparse.Namespace) -> Sequence[Experiment]:
        if experiments := call_in_file(path, "plan", options):
            return experiments
        raise UserError(
            f"{path} plans nothing: it must define plan(options), which returns a list of "
            "vocjax.runner.Experiment; `vocjax experiments copy study` writes one."
        )

    return plan


def carry_out(
    plan: Plan, options: argparse.Namespace, overrides: Sequence[str], program: str
) -> int:
    """Run what `plan(options)` returns, print the results and return the exit code.

    `options` are those of `shipped.add_flags`, `program` begins the messages. 0: done; 1: a mistake
    that the message names; 128 + the signal: stopped.
    """
    options.objects_dir = options.objects_dir or options.data_dir
    try:
        experiments = _only(options.only, plan(options))
        results = run(experiments, options.workdir, overrides)
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"{program}: {stop}", file=sys.stderr)
        return 128 + stop.signal_number
    except KeyboardInterrupt as stop:
        print(f"{program}: stopped", file=sys.stderr)
        return stop.args[0] if stop.args else 130
    pairs = [(e.beside, e.directory) for e in experiments if e.beside in results]
    if pairs:  # the report has all the others
        runs = {name: read_run(options.workdir / name) for pair in pairs for name in pair}
        print(f"\n{side_by_side([(runs[theirs], runs[ours]) for theirs, ours in pairs])}")
    else:
        print_results(results)
    print(f"\nreport: {options.workdir / 'report.html'}")
    return 0
