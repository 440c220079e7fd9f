"""The README's tables, from the figures that collect.py kept; a test compares the two.

    python experiments/tables.py

and its picture of task 1's trade-off:

    python experiments/tables.py --trade_off experiments/results/trade_off.webp
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vocjax.figures import encode_webp
from vocjax.reporting.page import read_study
from vocjax.reporting.reconstruction import comparison
from vocjax.runs import Run, Spread, over_seeds, replicates

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
CHOSEN = "hard_dice_per_image_at_threshold"


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


def segmentation_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 3's runs of one foreground, on validation images.

    The study, its protocol, the honest one; soft and hard Dice per image (hard at the threshold
    chosen on train), and what is scored against the original masks. Then constant predictions.
    """
    study = {row["name"].capitalize(): row["val"] for row in read_study()["segmentation"]["rows"]}
    columns = {
        "legacy": {"soft_dice_per_image": "soft Dice", "soft_iou_per_image": "IoU", CHOSEN: "hard"},
        "honest": {"soft_dice_per_image": "soft Dice", "soft_iou_per_image": "IoU", CHOSEN: "hard"},
        "full size": {
            "hard_dice_per_image_full_size": "hard Dice",
            "iou_of_set_full_size": "IoU of set",
            "boundary_f_full_size": "boundary F",
        },
    }
    header = [f"{name}: {shown}" for name, of in columns.items() for shown in of.values()]
    rows = [["run", "seeds", "study: soft Dice, IoU", *header]]
    found: dict[str, dict[str, list[Run]]] = {}
    for seeds in replicates([run for run in runs if _target(run) == "foreground"]):
        protocol = "legacy" if seeds[0].config["data"]["masks"] == "legacy" else "honest"
        found.setdefault(seeds[0].name, {})[protocol] = seeds
    for name, by_protocol in found.items():
        values = {protocol: over_seeds(seeds)["val"] for protocol, seeds in by_protocol.items()}
        values["full size"] = values.get("honest", {})
        rows.append(
            [
                name,
                str(max(map(len, by_protocol.values()))),
                _slides(study.get(name.split(",")[0])),
                *(_known(values.get(p, {}), metric) for p, of in columns.items() for metric in of),
            ]
        )
    simple = {p: seeds[0].results or {} for p, seeds in next(iter(found.values())).items()}
    simple["full size"] = simple.get("honest", {})
    for name in ("all foreground", "all background", "one mask for all"):
        cells = [
            _known(
                simple.get(p, {}).get("baselines", {}).get(name, {}).get("val", {}),
                # There is nothing to choose: what is constant here is 0 or 1.
                "hard_dice_per_image" if metric == CHOSEN else metric,
            )
            for p, of in columns.items()
            for metric in of
        ]
        rows.append([name, "", "", *cells])
    return _markdown(rows)


def class_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 3's runs of classes: scored against the original masks."""
    metrics = {
        "mean_iou_full_size": "mean IoU",
        "frequency_weighted_iou_full_size": "frequency-weighted IoU",
        "pixel_accuracy_full_size": "pixel accuracy",
        "boundary_f_full_size": "boundary F",
    }
    rows = [["run", "classes", "seeds", *metrics.values()]]
    trivial: dict[str, list[str]] = {}
    for seeds in replicates([run for run in runs if _target(run) in ("sigmoid", "softmax")]):
        first, values = seeds[0].results or {}, over_seeds(seeds)["val"]
        absent = [name for name, iou in first["iou_by_class"].items() if iou is None]
        classes = str(len(first["iou_by_class"])) + (f" ({len(absent)} absent)" if absent else "")
        cells = [_known(values, metric) for metric in metrics]
        rows.append([seeds[0].name, classes, str(len(seeds)), *cells])
        background = first["baselines"]["all background"]["val"]
        trivial[classes] = [_known(background, metric) for metric in metrics]
    rows += [["all background", classes, "", *cells] for classes, cells in trivial.items()]
    return _markdown(rows)


