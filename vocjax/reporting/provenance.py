"""How the numbers of a run were made: command, commit, versions, device, data, config."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from vocjax.reporting.table import MISSING
from vocjax.runs.reader import Run, joined, lookup


def made(run: Run, anchor: str) -> str:
    """Return how a run was made as HTML, with the id `anchor`."""
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
    known = run.provenance
    source, partial = (lookup(known, "dataset", key) for key in ("source", "partial"))
    versions = {"Python": known.get("python"), **(lookup(known, "versions") or {})}
    seed, parameters = known.get("seed", run.config.get("seed")), known.get("parameters")
    # The code can have changed between the starts of a resumed run.
    starts = known.get("starts") or [known]
    commits = (
        joined(start.get("commit"), start.get("dirty") and "with uncommitted changes")
        for start in starts
    )
    resumed = (f"resumed {start.get('time')}" for start in starts[1:])
    return {
        "Outcome": run.outcome,
        "Command": known.get("command") or "",
        "Seed": "" if seed is None else str(seed),
        "Commit": joined(*dict.fromkeys(commits), by="; then "),
        "Device": run.device,
        "Versions": joined(*(f"{name} {value}" for name, value in versions.items() if value)),
        "Data": joined(run.data, "complete" if partial is False else "", source),
        "Fingerprint": lookup(known, "dataset", "fingerprint") or "",
        "Parameters": "" if parameters is None else f"{parameters:,}",
        "Started": joined(known.get("started"), *resumed),
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields of a config by their full names, as on the command line."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}"
