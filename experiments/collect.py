"""Keep what runs found: their figures with config, seed, commit, versions and device, in one file.

    python experiments/collect.py runs/study --output experiments/results/study_toy.json

The kept files make the tables of both READMEs: `python -m experiments.tables`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.reporting.differences import COMPARED, differences
from vocjax.runs.groups import by_data
from vocjax.runs.reader import read_runs


def collect(directory: Path, others: Sequence[str] = ()) -> str:
    """Return config, provenance, epochs and results of a folder's finished runs, a line each.

    `others` are lines of a kept file; those of runs that are not in the folder stay. A last line
    has the paired differences of runs of one task that were trained on the same data.
    """
    runs = read_runs([directory])
    for run in runs:
        if run.results is None:
            raise UserError(f"{run.directory} is not finished. Run its `vocjax train` again.")
    fields = ("config", "provenance", "epochs", "results")
    records = [
        {"directory": run.directory.name} | {name: getattr(run, name) for name in fields}
        for run in runs
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for task, (metric, _) in COMPARED.items():
        for data, members in by_data([run for run in runs if run.task == task]).items():
            pairs = [
                {"metric": metric, "names": pair, "seeds": of.seeds, **of.interval._asdict()}
                for pair, of in differences(members).items()
            ]
            if pairs:
                found.setdefault(data, []).extend(pairs)
    # In the place of the line that it replaces, and else after them; the differences come last.
    lines = {json.loads(line).get("directory", ""): line for line in others}
    earlier = json.loads(lines.pop("", "{}")).get("paired", {})
    for data, pairs in earlier.items():  # those of runs that are not in the folder stay
        ours = {tuple(pair["names"]) for pair in found.get(data, ())}
        left = [pair for pair in pairs if tuple(pair["names"]) not in ours]
        found[data] = [*left, *found.get(data, ())]
    last = to_json({"paired": found}) if found else None
    lines |= {record["directory"]: to_json(record) for record in records}
    lines = {name: line for name, line in lines.items() if name} | ({"": last} if last else {})
    return "[\n" + ",\n".join(lines.values()) + "\n]\n"


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="a folder of finished runs")
    what = "the kept file to write"
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=what)
    what = "keep the lines of runs that are in the file and not in the folder"
    parser.add_argument("--add", action="store_true", help=what)
    options = parser.parse_args()
    try:
        lines = options.output.read_text().splitlines()[1:-1] if options.add else []
        others = [line.removesuffix(",") for line in lines]
        write_text(options.output, collect(options.directory, others))
    except UserError as error:
        print(f"collect: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
