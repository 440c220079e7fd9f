"""Keep what runs found: their figures with config, seed, commit, versions and device, in one file.

    python experiments/collect.py runs/study --output experiments/results/study_toy.json

The kept files make the README's tables, which a test compares with the README:

    python experiments/collect.py --tables

and its picture of task 1's trade-off:

    python experiments/collect.py --trade_off experiments/results/trade_off.webp
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vocjax.errors import UserError
from vocjax.figures import encode_webp
from vocjax.reporting.page import read_study
from vocjax.reporting.paired import differences
from vocjax.reporting.reconstruction import comparison
from vocjax.runs import Run, Spread, by_data, over_seeds, read_runs, replicates
from vocjax.training.rundir import write_text

RESULTS = Path(__file__).parent / "results"
HEADLINES = {
    "reconstruction": {"mse": "MSE"},
    "classification": {"elementwise_accuracy": "element-wise accuracy", "log_loss": "log-loss"},
    "segmentation": {
        "soft_dice_per_image": "soft Dice per image",
        "iou_of_set": "IoU over the set",
    },
}
SPLITS = ("train", "val")
FAMILY = "Slim AE 256, "


def collect(directory: Path) -> str:
    """Return config, provenance, epochs and results of a folder's finished runs, a line each.

    Where there are classifiers a last line has the paired differences of their accuracies.
    """
    runs = read_runs([directory])
    for run in runs:
        if run.results is None:
            raise UserError(f"{run.directory} is not finished; go on with its `vocjax train`.")
    kept = [
        {
            "directory": run.directory.name,
            "config": run.config,
            "provenance": run.provenance,
            "epochs": run.epochs,
            "results": run.results,
        }
        for run in runs
    ]
    lines = [json.dumps(run) for run in kept]
    found = {
        data: [
            {"names": pair, "seeds": value.seeds, **value.interval._asdict()}
            for pair, value in of_data.items()
        ]
        for data, members in by_data(runs).items()
        if (of_data := differences(members))
    }
    lines += [json.dumps({"paired": found})] if found else []
    return "[\n" + ",\n".join(lines) + "\n]\n"


def read_kept(study: str) -> dict[str, list[Run]]:
    """Return the runs of a study's kept files by data set, the toy set first."""
    files = sorted(RESULTS.glob(f"{study}_*.json"), key=lambda p: ("toy" not in p.stem, p.stem))
    return {
        path.stem.removeprefix(f"{study}_").replace("_", " "): [
            Run(Path(run.pop("directory")), **run, samples={})
            for run in json.loads(path.read_text())
            if "directory" in run
        ]
        for path in files
    }


def read_paired(study: str, data: str) -> dict[str, list[dict[str, Any]]]:
    """Return the paired differences that a kept file of a study holds, by what runs saw."""
    path = RESULTS / f"{study}_{data.replace(' ', '_')}.json"
    return next((x["paired"] for x in json.loads(path.read_text()) if "paired" in x), {})


def study_table(kept: dict[str, list[Run]]) -> str:
    """Return a Markdown table: a row a run and headline metric, columns by data set.

    Cells are `train / val (the trivial baseline's val)`.
    """
    rows = [["run", "metric", *kept]]
    names = dict.fromkeys(run.name for runs in kept.values() for run in runs)
    for name in names:
        of_name = [next((r for r in runs if r.name == name), None) for runs in kept.values()]
        task = next(run.task for run in of_name if run)
        for metric, shown in HEADLINES[task].items():
            rows.append([name, shown, *(_cell(run, metric) if run else "" for run in of_name)])
    return _markdown(rows)


def _cell(run: Run, metric: str) -> str:
    results = run.results or {}
    trivial = next(iter(results["baselines"].values()))["val"][metric]
    train, val = (results[split][metric] for split in SPLITS)
    return f"{train:.4f} / {val:.4f} ({trivial:.4f})"


