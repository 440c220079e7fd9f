"""An experiment of a plan, its repetitions with several seeds, and the choice of some."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vocjax.errors import UserError, check_choice
from vocjax.runs.groups import series


class Experiment(NamedTuple):
    """One run: its directory's name, its config, and fields that differ from the config's.

    `config` is the name of one that comes with vocjax, or a file. `overrides` are fields by their
    full name after `config.`, "model.components=16". `pictured` says whether the report draws its
    pictures, or has it in tables and comparisons alone. `beside` is the series of the run of the
    study's recipe that this one is printed beside.
    """

    directory: str
    config: str
    overrides: tuple[str, ...] = ()
    pictured: bool = True
    beside: str = ""

    @property
    def seed(self) -> str | None:
        """The seed that the plan gives, None where the config's is used."""
        given = (change for change in reversed(self.overrides) if change.startswith("seed="))
        return next((change.removeprefix("seed=") for change in given), None)

    @property
    def series(self) -> str:
        """The directory's name without the seed at its end."""
        return series(self.directory, self.seed)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of `--seeds`: "3" is 0, 1 and 2; "0,4" is these two, and "4," one."""
    try:
        seeds = tuple(map(int, filter(None, text.split(",")))) if "," in text else range(int(text))
        if seeds and min(seeds) >= 0 and len(set(seeds)) == len(seeds):
            return tuple(seeds)
    except ValueError:
        pass
    raise UserError(
        f"--seeds is {text!r}; give how many, `--seeds 3` for 0, 1 and 2, or which: `--seeds 0,4`, "
        "each once, or `--seeds 0,` for this one."
    )


def repeated(
    experiments: Sequence[Experiment], seeds: Sequence[int], workdir: Path
) -> list[Experiment]:
    """Return the experiments, and those without a seed of their own once for each of `seeds`.

    The directory of a repetition is DIRECTORY_SEED, and the first one is pictured. What begins
    from a repeated run in `workdir` begins from the one of its own seed; an experiment with another
    seed, from that of the seed at its place (4 of `0,1,2` is 1).
    """
    if not seeds:
        return list(experiments)
    origins = {f"init_from={workdir / e.directory}" for e in experiments if e.seed is None}

    def changes(experiment: Experiment, seed: int) -> tuple[str, ...]:
        return tuple(f"{c}_{seed}" if c in origins else c for c in experiment.overrides)

    found = []
    for experiment in experiments:
        if experiment.seed is not None:
            own = int(experiment.seed)
            origin = own if own in seeds else seeds[own % len(seeds)]
            found.append(experiment._replace(overrides=changes(experiment, origin)))
            continue
        for seed in seeds:
            run = experiment._replace(
                directory=f"{experiment.directory}_{seed}",
                overrides=(*changes(experiment, seed), f"seed={seed}"),
                pictured=experiment.pictured and seed == seeds[0],
            )
            found.append(run)
    return found


def chosen(
    flag: str, names: Sequence[str] | None, experiments: Sequence[Experiment]
) -> list[Experiment]:
    """Return the experiments of these directories, with or without their seed, or all for `None`.

    `UserError` for an unknown name.
    """
    known = [name for e in experiments for name in (e.directory, e.series)]
    for name in names or ():
        check_choice(flag, name, list(dict.fromkeys(known)))
    return [e for e in experiments if names is None or {e.directory, e.series} & set(names)]
