"""Tables of transfer: pretrained backbones beside our own networks from scratch."""

from typing import Any

from experiments.tables.kept import known, markdown
from vocjax.runs.reader import Run


def transfer_table(runs: list[Run], scratch: list[Run]) -> str:
    """Return a Markdown table of classifiers, on validation images.

    `runs` are of transfer.py; of those of classification.py, `scratch`, our residual networks.
    """
    ours = [run for run in scratch if run.field("model.residual")]
    header = ["run", "pixels", "train / val", "epochs", "seconds"]
    metrics = {
        "elementwise_accuracy": "accuracy",
        "log_loss": "log-loss",
        "map_11_points": "mean AP",
        "map_of_common_classes": "of common classes",
        "ece": "ECE",
    }
    rows = [[*header, *metrics.values()]]
    for run in [*runs, *ours]:
        if run.task != "classification":
            continue
        results, images = run.results or {}, run.provenance["images"]
        rows.append(
            [
                run.name,
                str(run.config["data"]["size"]),
                f"{images['train']} / {images['val']}",
                str(run.config["epochs"]),
                f"{results['seconds']:.0f}",
                *(known(results["val"], metric) for metric in metrics),
            ]
        )
    return markdown(rows)


def imagenet_table(records: list[dict[str, Any]]) -> str:
    """Return a Markdown table of what published heads see: right / images, wrong / others."""
    rows = [["weights", "images", "class", "seen where it is", "seen elsewhere"]]
    for record in records:
        crops = record["provenance"]["dataset"]["data_dir"].endswith("objects")
        images = "object crops" if crops else "photographs"
        for name, seen in record["seen"].items():
            right = f"{seen['right']} / {seen['images']}"
            wrong = f"{seen['wrong']} / {seen['others']}"
            rows.append([record["weights"], images, name, right, wrong])
    return markdown(rows)