def representation_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 1: a model, what is simpler, and the study, `train / val`.

    Errors are MSE, but for the last columns: the largest angle to PCA's subspace, and the MAE on
    validation images, ours and the study's. Of several seeds, mean ± standard deviation.
    """
    study = {row["name"]: row for row in read_study()["reconstruction"]["rows"]}
    header = ["run", "numbers", "seeds", "study", "ours", "PCA", "DCT", "mean image", "angle"]
    rows = [[*header, "MAE", "study's"]]
    for seeds in replicates([run for run in runs if not run.name.startswith(FAMILY)]):
        first, ours = seeds[0].results or {}, over_seeds(seeds)
        simpler = {name.split(",")[0]: values for name, values in first["baselines"].items()}
        angle = first.get("model", {}).get("largest_angle")
        theirs = study.get(seeds[0].name)
        rows.append(
            [
                seeds[0].name,
                str(first.get("code", "")),
                str(len(seeds)),
                _pair(theirs),
                _pair(ours),
                *(_pair(simpler.get(name)) for name in ("PCA", "DCT", "mean image")),
                "" if angle is None else f"{angle:.2f}°",
                _number(ours["val"]["mae"]),
                _number(theirs["val"]["mae"]) if theirs else "",
            ]
        )
    return _markdown(rows)


def classification_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 2, on validation images; of several seeds mean ± deviation.

    Accuracy is element-wise, as the study's; the baselines' is that of the first seed.
    """
    study = {
        f"Legacy, {row['name']}, {row['setting'].split(',')[0]}": row["val"]
        for row in read_study()["classification"]["rows"]
    }
    simple = {
        "majority": "majority class (frequency)",
        "mean colour": "logistic regression on mean colour",
        "16 PCA codes": "logistic regression on 16 PCA codes",
        "ridge on codes": "ridge probe on the codes before training",
    }
    ours = ("accuracy", "log-loss", "balanced accuracy", "mean AP", "ECE")
    metrics = ("elementwise_accuracy", "log_loss", "balanced_accuracy", "map_11_points", "ece")
    header = ["run", "seeds", "train / val", "study: accuracy, log-loss", *ours, *simple]
    rows = [header]
    for seeds in replicates([run for run in runs if run.task == "classification"]):
        first, values = seeds[0].results or {}, over_seeds(seeds)["val"]
        images, theirs = seeds[0].provenance["images"], study.get(seeds[0].name)
        rows.append(
            [
                seeds[0].name,
                str(len(seeds)),
                " / ".join(str(images[split]) for split in SPLITS),
                f"{theirs['elementwise_accuracy']}, {theirs['log_loss']}" if theirs else "",
                *(_number(values[metric], 3) for metric in metrics),
                *(
                    _number(first["baselines"][name]["val"]["elementwise_accuracy"], 3)
                    for name in simple.values()
                ),
            ]
        )
    return _markdown(rows)


def paired_table(paired: dict[str, list[dict[str, Any]]]) -> str:
    """Return a Markdown table of paired differences of accuracy, in points, with intervals."""
    rows = [["", "seeds", "difference", "95 % interval"]]
    for found in paired.values():
        for pair in found:
            low, high = (f"{100 * pair[end]:+.1f}" for end in ("low", "high"))
            names = " against ".join(pair["names"])
            difference = f"{100 * pair['difference']:+.1f}"
            rows.append([names, str(pair["seeds"]), difference, f"{low} to {high}"])
    return _markdown(rows)


def family_table(runs: list[Run]) -> str:
    """Return a Markdown table of the variants of the slim AE 256: MSE and SSIM, `train / val`."""
    rows = [["variant", "MSE", "SSIM"]]
    for run in runs:
        if run.name.startswith(FAMILY):
            cells = [_pair(run.results, metric) for metric in ("mse", "ssim")]
            rows.append([run.name.removeprefix(FAMILY), *cells])
    return _markdown(rows)


def ladder_table(runs: list[Run]) -> str:
    """Return a Markdown table of what brought how much: `train / held-out part of train`."""
    metrics = {
        "reconstruction": {"mse": 5},
        "classification": {"elementwise_accuracy": 3, "log_loss": 3},
    }[runs[0].task]
    steps = {**(runs[0].results or {})["baselines"], **{run.name: run.results for run in runs}}
    names = HEADLINES[runs[0].task]
    rows = [["", *(f"{names[metric]}, train / held out" for metric in metrics)]]
    for name, values in steps.items():
        rows.append([name, *(_pair(values, metric, digits) for metric, digits in metrics.items())])
    return _markdown(rows)


def _pair(splits: dict[str, Any] | None, metric: str = "mse", digits: int = 4) -> str:
    return " / ".join(_number(splits[split][metric], digits) for split in SPLITS) if splits else ""


def _number(value: Any, digits: int = 4) -> str:
    if isinstance(value, Spread):
        return f"{value.mean:.{digits}f} ± {value.deviation:.{digits}f}"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"


def tables() -> list[str]:
    """Return the README's tables."""
    full = read_kept("representation")
    return [
        study_table(read_kept("study")),
        *(representation_table(runs) for runs in full.values()),
        *(family_table(runs) for data, runs in full.items() if data == "toy"),
        *(ladder_table(runs) for runs in read_kept("transform").values()),
        *(classification_table(runs) for runs in read_kept("classification").values()),
        *(ladder_table(runs) for runs in read_kept("tuning").values()),
        *(
            paired_table(read_paired("classification", data))
            for data in read_kept("classification")
        ),
    ]


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, nargs="?", help="a folder of finished runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the kept file to write")
    parser.add_argument("--tables", action="store_true", help="print the README's tables")
    parser.add_argument("--trade_off", type=Path, metavar="FILE", help="draw the trade-off, WebP")
    options = parser.parse_args()
    if bool(options.directory) != bool(options.output):
        parser.error("a folder of runs and --output belong together")
    if not (options.output or options.tables or options.trade_off):
        parser.error("give a folder of runs with --output, --tables, or --trade_off")
    try:
        if options.output:
            write_text(options.output, collect(options.directory))
    except UserError as error:
        print(f"collect: {error}", file=sys.stderr)
        return 1
    if options.tables:
        print("\n".join(tables()), end="")
    if options.trade_off:
        kept = read_kept("representation")
        if not kept:
            print(f"collect: no representation_*.json in {RESULTS}", file=sys.stderr)
            return 1
        *_, runs = kept.values()
        (figure,) = comparison(runs, read_study()["reconstruction"]["rows"]).values()
        options.trade_off.write_bytes(encode_webp(figure))
    return 0


if __name__ == "__main__":
    sys.exit(main())
