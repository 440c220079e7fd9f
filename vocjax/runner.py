"""A list of experiments, one after the other: what the plans in experiments/ share."""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vocjax.allocation import keep_memory
from vocjax.config import call_in_file, load_config
from vocjax.errors import UserError, naming
from vocjax.mesh import ask_for_determinism
from vocjax.plans.experiment import Experiment, chosen, parse_seeds, repeated
from vocjax.plans.printed import differing, plan_table, print_results
from vocjax.plans.progress import Progress
from vocjax.plans.seconds import expected_seconds, kept_runs, timed_runs
from vocjax.plans.states import DONE, REUSE, State, copy_run, find_states, remove_run
from vocjax.reporting.page import write_report
from vocjax.reporting.side_by_side import side_by_side
from vocjax.runs.groups import series
from vocjax.runs.reader import Run, is_run, read_results, read_run
from vocjax.shipped import add_flags
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import Watch, completed, train_group
from vocjax.training.validate import validate

Plan = Callable[[argparse.Namespace], Sequence[Experiment]]


class Campaign(NamedTuple):
    """Experiments that were checked, and what is to be done for each; all by directory."""

    workdir: Path
    experiments: Mapping[str, Experiment]
    configs: Mapping[str, ConfigDict]
    states: Mapping[str, State]
    expected: Mapping[str, float | None]  # seconds of those that are to be trained

    @property
    def series(self) -> dict[str, str]:
        """The directories' names without the seeds."""
        return {name: series(name, config.seed) for name, config in self.configs.items()}


class Outcome(NamedTuple):
    """What came out, by directory: results of finished runs, and why others are not finished."""

    results: dict[str, dict[str, Any]]
    failed: dict[str, str]


def ladder(
    config: str, shared: Sequence[str], steps: Sequence[tuple[str, ...]]
) -> list[Experiment]:
    """Return experiments of `steps`, (name, *changes), that add to the changes of those before."""
    experiments, changes = [], tuple(shared)
    for number, (name, *further) in enumerate(steps, start=1):
        changes += tuple(further)
        experiments.append(Experiment(f"{number}", config, (f"name={name}", *changes)))
    return experiments


