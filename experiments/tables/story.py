"""The table of the story: each step, and what is simpler."""

from typing import Any

from experiments.tables.kept import markdown, number
from vocjax.runs.groups import over_seeds, replicates
from vocjax.runs.reader import Run

METRICS = {
    "mse": ("MSE", 4),
    "elementwise_accuracy": ("accuracy", 3),
    "log_loss": ("log-loss", 3),
    "soft_dice_per_image": ("soft Dice", 3),
    "hard_dice_per_image_at_threshold": ("hard Dice", 3),
    "hard_dice_per_image_full_size": ("hard Dice, full size", 3),
    "boundary_f_full_size": ("boundary F", 3),
}
# What stands below the runs of each task, and what a constant mask has instead of a threshold.
SIMPLER = {
    "reconstruction": ("mean image", "PCA", "DCT"),
    "classification": ("majority class (frequency)", "logistic regression on 16 PCA codes"),
    "segmentation": ("all foreground", "one mask for all"),
}
OF_CONSTANTS = {"hard_dice_per_image_at_threshold": "hard_dice_per_image"}


def story_table(runs: list[Run]) -> str:
    """Return a Markdown table of the story's runs, on validation; of seeds mean ± deviation.

    Seconds are those of the training steps, the lowest and the highest of the seeds.
    """
    rows = [["", "seeds", "epochs", "seconds", *(label for label, _ in METRICS.values())]]
    for task, simpler in SIMPLER.items():
        members = replicates([run for run in runs if run.task == task])
        for seeds in members:
            values, first = over_seeds(seeds)["val"], seeds[0]
            taken = sorted(round((run.results or {})["seconds"]) for run in seeds)
            seconds = f"{taken[0]}" if taken[0] == taken[-1] else f"{taken[0]} to {taken[-1]}"
            epochs = str(first.config["epochs"])
            rows.append([first.name, str(len(seeds)), epochs, seconds, *_cells(values)])
        for name in simpler if members else ():
            values = members[0][0].baseline(name).get("val", {})
            decided = {at: values[of] for at, of in OF_CONSTANTS.items() if of in values}
            rows.append([name, "", "", "", *_cells(values | decided)])
    return markdown(rows)


def _cells(values: dict[str, Any]) -> list[str]:
    return [
        number(values[metric], digits) if metric in values else ""
        for metric, (_, digits) in METRICS.items()
    ]
