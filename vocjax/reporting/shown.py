"""Which runs show the same validation images, so that these can stand side by side."""

from collections.abc import Sequence

import numpy as np

from vocjax.runs.reader import Run

MOST = 8  # runs in one picture


def by_shown(runs: Sequence[Run], *names: str) -> list[list[Run]]:
    """Group runs that keep the same validation images; those without all `names` are left out."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        samples = run.samples
        if samples.keys() >= {"shown", "val/ids", *names}:
            shown = tuple(samples["val/ids"][samples["shown"]].tolist())
            groups.setdefault((str(run.field("data.dataset")), *shown), []).append(run)
    return list(groups.values())


def labelled(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names; of several with the same name, with their directories'."""
    names = [run.name for run in runs]
    return [
        f"{name} in {run.directory.name}" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def short(value: float) -> str:
    """Return a number in [0, 1] with two digits and without its zero, a dash for NaN."""
    return f"{value:.2f}".removeprefix("0") if np.isfinite(value) else "\N{EN DASH}"