def prepare(
    experiments: Sequence[Experiment],
    workdir: Path,
    overrides: Sequence[str] = (),
    again: Iterable[str] = (),
    reuse: Iterable[Path] = (),
) -> Campaign:
    """Check experiments and find what is to be done for each; trains and writes nothing.

    `overrides`, `--config.FIELD=VALUE`, are for all; `again` and `reuse` as in `find_states`.
    `UserError` for a workdir that is a file, and for two experiments of one directory.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir is {workdir}, which is a file; give a folder.")
    times = Counter(experiment.directory for experiment in experiments)
    if twice := sorted(name for name, count in times.items() if count > 1):
        raise UserError(
            f"the plan has several experiments of the directory {twice[0]!r}; give each its own."
        )
    by_directory = {experiment.directory: experiment for experiment in experiments}
    configs = {name: checked(e, overrides, workdir) for name, e in by_directory.items()}
    states = find_states(configs, workdir, set(again), reuse)
    expected = expected_seconds(configs, states, [timed_runs([workdir, *reuse]), kept_runs()])
    return Campaign(workdir, by_directory, configs, states, expected)


def run(campaign: Campaign) -> Outcome:
    """Train and evaluate what is left of a campaign, and write the report of what is finished.

    A finished run is left as it is, a stopped one is continued, and an equal one is copied. A run
    that fails does not stop the others, but those that begin from it are skipped. `Interrupted`
    and `KeyboardInterrupt` stop all. The workdir holds a run directory for each, and report.html.
    """
    epochs = {name: config.epochs for name, config in campaign.configs.items()}
    progress, done = Progress(campaign.expected, epochs, campaign.series), Outcome({}, {})
    for name, state in campaign.states.items():
        if lost := next(filter(done.failed.__contains__, state.needs), None):
            done.failed[name] = f"skipped, because it begins from {lost}, which is not finished."
            progress.skip(name)
            continue
        try:
            done.results[name] = _run_one(campaign, name, progress)
        except Interrupted:
            raise
        except UserError as error:
            done.failed[name] = str(error)
        except Exception as error:  # whatever a library raises where memory is full, say
            traceback.print_exc()
            done.failed[name] = f"{type(error).__name__}: {error}"
        if name in done.failed:
            progress.end("failed")
            print(f"{name}: {done.failed[name]}", file=sys.stderr)
    experiments = [e for name, e in campaign.experiments.items() if name in done.results]
    pictured = [campaign.workdir / e.directory for e in experiments if e.pictured]
    others = [campaign.workdir / e.directory for e in experiments if not e.pictured]
    if experiments:
        try:
            page = campaign.workdir / "report.html"
            write_report(pictured, page, without_pictures=others, failed=done.failed)
        except Exception as error:  # the figures of hours are worth more than their pictures
            traceback.print_exc()
            done.failed["report.html"] = f"{type(error).__name__}: {error}"
    return done


def _run_one(campaign: Campaign, name: str, progress: Progress) -> dict[str, Any]:
    """Do what is left of one run, and return its results."""
    state, config = campaign.states[name], campaign.configs[name]
    directory = campaign.workdir / name
    if state.action == REUSE and state.source:
        copy_run(state.source, directory, config)
        print(f"{name}: copied from {state.source}, an equal run", file=sys.stderr)
    if state.action in (DONE, REUSE):
        return read_results(directory) or {}
    if state.replaces:
        remove_run(directory)
    progress.begin(name)
    (outcome,) = train_group([config], [directory], watch=Watch(progress.bar))
    if isinstance(outcome, UserError):
        raise outcome
    progress.end("done")
    return outcome


def checked(
    experiment: Experiment, overrides: Sequence[str] = (), workdir: Path | None = None
) -> ConfigDict:
    """Return an experiment's config; `UserError`, with the run's name, where it can't be run."""
    changes = [f"--config.{change}" for change in experiment.overrides]
    with naming(experiment.directory):
        config = load_config(experiment.config, [*changes, *overrides])
        if config.deterministic:
            ask_for_determinism()  # before the checks use JAX
        config = completed(config, (workdir or Path()) / experiment.directory)
        validate(config)
    return config


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
    that the message names, or a run that failed; 128 + the signal: stopped.
    """
    keep_memory()
    try:
        campaign = planned(plan, options, overrides)
        if options.dry_run:
            print(plan_table(*campaign[1:]), end="")
        notes = differing(campaign.states)
        if options.dry_run or campaign.expected:  # what is only told after hours comes too late
            _say(program, notes)
        if options.dry_run:
            return 0
        done = run(campaign)
    except UserError as error:
        _say(program, [str(error)])
        return 1
    except Interrupted as stop:
        _say(program, [str(stop)])
        return 128 + stop.signal_number
    except KeyboardInterrupt as stop:
        _say(program, ["stopped"])
        return stop.args[0] if stop.args else 130
    if pairs := _beside(campaign, done):  # the report has all the others
        print(f"\n{side_by_side(pairs)}")
    else:
        print_results(done.results, campaign.series)
    if done.results:
        print(f"\nreport: {options.workdir / 'report.html'}")
    _say(program, [*notes, *(f"{name}: {why}" for name, why in done.failed.items())])
    return 1 if done.failed else 0


def _beside(campaign: Campaign, done: Outcome) -> list[tuple[list[Run], list[Run]]]:
    """Return the finished runs of the study's recipe, and those that are printed beside them."""
    of_series: dict[str, list[Run]] = {}
    if any(e.beside for e in campaign.experiments.values()):
        for name in done.results:
            run = read_run(campaign.workdir / name)
            of_series.setdefault(campaign.series[name], []).append(run)
    pairs = {campaign.series[name]: e.beside for name, e in campaign.experiments.items()}
    return [
        (of_series[theirs], of_series[ours])
        for ours, theirs in pairs.items()
        if {ours, theirs} <= of_series.keys()
    ]


def planned(plan: Plan, options: argparse.Namespace, overrides: Sequence[str]) -> Campaign:
    """Return the campaign that flags ask for; `UserError` where it can't be run."""
    options.objects_dir = options.objects_dir or options.data_dir
    seeds = parse_seeds(options.seeds) if options.seeds else ()
    if seeds and any(override.startswith("--config.seed") for override in overrides):
        raise UserError("--seeds gives each run its seed; leave --config.seed out.")
    for folder in options.reuse:
        if not folder.is_dir():
            raise UserError(f"--reuse is {folder}, which is no folder; give folders of runs.")
    experiments = repeated(plan(options), seeds, options.workdir)
    again = [e.directory for e in chosen("--again", options.again or [], experiments)]
    some = chosen("--only", options.only, experiments)
    _check_origins(some, experiments, options.workdir)
    return prepare(some, options.workdir, overrides, again, options.reuse)


def _check_origins(some: Sequence[Experiment], all_: Sequence[Experiment], workdir: Path) -> None:
    """Raise `UserError` where `--only` leaves out a run that is missing and that another needs."""
    left_out = {f"init_from={workdir / e.directory}": e.directory for e in all_ if e not in some}
    for experiment in some:
        origin = next(filter(left_out.__contains__, experiment.overrides), "")
        if origin and not is_run(workdir / (missing := left_out[origin])):
            raise UserError(
                f"{experiment.directory} begins from {missing}, which --only leaves out, and "
                f"{workdir} does not have it; add it: --only {missing} {experiment.directory}."
            )


def _say(program: str, lines: Iterable[str]) -> None:
    for line in lines:
        print(f"{program}: {line}", file=sys.stderr)
