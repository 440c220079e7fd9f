"""Tables of task 3."""

from typing import Any

from experiments.tables.kept import known, markdown
from vocjax.reporting.page import read_study
from vocjax.runs.reader import Run, over_seeds, replicates

CHOSEN = "hard_dice_per_image_at_threshold"


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
    for seeds in replicates([run for run in runs if target_of(run) == "foreground"]):
        protocol = "legacy" if seeds[0].config["data"]["masks"] == "legacy" else "honest"
        found.setdefault(seeds[0].name, {})[protocol] = seeds
    study_first = sorted(found.items(), key=lambda item: (not item[0].startswith("Run "), item[0]))
    for name, by_protocol in study_first:
        values = {protocol: over_seeds(seeds)["val"] for protocol, seeds in by_protocol.items()}
        values["full size"] = values.get("honest", {})
        rows.append(
            [
                name,
                str(max(map(len, by_protocol.values()))),
                _slides(study.get(name.split(",")[0])),
                *(known(values.get(p, {}), metric) for p, of in columns.items() for metric in of),
            ]
        )
    simple = {p: seeds[0].results or {} for p, seeds in next(iter(found.values())).items()}
    simple["full size"] = simple.get("honest", {})
    for name in ("all foreground", "all background", "one mask for all"):
        cells = [
            known(
                simple.get(p, {}).get("baselines", {}).get(name, {}).get("val", {}),
                # There is nothing to choose: what is constant here is 0 or 1.
                "hard_dice_per_image" if metric == CHOSEN else metric,
            )
            for p, of in columns.items()
            for metric in of
        ]
        rows.append([name, "", "", *cells])
    return markdown(rows)


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
    for seeds in replicates([run for run in runs if target_of(run) in ("sigmoid", "softmax")]):
        first, values = seeds[0].results or {}, over_seeds(seeds)["val"]
        absent = [name for name, iou in first["iou_by_class"].items() if iou is None]
        classes = str(len(first["iou_by_class"])) + (f" ({len(absent)} absent)" if absent else "")
        cells = [known(values, metric) for metric in metrics]
        rows.append([seeds[0].name, classes, str(len(seeds)), *cells])
        background = first["baselines"]["all background"]["val"]
        trivial[classes] = [known(background, metric) for metric in metrics]
    rows += [["all background", classes, "", *cells] for classes, cells in trivial.items()]
    return markdown(rows)


def target_of(run: Run) -> str:
    """Return what a run tells pixels apart by; empty for another task's."""
    return run.config["model"].get("target", "")


def _slides(values: dict[str, Any] | None) -> str:
    if values is None:
        return ""
    return f"{values['soft_dice_per_image']}, {values['soft_iou_per_image']}"
