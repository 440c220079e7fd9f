"""Compare a fresh study with the kept one: which figures lie outside of what is to be expected.

    make reproduce

trains the study on the toy data set with the seeds of the kept file, and compares the headline
metrics on val. On real data, or for another plan:

    python -m experiments.reproduce --workdir runs/again --dataset voc2009
    python -m experiments.reproduce --workdir runs/again --plan representation

Finished runs in --workdir are compared as they are; with --seeds fewer seeds are trained. The exit
code is 1 where something lies outside, is missing, or has another config or other data.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.tables.kept import RESULTS, read_file
from experiments.tables.representation import HEADLINES
from vocjax.config import find_file
from vocjax.errors import UserError
from vocjax.plans.printed import columns
from vocjax.runner import Experiment, carry_out, plan_of
from vocjax.runs.groups import by_series, series
from vocjax.runs.reader import Run, lookup, read_runs
from vocjax.shipped import add_flags

SEEDS = 3  # of which a range says something
CLOSED, TRAINED = 0.005, 0.02  # the least tolerance, of the kept mean
# Neither what a run is called, nor where things lie, nor the seed.
FREE = {"name", "seed", "init_from", "data.data_dir", "data.split_seed"}
WHY = f"""
A figure is the mean over the seeds, on val. It is inside if it lies in the range of the kept
seeds, widened on both sides by the width of that range, or by {TRAINED:.0%} of the mean where that
is more. Of normally distributed figures, the mean of three further seeds lies outside in 7 of 100
cases, a single one in 13. What has a closed form may differ by {CLOSED:.1%}.

What may differ between machines: the number of cores, the device and the version of JAX change the
order in which sums are made, thus their last digits. Training makes more of it: a long run that
settles ends alike, and a short one by rmsprop does not, since its last epochs still jump. A seed
alone repeats a run only on the same machine.
"""

INSIDE, OUTSIDE, NO_RANGE, NEW = "inside", "OUTSIDE", "no range", "not kept"
MISSING, OTHER_CONFIG, OTHER_DATA = "MISSING", "OTHER CONFIG", "OTHER DATA"


class Row(NamedTuple):
    """A figure: its kept and its fresh values, what is allowed, and what came out."""

    figure: str
    kept: Sequence[float]
    fresh: Sequence[float]
    verdict: str
    reason: str

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self.verdict in (INSIDE, NO_RANGE, NEW)


def compare(kept: Iterable[Run], fresh: Iterable[Run]) -> list[Row]:
    """Return a row for each headline metric of the runs, by directory without the seed."""
    ours, theirs = by_series(list(fresh)), by_series(list(kept))
    return [
        row
        for name in dict.fromkeys([*theirs, *ours])
        for row in _rows(name, theirs.get(name, []), ours.get(name, []))
    ]


def _rows(name: str, kept: list[Run], fresh: list[Run]) -> list[Row]:
    fresh = [run for run in fresh if run.results]
    rows = []
    for metric, label in HEADLINES[(kept or fresh)[0].task].items() if kept or fresh else ():
        before, now = (_values(runs, metric) for runs in (kept, fresh))
        rows.append(Row(f"{name}, {label}", before, now, *_verdict(kept, fresh, before, now)))
    return rows


def _values(runs: list[Run], metric: str) -> list[float]:
    return [v for run in runs if (v := lookup(run.results, "val", metric)) is not None]


def _verdict(
    kept: list[Run], fresh: list[Run], before: list[float], now: list[float]
) -> tuple[str, str]:
    """Return what came out for a metric, and why."""
    if not before:
        return NEW, ""
    if not now:
        return MISSING, "no finished run"
    if changed := _changed(kept[0].config, fresh[0].config):
        return OTHER_CONFIG, "; ".join(changed)
    if len({lookup(run.provenance, "dataset", "fingerprint") for run in (*kept, *fresh)}) > 1:
        return OTHER_DATA, "another fingerprint of the data"
    closed = not kept[0].config["epochs"]
    if not closed and len(before) < SEEDS:
        return NO_RANGE, f"{len(before)} kept seed{'s' * (len(before) > 1)}, {SEEDS} make a range"
    low, high = tolerated(before, CLOSED if closed else TRAINED)
    inside = low <= statistics.fmean(now) <= high
    how = "closed form" if closed else f"range of {len(before)} seeds, widened"
    return INSIDE if inside else OUTSIDE, f"{how}: {low:.4f} to {high:.4f}"


def tolerated(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return the range of values, wider on both sides by its width, or by a share of the mean."""
    lowest, highest = min(values), max(values)
    margin = max(highest - lowest, share * abs(statistics.fmean(values)))
    return lowest - margin, highest + margin


