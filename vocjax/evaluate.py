"""A trained run measured again on a split of its data."""

from pathlib import Path
from typing import Any

import jax

from vocjax.data import voc
from vocjax.devices import make_mesh
from vocjax.training import rundir
from vocjax.training.evaluation import first_batch, make_evaluate, sums_shape
from vocjax.training.setup import load_run, open_data
from vocjax.training.step import model_outputs


def evaluate(workdir: Path, split: str = "val", checkpoint: str = "last") -> dict[str, Any]:
    """Return {"split", "checkpoint", "step", "images", "metrics"} and write it beside the run.

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
    rundir.check(workdir, config, prepared)
    examples = open_data(config, prepared, mesh, (split,)).splits[split]
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    sums = sums_shape(task, shapes, first_batch(examples, config.batch_size, mesh))
    measure = make_evaluate(model_outputs(task), task, sums, config.batch_size, mesh)
    result = {
        "split": split,
        "checkpoint": checkpoint,
        "step": step,
        "images": len(examples.ids),
        "metrics": measure(variables, examples),
    }
    rundir.write_json(workdir / f"evaluation_{split}_{checkpoint}.json", result)
    return result
