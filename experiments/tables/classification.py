"""Tables of task 2."""

from typing import Any

from experiments.tables.kept import markdown, number
from vocjax.reporting.study import repeated
from vocjax.runs.groups import over_seeds, replicates
from vocjax.runs.reader import SPLITS, Run


def classification_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 2, on validation images; of several seeds mean ± deviation.

    Accuracy is element-wise, as the study's; the baselines' is that of the first seed.
    """
    simple = {
        "majority": "majority class (frequency)",
        "mean colour": "logistic regression on mean colour",
        "16 PCA codes": "logistic regression on 16 PCA codes",
        "ridge on codes": "ridge probe on the codes before training",
    }
    ours = ("accuracy", "log-loss", "balanced accuracy", "mean AP", "ECE")
    metrics = ("elementwise_accuracy", "log_loss", "balanced_accuracy", "map_11_points", "ece")
    header = ["run", "seeds", "train / val", "study: accuracy, log-loss", *ours, *simple]
    header += ["their best log-loss", "their best mean AP"]
    rows = [header]
    for seeds in replicates([run for run in runs if run.task == "classification"]):
        simpler = [seeds[0].baseline(name)["val"] for name in simple.values()]
        images, values = seeds[0].provenance["images"], over_seeds(seeds)["val"]
        theirs = (repeated(seeds[0]) or {}).get("val")
        rows.append(
            [
                seeds[0].name,
                str(len(seeds)),
                " / ".join(str(images[split]) for split in SPLITS),
                f"{theirs['elementwise_accuracy']}, {theirs['log_loss']}" if theirs else "",
                *(number(values[metric], 3) for metric in metrics),
                *(number(of["elementwise_accuracy"], 3) for of in simpler),
                number(min(of["log_loss"] for of in simpler), 3),
                number(max(of["map_11_points"] for of in simpler), 3),
            ]
        )
    return markdown(rows)


def differences_table(differences: dict[str, list[dict[str, Any]]]) -> str:
    """Return a Markdown table of paired differences, of accuracy or Dice in points: intervals."""
    rows = [["", "seeds", "difference", "95 % interval"]]
    for found in differences.values():
        for pair in found:
            low, high = (f"{100 * pair[end]:+.1f}" for end in ("low", "high"))
            names = " against ".join(pair["names"])
            difference = f"{100 * pair['difference']:+.1f}"
            rows.append([names, str(pair["seeds"]), difference, f"{low} to {high}"])
    return markdown(rows)
