"""A trained run measured again on a split of its data."""

import functools
from pathlib import Path
from typing import Any

import jax

from vocjax.data import voc
from vocjax.data.dataset import Dataset, facts_of, open_dataset
from vocjax.data.splits import SPLITS
from vocjax.errors import check_choice
from vocjax.files import finite
from vocjax.mesh import make_mesh, matmul_precision
from vocjax.metrics.names import absent
from vocjax.runs import places, writer
from vocjax.runs.restore import load_run
from vocjax.tasks.task import Trained
from vocjax.training.evaluation import Evaluation, evaluate_split, make_evaluator, originals_of
from vocjax.training.validate import validate


def evaluate(workdir: Path, split: str = "val", checkpoint: str = "last") -> dict[str, Any]:
    """Return {"split", "checkpoint", "step", "images", "metrics"} and write it into the run.

    Metrics that are not defined on the split are not there; "absent" has the reason of each then.

    `split` is "train" or "val", VOC's own, `checkpoint` "last" or "best" (by the run's
    `best.metric` on validation). The values of the task's final evaluation join the result: a
    segmentation's "threshold" and "iou_by_class", an autoencoder's "code". `UserError` where the
    run or its data can't be opened.
    """
    check_choice("split", split, SPLITS)
    mesh = make_mesh()
    config, task, variables, step = load_run(workdir, mesh, checkpoint)
    prepared = voc.load(config.data.dataset, places.data_dir(workdir, config))
    writer.check(workdir, config, facts_of(prepared))
    evaluator = make_evaluator(task, validate(config, task).sums, config.batch_size, mesh)

    @functools.cache
    def data(split: str) -> Dataset:
        return open_dataset(config, prepared, mesh, (split,))

    @functools.cache
    def measured(split: str) -> Evaluation:
        return evaluate_split(evaluator, data(split).splits[split], variables, artifacts=True)

    with matmul_precision(config.matmul_precision):
        final = task.finish(
            Trained(
                variables,
                fitted={},
                kept=lambda split: measured(split).kept,
                shown={},
                before={},
                originals=lambda split: originals_of(
                    evaluator, data(split).splits[split], variables
                ),
                split=split,
                key=jax.random.key(config.seed),
                artifacts=False,
            )
        )
        metrics = measured(split).metrics | final.splits.get(split, {})
    undefined = absent(metrics)
    result = {
        "split": split,
        "checkpoint": checkpoint,
        "step": step,
        "images": data(split).counts[split],
        "metrics": metrics,
        **({"absent": undefined} if undefined else {}),
        **final.values,
    }
    result = finite(result)
    writer.write_json(workdir / f"evaluation_{split}_{checkpoint}.json", result)
    return result