def _changed(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the fields whose values differ; one that the kept config does not have is newer."""
    found = []
    for key, value in before.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(now.get(key), dict):
            found += _changed(value, now[key], f"{name}.")
        elif name not in FREE and now.get(key) != value:
            found.append(f"{name} was {value!r}, is {now.get(key)!r}")
    return found


def table(rows: Iterable[Row]) -> str:
    """Return the rows as text: mean [lowest, highest] (seeds)."""
    lines = [("figure", "kept", "fresh", "", "")]
    lines += [(r.figure, shown(r.kept), shown(r.fresh), r.verdict, r.reason) for r in rows]
    return columns(lines)


def shown(values: Sequence[float]) -> str:
    """Return mean [lowest, highest] (how many), one value alone, "" for none."""
    if len(values) < 2:
        return "".join(f"{value:.4f}" for value in values)
    spread = f"[{min(values):.4f}, {max(values):.4f}]"
    return f"{statistics.fmean(values):.4f} {spread} ({len(values)})"


def made_with(provenance: dict[str, Any]) -> str:
    """Return commit, version of JAX and device in words."""
    device = lookup(provenance, "device") or {}
    jax = lookup(provenance, "versions", "jax")
    machine = f"{device.get('count')} {device.get('kind')}, {device.get('cores')} cores"
    return f"commit {str(provenance.get('commit'))[:7]}, JAX {jax}, {machine}"


def kept_file(plan: str, dataset: str) -> Path:
    """Return the kept file of a plan's runs on a data set; `UserError` unless there is one."""
    found = sorted(RESULTS.glob(f"{plan}_{dataset}*.json"))
    if len(found) == 1:
        return found[0]
    there = ", ".join(path.name for path in found) or "none"
    raise UserError(
        f"{RESULTS} has to hold one file of {plan} on {dataset}, and it holds {there}; name one "
        "with --kept."
    )


def main() -> int:
    """Parse the flags, train what is left, compare; 0 if all figures are inside."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    what = "an experiment that `vocjax experiments` lists, or a file (default: study)"
    parser.add_argument("--plan", default="study", metavar="NAME", help=what)
    what = "the kept file (default: the one of the plan and the data set)"
    parser.add_argument("--kept", type=Path, metavar="FILE", help=what)
    options = parser.parse_args()
    try:
        path = find_file("experiments", options.plan)
        kept = read_file(options.kept or kept_file(path.stem, options.dataset))
        options.objects_dir = options.objects_dir or options.data_dir
        experiments = plan_of(path)(options)
    except UserError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    options.seeds = options.seeds or seeds_of(kept, experiments)
    code = carry_out(lambda _: experiments, options, [], "reproduce")
    if code > 1 or options.dry_run or not any(options.workdir.glob("*/config.json")):
        return code
    asked = [run for run in kept if _asked(run, options.only)]
    fresh = [run for run in read_runs([options.workdir]) if _asked(run, options.only)]
    rows = compare(asked, fresh)
    print(f"\n{table(rows)}{WHY}")
    for which, runs in (("kept", asked), ("fresh", fresh)):
        for made in dict.fromkeys(made_with(run.provenance) for run in runs):
            print(f"{which}: {made}")
    wrong = [row.figure for row in rows if not row.holds]
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} figures hold", end="")
    print(f"; not so: {'; '.join(wrong)}" if wrong else "")
    return 1 if wrong else code


def seeds_of(kept: Iterable[Run], experiments: Iterable[Experiment]) -> str:
    """Return the `--seeds` with which a plan has the runs of a kept file, "" for without."""
    planned = {experiment.directory for experiment in experiments}
    seeds = {run.config["seed"] for run in kept if run.directory.name not in planned}
    return "".join(f"{seed}," for seed in sorted(seeds))


def _asked(run: Run, only: Sequence[str] | None) -> bool:
    name = run.directory.name
    return only is None or bool({name, series(name, run.config["seed"])} & set(only))


if __name__ == "__main__":
    sys.exit(main())
