"""The table and the picture of task 3's decoders on one encoder."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.decoders import DECODERS
from experiments.tables.kept import known, markdown
from vocjax import painting
from vocjax.data.classes import PALETTE
from vocjax.errors import UserError
from vocjax.reporting import masks
from vocjax.reporting.segmentation import ALPHA
from vocjax.runs.groups import over_seeds, replicates
from vocjax.runs.reader import Run

METRICS = {
    "hard_dice_per_image_full_size": "hard Dice",
    "iou_of_set_full_size": "IoU of set",
    "boundary_f_full_size": "boundary F",
}
SHOWN = 3  # images of each data set


def decoders_table(kept: dict[str, list[Run]]) -> str:
    """Return a Markdown table: a row a decoder, on validation images at their own size.

    Columns by data set; then a constant prediction.
    """
    rows = [
        ["decoder", "parameters", *(f"{d}: {shown}" for d in kept for shown in METRICS.values())]
    ]
    for name, *_ in DECODERS:
        found = [[run for run in runs if run.name == name] for runs in kept.values()]
        size = next(run.provenance["parameters"] for runs in found for run in runs)
        cells = [
            known(values, metric)
            for runs in found
            for values in [over_seeds(s)["val"] for s in replicates(runs)] or [{}]
            for metric in METRICS
        ]
        rows.append([name, f"{size:,}", *cells])
    constant = [runs[0].baseline("all foreground")["val"] for runs in kept.values()]
    cells = [known(values, metric) for values in constant for metric in METRICS]
    rows.append(["all foreground", "", *cells])
    return markdown(rows)


def side_by_side(groups: Sequence[Sequence[Run]]) -> Figure:
    """Draw kept validation images of each group of runs: the truth, and what each decoder finds.

    A group has a run of each decoder, on the same data. A mask is what exceeds the run's threshold,
    which is chosen on train. `UserError` for a group without a finished run of each.
    """
    if not groups:
        raise UserError("no folder of runs is named; name those of experiments/decoders.py.")
    parts = [painted({run.name: run for run in runs if run.results}) for runs in groups]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return masks.sheet(columns, [], [])


def painted(runs: dict[str, Run]) -> dict[str, np.ndarray]:
    """Return images, truth and each decoder's masks over them, uint8 [`SHOWN`, side, side, 3].

    The images are the first of those kept that show an object.
    """
    names = [name for name, *_ in DECODERS]
    if missing := [name for name in names if name not in runs]:
        raise UserError(
            f"there is no finished run of {', '.join(missing)}; name folders in which "
            "`python experiments/decoders.py --workdir DIR` has ended."
        )
    samples = runs[names[0]].samples
    chosen = np.flatnonzero((samples["mask"] == 1).any(axis=(1, 2)))[:SHOWN]
    images = painting.as_bytes(samples["image"].astype(np.float32))[chosen]
    found = {"truth": samples["mask"]}
    for name in names:
        threshold = (runs[name].results or {})["threshold"]
        found[name] = runs[name].samples["probability"] > threshold
    return {"image": images} | {
        name: painting.overlay(images, mask[chosen].astype(np.uint8), PALETTE[:2], ALPHA)
        for name, mask in found.items()
    }
