"""A trained run measured again on a split of its data."""

from pathlib import Path
from typing import Any

import jax

from vocjax.data import voc
from vocjax.data.splits import SPLITS
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.runs import writer
from vocjax.runs.restore import load_run
from vocjax.training.evaluation import (
    first_batch,
    keep_samples,
    make_evaluate,
    originals_of,
    sums_shape,
)
from vocjax.training.setup import open_data
from vocjax.training.step import model_outputs


def evaluate(workdir: Path, split: str = "val", checkpoint: str = "last") -> dict[str, Any]:
    """Return {"split", "checkpoint", "step", "images", "metrics"} and write it beside the run.

    A task that scores masks adds its "threshold" and "iou_by_class".

    Args:
      workdir: the run directory.
      split: "train" or "val", VOC's own.
      checkpoint: "last" or "best" (by the run's `best.metric` on validation).

    Raises:
      UserError: the run or its data can't be opened, or a name is unknown.
    """
    mesh = make_mesh()
    config, task, variables, step = load_run(workdir, mesh, checkpoint)
    prepared = voc.load(config.data.dataset, Path(config.data.data_dir))
    writer.check(workdir, config, prepared)
    # What is scored at the end is scored at a threshold that train chooses.
    data = open_data(config, prepared, mesh, SPLITS if task.score else (split,))
    if split not in data.splits:
        raise UserError(f"there is no split {split!r}; there are {' and '.join(SPLITS)}.")
    examples = data.splits[split]
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    sums = sums_shape(task, shapes, first_batch(examples, config.batch_size, mesh))
    measure = make_evaluate(model_outputs(task), task, sums, config.batch_size, mesh)
    values, found = measure(variables, examples), {}
    if task.score is not None:
        samples = keep_samples(task, variables, data.splits, data.labels, config.batch_size, mesh)
        originals = originals_of(task, variables, data.splits, config.batch_size, mesh)
        scored = task.score(samples, originals, split)
        values |= scored.splits.get(split, {})
        found = scored.values
    result = {
        "split": split,
        "checkpoint": checkpoint,
        "step": step,
        "images": len(examples.ids),
        "metrics": values,
        **found,
    }
    writer.write_json(workdir / f"evaluation_{split}_{checkpoint}.json", result)
    return result
