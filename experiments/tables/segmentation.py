"""Tables of task 3."""

from experiments.tables.kept import known, markdown
from vocjax.reporting.study import STUDY, repeated
from vocjax.runs.groups import over_seeds, replicates
from vocjax.runs.reader import Run

CHOSEN = "hard_dice_per_image_at_threshold"


def segmentation_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 3's runs of one foreground, on validation images.

    The study, its protocol, the honest one; soft and hard Dice per image (hard at the threshold
    chosen on train), and what is scored against the original masks. Then constant predictions.
    """
    scores = {"soft_dice_per_image": "soft Dice", "soft_iou_per_image": "IoU", CHOSEN: "hard"}
    columns = {
        "legacy": scores,
        "sampled": scores,
        "honest": scores,
        "full size": {
            "hard_dice_per_image_full_size": "hard Dice",
            "iou_of_set_full_size": "IoU of set",
            "boundary_f_full_size": "boundary F",
        },
    }
    header = [f"{name}: {shown}" for name, of in columns.items() for shown in of.values()]
    rows = [["run", "seeds", "study: soft Dice, IoU", *header]]
    # A run of the study's, or one of ours by its name, under each protocol.
    found: dict[tuple[int, str], dict[str, list[Run]]] = {}
    order = STUDY["segmentation"]["rows"]
    for seeds in replicates([run for run in runs if target_of(run) == "foreground"]):
        row = repeated(seeds[0])
        kind = (order.index(row), "") if row else (len(order), seeds[0].name)
        masks = seeds[0].field("data.masks")
        protocol = {"legacy": "legacy", "legacy_sampled": "sampled"}.get(masks, "honest")
        found.setdefault(kind, {})[protocol] = seeds
    for (place, _), by_protocol in sorted(found.items()):
        values = {protocol: over_seeds(seeds)["val"] for protocol, seeds in by_protocol.items()}
        values["full size"] = values.get("honest", {})
        rows.append(
            [
                next(iter(by_protocol.values()))[0].name,
                str(max(map(len, by_protocol.values()))),
                _slides(order[place]["val"]) if place < len(order) else "",
                *(known(values.get(p, {}), metric) for p, of in columns.items() for metric in of),
            ]
        )
    # What is constant is the same in every run of a protocol.
    simple = {p: seeds[0] for by_protocol in found.values() for p, seeds in by_protocol.items()}
    simple["full size"] = simple["honest"]
    for name in ("all foreground", "all background", "one mask for all"):
        cells = [
            known(
                simple[p].baseline(name).get("val", {}) if p in simple else {},
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
        background = seeds[0].baseline("all background")["val"]
        trivial[classes] = [known(background, metric) for metric in metrics]
    rows += [["all background", classes, "", *cells] for classes, cells in trivial.items()]
    return markdown(rows)


def target_of(run: Run) -> str:
    """Return what a run tells pixels apart by; empty for another task's."""
    return run.field("model.target") or ""


def _slides(values: dict[str, str]) -> str:
    return f"{values['soft_dice_per_image']}, {values['soft_iou_per_image']}"
