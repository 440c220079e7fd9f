"""Keep what runs found: their figures with config, seed, commit, versions and device, in one file.

    python experiments/collect.py runs/study --output experiments/results/toy.json

The kept files make the README's table, which a test compares with the README:

    python experiments/collect.py --table
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vocjax.errors import UserError
from vocjax.runs import read_runs
from vocjax.training.rundir import write_json

RESULTS = Path(__file__).parent / "results"
HEADLINES = {
    "reconstruction": {"mse": "MSE"},
    "classification": {"elementwise_accuracy": "element-wise accuracy", "log_loss": "log-loss"},
    "segmentation": {"soft_dice": "soft Dice per image", "iou": "IoU over the set"},
}


def collect(directory: Path) -> list[dict[str, Any]]:
    """Return config, provenance, epochs and results of every run in a folder of finished runs."""
    runs = read_runs([directory])
    for run in runs:
        if run.results is None:
            raise UserError(f"{run.directory} is not finished; go on with its `vocjax train`.")
    return [
        {
            "name": run.name,
            "config": run.config,
            "provenance": run.provenance,
            "epochs": run.epochs,
            "results": run.results,
        }
        for run in runs
    ]


def table(kept: dict[str, list[dict[str, Any]]]) -> str:
    """Return a Markdown table: a row a run and headline metric, columns by kept file.

    Cells are `train / val (the baseline's val)`.
    """
    lines = [
        "| run | metric | " + " | ".join(kept) + " |",
        "|---" * (2 + len(kept)) + "|",
    ]
    names = list(dict.fromkeys(run["name"] for runs in kept.values() for run in runs))
    for name in names:
        by_file = {title: _named(runs, name) for title, runs in kept.items()}
        task = next(run["config"]["task"] for run in by_file.values() if run)
        for metric, shown in HEADLINES[task].items():
            cells = [_cell(run["results"], metric) if run else "" for run in by_file.values()]
            lines.append(f"| {name} | {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _named(runs: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((run for run in runs if run["name"] == name), None)


def _cell(results: dict[str, Any], metric: str) -> str:
    (baseline,) = results["baselines"].values()
    train, val, trivial = (
        results["train"][metric],
        results["val"][metric],
        baseline["val"][metric],
    )
    return f"{train:.4f} / {val:.4f} ({trivial:.4f})"


def read_kept() -> dict[str, list[dict[str, Any]]]:
    """Return the kept files by name, the toy set first."""
    files = sorted(RESULTS.glob("*.json"), key=lambda path: (path.stem != "toy", path.stem))
    return {path.stem.replace("_", " "): json.loads(path.read_text()) for path in files}


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, nargs="?", help="a folder of finished runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the kept file to write")
    parser.add_argument("--table", action="store_true", help="print the README's table")
    options = parser.parse_args()
    if bool(options.directory) != bool(options.output) or not (options.output or options.table):
        parser.error("give a folder of runs with --output, or --table")
    try:
        if options.output:
            write_json(options.output, collect(options.directory))
    except UserError as error:
        print(f"collect: {error}", file=sys.stderr)
        return 1
    if options.table:
        print(table(read_kept()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
