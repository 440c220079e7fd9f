"""Tables of the study as a whole, of task 1, and of what brought how much."""

from statistics import fmean

from experiments.representation import FAMILY, WIDTHS
from experiments.tables.kept import has, markdown, number, pair
from vocjax.reporting.study import repeated
from vocjax.runs.groups import by_series, over_seeds, replicates
from vocjax.runs.reader import SPLITS, Run

HEADLINES = {
    "reconstruction": {"mse": "MSE"},
    "classification": {"elementwise_accuracy": "element-wise accuracy", "log_loss": "log-loss"},
    "segmentation": {
        "soft_dice_per_image": "soft Dice per image",
        "iou_of_set": "IoU over the set",
    },
}


def study_table(kept: dict[str, list[Run]]) -> str:
    """Return a Markdown table: a row a run and headline metric, columns by data set.

    Cells are `train / val (the trivial baseline's val)`; of several seeds, the means and between
    them and the baseline the `[lowest, highest]` on val.
    """
    rows = [["run", "metric", *kept]]
    by_data = [by_series(runs) for runs in kept.values()]
    for series in dict.fromkeys(series for runs in by_data for series in runs):
        first = next(runs[series][0] for runs in by_data if series in runs)
        for metric, shown in HEADLINES[first.task].items():
            cells = (_cell(runs.get(series, []), metric) for runs in by_data)
            rows.append([first.name, shown, *cells])
    return markdown(rows)


def _cell(seeds: list[Run], metric: str) -> str:
    results = [run.results for run in seeds if run.results]
    if not results:
        return ""
    trivial = next(iter(results[0]["baselines"].values()))["val"][metric]
    train, val = ([result[split][metric] for result in results] for split in SPLITS)
    spread = f" [{min(val):.4f}, {max(val):.4f}]" if len(val) > 1 else ""
    return f"{fmean(train):.4f} / {fmean(val):.4f}{spread} ({trivial:.4f})"


def representation_table(runs: list[Run]) -> str:
    """Return a Markdown table of task 1: a model, what is simpler, and the study, `train / val`.

    Errors are MSE, but for the last columns: the largest angle to PCA's subspace, and the MAE on
    validation images, ours and the study's. Of several seeds, mean ± standard deviation.
    """
    header = ["run", "numbers", "seeds", "study", "ours", "PCA", "DCT", "mean image", "angle"]
    rows = [[*header, "MAE", "study's"]]
    for seeds in replicates([run for run in runs if not has(run, WIDTHS)]):
        run, first, ours = seeds[0], seeds[0].results or {}, over_seeds(seeds)
        angle = first.get("model", {}).get("largest_angle")
        theirs = repeated(run)
        rows.append(
            [
                run.name,
                str(first.get("code", "")),
                str(len(seeds)),
                pair(theirs),
                pair(ours),
                *(pair(run.baseline(name)) for name in ("PCA", "DCT", "mean image")),
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
        if has(run, WIDTHS):
            # "plain" has no changes: every variant is plain but for its own.
            name = next(n for n, changes in reversed(FAMILY.items()) if has(run, changes))
            rows.append([name, *(pair(run.results, metric) for metric in ("mse", "ssim"))])
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
            "hard_dice_per_image_at_threshold": ("hard Dice per image", 3),
        },
    }[runs[0].task]
    steps = {**(runs[0].results or {})["baselines"], **{run.name: run.results for run in runs}}
    rows = [["", *(f"{shown}, train / held out" for shown, _ in metrics.values())]]
    for name, values in steps.items():
        cells = (pair(values, metric, digits) for metric, (_, digits) in metrics.items())
        rows.append([name, *cells])
    return markdown(rows)
