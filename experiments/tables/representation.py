"""Tables of the study as a whole, of task 1, and of what brought how much."""

from experiments.tables.kept import SPLITS, markdown, number, pair
from vocjax.reporting.page import read_study
from vocjax.runs.reader import Run, over_seeds, replicates

HEADLINES = {
    "reconstruction": {"mse": "MSE"},
    "classification": {"elementwise_accuracy": "element-wise accuracy", "log_loss": "log-loss"},
    "segmentation": {
        "soft_dice_per_image": "soft Dice per image",
        "iou_of_set": "IoU over the set",
    },
}
FAMILY = "Slim AE 256, "


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
    return markdown(rows)


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
                pair(theirs),
                pair(ours),
                *(pair(simpler.get(name)) for name in ("PCA", "DCT", "mean image")),
                "" if angle is None else f"{angle:.2f}°",
                number(ours["val"]["mae"]),
                number(theirs["val"]["mae"]) if theirs else "",
            ]
        )
    return markdown(rows)


def family_table(runs: list[Run]) -> str:
    """Return a Markdown table of the variants of the slim AE 256: MSE and SSIM, `train / val`."""
    rows = [["variant", "MSE", "SSIM"]]
    for run in runs:
        if run.name.startswith(FAMILY):
            cells = [pair(run.results, metric) for metric in ("mse", "ssim")]
            rows.append([run.name.removeprefix(FAMILY), *cells])
    return markdown(rows)


def ladder_table(runs: list[Run]) -> str:
    """Return a Markdown table of what brought how much: `train / held-out part of train`."""
    metrics = {
        "reconstruction": {"mse": ("MSE", 5)},
        "classification": {
            "elementwise_accuracy": ("element-wise accuracy", 3),
            "log_loss": ("log-loss", 3),
            "map_11_points": ("mean AP", 3),
        },
        "segmentation": {
            "mean_iou": ("mean IoU", 3),
            "soft_dice_per_image": ("soft Dice per image", 3),
        },
    }[runs[0].task]
    steps = {**(runs[0].results or {})["baselines"], **{run.name: run.results for run in runs}}
    rows = [["", *(f"{shown}, train / held out" for shown, _ in metrics.values())]]
    for name, values in steps.items():
        cells = (pair(values, metric, digits) for metric, (_, digits) in metrics.items())
        rows.append([name, *cells])
    return markdown(rows)