def _target(run: Run) -> str:
    return run.config["model"].get("target", "")


def _slides(values: dict[str, Any] | None) -> str:
    if values is None:
        return ""
    return f"{values['soft_dice_per_image']}, {values['soft_iou_per_image']}"


def _known(values: dict[str, Any], metric: str) -> str:
    return _number(values[metric], 3) if metric in values else ""


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
        "reconstruction": {"mse": ("MSE", 5)},
        "classification": {
            "elementwise_accuracy": ("element-wise accuracy", 3),
            "log_loss": ("log-loss", 3),
        },
        "segmentation": {
            "mean_iou": ("mean IoU", 3),
            "soft_dice_per_image": ("soft Dice per image", 3),
        },
    }[runs[0].task]
    steps = {**(runs[0].results or {})["baselines"], **{run.name: run.results for run in runs}}
    rows = [["", *(f"{shown}, train / held out" for shown, _ in metrics.values())]]
    for name, values in steps.items():
        cells = (_pair(values, metric, digits) for metric, (_, digits) in metrics.items())
        rows.append([name, *cells])
    return _markdown(rows)


def read_backbones() -> list[dict[str, Any]]:
    """Return the records that backbones.py wrote, [] where none are kept."""
    path = RESULTS / "backbones.json"
    return json.loads(path.read_text()) if path.exists() else []


def backbones_table(records: list[dict[str, Any]]) -> str:
    """Return a Markdown table of backbones: how large, how near to their origins', how fast.

    A cell is empty where there is no such origin.
    """
    origins = {"torchvision": "torchvision", "keras": "Keras"}
    header = ["backbone", "pixels", "parameters", "multiply-adds, 10^9"]
    header += [f"error against {shown}" for shown in origins.values()]
    rows = [[*header, "images/s forward", "images/s in training"]]
    for record in records:
        size, speed = record["size"], record["speed"]
        compared = [record.get(origin, {}) for origin in origins]
        cells = [
            _measured(size, lambda found: f"{found['parameters']:,}"),
            _measured(size, lambda found: f"{found['multiply_adds'] / 1e9:.2f}"),
            *(_measured(of_one, lambda found: f"{found['error']:.2g}") for of_one in compared),
            _measured(speed, lambda found: f"{found['forward']:.1f}"),
            _measured(speed, lambda found: f"{found['training']:.1f}"),
        ]
        rows.append([record["backbone"], str(record["pixels"]), *cells])
    return _markdown(rows)


def _measured(found: dict[str, Any] | None, shown: Callable[[dict[str, Any]], str]) -> str:
    """Show what was found, if it was measured (else None), and there is such a thing (else {})."""
    if found is None:
        return "not measured"
    return shown(found) if found else ""


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
        *(ladder_table(runs) for runs in read_kept("ladder_reconstruction").values()),
        *(classification_table(runs) for runs in read_kept("classification").values()),
        *(ladder_table(runs) for runs in read_kept("ladder_classification").values()),
        *(
            paired_table(read_paired("classification", data))
            for data in read_kept("classification")
        ),
        *(
            table(runs)
            for runs in read_kept("segmentation").values()
            for table in (segmentation_table, class_table)
        ),
        *(ladder_table(runs) for runs in read_kept("ladder_segmentation").values()),
        *([backbones_table(records)] if (records := read_backbones()) else []),
    ]


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trade_off", type=Path, metavar="FILE", help="draw the trade-off, WebP")
    options = parser.parse_args()
    if options.trade_off is None:
        print("\n".join(tables()), end="")
        return 0
    kept = read_kept("representation")
    if not kept:
        print(f"tables: no representation_*.json in {RESULTS}", file=sys.stderr)
        return 1
    *_, runs = kept.values()
    (figure,) = comparison(runs, read_study()["reconstruction"]["rows"]).values()
    options.trade_off.write_bytes(encode_webp(figure))
    return 0


if __name__ == "__main__":
    sys.exit(main())
