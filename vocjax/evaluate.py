"""A trained run, or an exported model, measured: on its own data, or on other data."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax import files
from vocjax.data import voc
from vocjax.data.dataset import Dataset, facts_of, open_dataset
from vocjax.data.devkit import YEARS
from vocjax.data.index import Prepared
from vocjax.data.splits import IMAGE_SETS, OFFICIAL, SPLITS, choose, photographs
from vocjax.errors import UserError, check_choice, naming
from vocjax.exported.load import Exported, load_exported, read_facts
from vocjax.files import finite
from vocjax.mesh import make_mesh, matmul_precision
from vocjax.metrics.names import absent
from vocjax.runs import places, writer
from vocjax.runs.provenance import environment
from vocjax.runs.reader import is_exported, lookup, read_provenance, results_of
from vocjax.runs.restore import Restored, load_run
from vocjax.tasks.matched import Match, matched
from vocjax.tasks.task import Task, Trained
from vocjax.training.evaluation import (
    Evaluation,
    OutputsOf,
    evaluate_split,
    make_evaluator,
    model_outputs,
    originals_of,
)
from vocjax.training.validate import validate


class Other(NamedTuple):
    """Other data to measure a run on; what is not given is the run's own.

    An exported model has no data: `dataset` must be given for it.
    """

    dataset: str = ""
    data_dir: Path | None = None
    image_set: str = ""


class _Source(NamedTuple):
    """What is to be measured: a run, or an exported model."""

    workdir: Path
    run: Restored
    checkpoint: str
    exported: Exported | None = None

    @property
    def results(self) -> Mapping[str, Any]:
        """What is known of the checkpoint."""
        if self.exported:
            return self.exported.results
        return results_of(self.workdir, self.checkpoint, self.run.step)


class _Subject(NamedTuple):
    """What is measured: a config and a task on their data; of other data, what is known of them.

    `outputs` are those of an exported function, where there is no network to apply.
    """

    config: ConfigDict
    task: Task
    prepared: Prepared
    results: Mapping[str, Any] | None = None
    match: Match | None = None
    notes: tuple[str, ...] = ()
    outputs: OutputsOf | None = None


def evaluate(
    workdir: Path, split: str = "val", checkpoint: str = "last", other: Other | None = None
) -> dict[str, Any]:
    """Return {"split", "checkpoint", "step", "images", "dataset", "metrics"} of a run.

    Metrics that are not defined on the split are not there; "absent" has the reason of each then.

    `split` is "train" or "val", VOC's own, `checkpoint` "last" or "best" (by the run's
    `best.metric` on validation). The values of the task's final evaluation join the result: a
    segmentation's "threshold" and "iou_by_class", an autoencoder's "code". What is measured on the
    run's own data is also written into the run. `UserError` where the run or its data can't be
    opened.

    On `other` data classes are matched by name (`tasks.matched`), and "classes" says which are
    common and which are not, "notes" what a reader should know. The split is the data's own, and
    what the run chose on its train, the threshold of masks, stays. The run is left as it is.

    `workdir` may be what `vocjax export` wrote, if `other` names the data. A function of images, of
    StableHLO or ONNX, is measured as it is.
    """
    check_choice("split", split, SPLITS)
    mesh = make_mesh()
    source = _load(workdir, mesh, checkpoint, other)
    run, checkpoint = source.run, source.checkpoint
    if other and any(other):
        subject = _other(source, split, other)
    else:
        prepared = voc.load(run.config.data.dataset, places.data_dir(workdir, run.config))
        writer.check(workdir, run.config, facts_of(prepared))
        subject = _Subject(run.config, run.task, prepared)
    config, task, prepared, results, match, notes, outputs = subject
    evaluator = make_evaluator(task, validate(config, task).sums, config.batch_size, mesh)
    if outputs:
        evaluator = evaluator._replace(outputs=outputs)

    @functools.cache
    def data(split: str) -> Dataset:
        return open_dataset(config, prepared, mesh, (split,))

    @functools.cache
    def measured(split: str) -> Evaluation:
        return evaluate_split(evaluator, data(split).splits[split], run.variables, artifacts=True)

    with matmul_precision(config.matmul_precision):
        final = task.finish(
            Trained(
                run.variables,
                fitted={},
                kept=lambda split: measured(split).kept,
                shown={},
                before={},
                originals=lambda of: originals_of(evaluator, data(of).splits[of], run.variables),
                split=split,
                key=jax.random.key(config.seed),
                artifacts=False,
                results=results,
            )
        )
        metrics = measured(split).metrics | final.splits.get(split, {})
    undefined = absent(metrics)
    result = {
        "split": split,
        "checkpoint": checkpoint,
        "step": run.step,
        "images": data(split).counts[split],
        "dataset": facts_of(prepared) | {"image_set": config.data.image_set},
        **({"classes": match._asdict(), "notes": [*data(split).notes, *notes]} if match else {}),
        "metrics": metrics,
        **({"absent": undefined} if undefined else {}),
        **final.values,
    }
    result = finite(result)
    if match is None:
        writer.write_json(workdir / f"evaluation_{split}_{checkpoint}.json", result)
    return result


def check_output(workdir: Path, output: Path) -> None:
    """Raise `UserError` unless a result can be written to a file: the run's own files stay."""
    if output.resolve().is_relative_to(workdir.resolve()):
        raise UserError(
            f"--output {output} lies in the run directory, whose files are the run's own. Give a "
            "file in another folder."
        )
    if output.is_dir():
        raise UserError(f"--output {output} is a folder; give the name of a file.")


