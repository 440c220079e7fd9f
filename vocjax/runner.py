"""A list of experiments, one after the other: what the scripts in experiments/ have in common."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vocjax.config import load_config
from vocjax.errors import UserError, local_path
from vocjax.pretrained.resolve import complete
from vocjax.reporting.page import write_report
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.validate import validate

CONFIGS = Path(__file__).parents[1] / "configs"


class Experiment(NamedTuple):
    """One run: its directory's name, its file in configs/, and fields that differ from the file.

    `overrides` are fields by their full name after `config.`, "model.components=16". `pictured`
    says whether the report draws its pictures, or has it in tables and comparisons alone.
    """

    directory: str
    config: str
    overrides: tuple[str, ...] = ()
    pictured: bool = True


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
        with _naming(experiment):
            found = train_and_evaluate(config, workdir / experiment.directory)
        results[experiment.directory] = found
    pictured = [workdir / e.directory for e in experiments if e.pictured]
    others = [workdir / e.directory for e in experiments if not e.pictured]
    write_report(pictured, workdir / "report.html", without_pictures=others)
    return results


@contextmanager
def _naming(experiment: Experiment) -> Iterator[None]:
    """Put the run's name before the `UserError` of the block."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{experiment.directory}: {error}") from error


def checked(
    experiment: Experiment, overrides: Sequence[str] = (), workdir: Path | None = None
) -> ConfigDict:
    """Return an experiment's config; `UserError`, with the run's name, where it can't be run."""
    changes = [f"--config.{change}" for change in experiment.overrides]
    with _naming(experiment):
        config = load_config(CONFIGS / f"{experiment.config}.py", [*changes, *overrides])
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


def main(
    description: str | None, plan: Callable[[argparse.Namespace], Sequence[Experiment]]
) -> int:
    """Parse a script's flags and run what it plans; return the exit code.

    `plan(options)` gets `dataset`, `data_dir` and `objects_dir`. 0: done; 1: a mistake that the
    message names; 128 + the signal: stopped.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=local_path, required=True)
    parser.add_argument("--dataset", default="toy", help="toy (default), or voc2007 to voc2012")
    parser.add_argument("--data_dir", type=local_path, default=Path("data"), help="default: data")
    objects = "data_dir of tasks 1 and 2, where it is another"
    parser.add_argument("--objects_dir", type=local_path, help=objects)
    try:
        options, overrides = parser.parse_known_args()
        options.objects_dir = options.objects_dir or options.data_dir
        for override in overrides:
            if not override.startswith("--config."):
                form = "fields are set like --config.epochs=3"
                parser.error(f"unknown argument {override!r}; {form}")
        results = run(plan(options), options.workdir, overrides)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"{parser.prog}: {stop}", file=sys.stderr)
        return 128 + stop.signal_number
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 130
    print_results(results)
    print(f"\nreport: {options.workdir / 'report.html'}")
    return 0