def write(output: Path, workdir: Path, result: Mapping[str, Any]) -> None:
    """Write what `evaluate` returned as JSON, with how the run and the result were made."""
    exported = is_exported(workdir)
    made = read_facts(workdir).training if exported else read_provenance(workdir)
    trained = {name: made.get(name) for name in ("command", "commit", "code", "dataset", "started")}
    provenance = {"run": str(workdir), "trained": trained, "measured": environment()}
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(output, {**result, "provenance": provenance})


def _load(workdir: Path, mesh: Mesh, checkpoint: str, other: Other | None) -> _Source:
    """Load a run, or an exported model; `UserError` for the latter without other data."""
    if not is_exported(workdir):
        return _Source(workdir, load_run(workdir, mesh, checkpoint), checkpoint)
    if not (other and other.dataset):
        raise UserError(
            f"{workdir} is an exported model, which knows no data of its own: add --dataset NAME, "
            "and --data_dir DIR where they lie elsewhere than in data; or give the run that it "
            "comes from."
        )
    model = load_exported(workdir, checkpoint)
    return _Source(workdir, Restored(*model[:4]), model.checkpoint, model)


def _other(source: _Source, split: str, other: Other) -> _Subject:
    """Open other data for what is to be measured; `UserError` if they don't fit it."""
    workdir, run, config = source.workdir, source.run, source.run.config
    if not source.exported:
        known = lookup(read_provenance(workdir), "dataset", "fingerprint")
        writer.check(workdir, config, {"fingerprint": known})  # a run that Python code made
    data = ConfigDict(config.data)
    data.dataset, data.image_set = other.dataset or data.dataset, other.image_set or data.image_set
    check_choice("--image_set", data.image_set, IMAGE_SETS)
    if (data.dataset, data.image_set) != (config.data.dataset, config.data.image_set):
        data.split, data.held_out = OFFICIAL, 0.0  # the run's divide its own data
    home = other.data_dir or places.data_dir(workdir, config)
    data.data_dir = str(home)
    prepared = voc.load(data.dataset, home)
    with naming(workdir):
        fitting = matched(config, run.task, data, prepared.classes)
    notes, results = [], source.results
    if config.task == "segmentation" and config.model.target != "softmax":
        chosen = "0.5, because the run has not chosen one for this checkpoint on its train"
        if "threshold" in results:
            chosen = "the one that the run chose on its train"
        notes.append(f"the threshold of masks is {chosen}")
    if seen := _seen(source, fitting.config, split, prepared):
        notes.append(f"{seen} of the photographs were training images of the run: this is no test")
    outputs = None
    if source.exported and (function := source.exported.function):
        applied = run.task._replace(apply=lambda _, batch, *__: (function(batch["image"]), {}))
        outputs = model_outputs(matched(config, applied, data, prepared.classes).task)
        notes.extend(_of_a_function(source.exported))
    return _Subject(*fitting[:2], prepared, results, fitting.match, tuple(notes), outputs)


def _of_a_function(model: Exported) -> list[str]:
    """Return what differs where a function, of images of one size, takes a network's place."""
    notes = []
    if model.in_windows:
        notes.append("images are seen in windows: an exported function takes one size")
    if model.config.model.get("auxiliary"):
        notes.append("the loss is without that of the auxiliary head, which is not exported")
    return notes


def _seen(source: _Source, on: ConfigDict, split: str, prepared: Prepared) -> int:
    """Return how many photographs of a split the run was trained on; 0 where that is not known.

    The years of VOC share photographs, and their ids. Those of other data say nothing.
    """
    config = source.run.config
    ours, theirs = config.data.dataset, on.data.dataset
    if ours != theirs and not {ours, theirs} <= {*YEARS}:
        return 0
    try:  # an exported model does not know where its data lie
        home = Path(on.data.data_dir)
        own = voc.load(ours, home if source.exported else places.data_dir(source.workdir, config))
    except UserError:  # the run's data are gone
        return 0
    trained = own.index.ids[choose(own.index, config.data, "train").rows]
    measured = prepared.index.ids[choose(prepared.index, on.data, split).rows]
    return len(np.intersect1d(photographs(trained), photographs(measured)))
