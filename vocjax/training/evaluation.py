"""The one evaluation pass over a split: of a model or of a baseline, in an epoch or at the end."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from vocjax.data.pipeline import Examples, plan
from vocjax.errors import UserError
from vocjax.mesh import replicated
from vocjax.metrics import streaming
from vocjax.tasks.own_size import with_few_programs
from vocjax.tasks.task import Batch, Measures, Original, Outputs, Task, Variables
from vocjax.training.step import as_float, mean_loss, zeros_like

SHOWN = 8  # examples whose pictures a run keeps

OutputsOf = Callable[[Any, Batch], Outputs]  # of a model's variables or of what a baseline learnt


class Evaluation(NamedTuple):
    """What is measured of a split."""

    metrics: dict[str, float]  # the mean loss first
    kept: dict[str, np.ndarray]  # the arrays [n, ...] that the task keeps of every example
    shown: dict[str, np.ndarray]  # those of `SHOWN` examples, spread evenly; their rows as `shown`


class Evaluator(NamedTuple):
    """The compiled programs of a task that all evaluations share."""

    task: Task
    outputs: OutputsOf  # of the model in evaluation mode
    measure: Callable[[Any, Outputs, Batch], Measures]  # adds to the sums, which begin as `zeros()`
    zeros: Callable[[], Any]
    batch_size: int
    mesh: Mesh

    def batches(self, examples: Examples) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield the rows of a split in order, without padding, and the batch of each."""
        n = len(examples.ids)
        rows = [np.arange(i, min(i + self.batch_size, n)) for i in range(0, n, self.batch_size)]
        planned = plan(np.arange(n), self.batch_size, self.mesh)
        return zip(rows, examples.batches(planned), strict=True)


def make_evaluator(task: Task, sums: Any, batch_size: int, mesh: Mesh) -> Evaluator:
    """Return the evaluator of a task; `sums` has the shapes that `measured_shapes` gives."""

    def measure(sums: Any, outputs: Outputs, batch: Batch) -> Measures:
        measures = _measure(task, outputs, batch)
        return measures._replace(sums=streaming.add(sums, measures.sums))

    jit = functools.partial(jax.jit, out_shardings=replicated(mesh))
    outputs, measure = jit(model_outputs(task)), jit(measure, donate_argnums=0)
    return Evaluator(task, outputs, measure, jit(lambda: zeros_like(sums)), batch_size, mesh)


def model_outputs(task: Task) -> OutputsOf:
    """Return `outputs(variables, batch)` of a task's model in evaluation mode."""

    def outputs(variables: Variables, batch: Batch) -> Outputs:
        key = jax.random.key(0)  # nothing is drawn
        return task.apply(variables, as_float(batch), False, key)[0]

    return outputs


def measured_shapes(task: Task, variables: Variables, batch: Batch) -> Measures:
    """Return the shapes of what is measured of a batch, of arrays or `jax.ShapeDtypeStruct`s."""

    def measures(variables: Variables, batch: Batch) -> Measures:
        return _measure(task, model_outputs(task)(variables, batch), batch)

    return jax.eval_shape(measures, variables, batch)


def _measure(task: Task, outputs: Outputs, batch: Batch) -> Measures:
    targets = task.targets(as_float(batch))
    measures = task.measure(outputs, targets)
    loss = mean_loss(task.loss(outputs, targets), targets)
    return measures._replace(sums={"loss": loss, "task": measures.sums})


def summarise(task: Task, sums: Any, rows: Any) -> dict[str, float]:
    """Divide what was summed: {"loss": value, metric: value, ...}; `rows` as in `Task.summary`."""
    sums = jax.device_get(sums)
    return {"loss": streaming.value(sums["loss"]), **task.summary(sums["task"], rows)}


def evaluate_split(
    evaluator: Evaluator,
    examples: Examples,
    learnt: Any,
    outputs_of: OutputsOf | None = None,
    artifacts: bool = False,
) -> Evaluation:
    """Measure a split.

    `learnt` are the variables of the model, or what a baseline has learnt, whose jitted outputs
    are `outputs_of` then. Arrays to keep and to show are empty without `artifacts`.
    """
    outputs_of = outputs_of or evaluator.outputs
    n = len(examples.ids)
    positions = np.unique(np.linspace(0, n - 1, min(SHOWN, n)).astype(int))
    sums, rows, kept, shown = evaluator.zeros(), [], [], []
    for numbers, batch in evaluator.batches(examples):
        measures = evaluator.measure(sums, outputs_of(learnt, batch), batch)
        sums = measures.sums
        rows.append((measures.rows, len(numbers)))
        if artifacts:
            kept.append((measures.kept, len(numbers)))
            chosen = np.flatnonzero(np.isin(numbers, positions))
            if chosen.size:
                shown.append({k: _compact(v)[chosen] for k, v in measures.shown.items()})
    metrics = summarise(evaluator.task, sums, concatenated(rows))
    if not artifacts:
        return Evaluation(metrics, {}, {})
    pictures = {name: np.concatenate([part[name] for part in shown]) for name in shown[0]}
    return Evaluation(metrics, concatenated(kept), pictures | {"shown": positions})


def originals_of(
    evaluator: Evaluator, examples: Examples, variables: Variables
) -> Iterator[Original]:
    """Yield every image's outputs and its mask at its own size, as a task's `finish` takes them.

    Where the task has an `own_size`, the outputs are its logits alone.
    """
    assert examples.mask_of is not None  # only a task with masks asks for them
    own_size, outputs_of = evaluator.task.own_size, with_few_programs(evaluator.outputs)

    def logits(images: np.ndarray) -> np.ndarray:
        batch = {"image": images, "valid": np.ones(len(images), np.float32)}
        return jax.device_get(outputs_of(variables, batch)["logits"])

    for rows, batch in evaluator.batches(examples):
        if own_size:
            for row, image in zip(rows, jax.device_get(batch["image"]), strict=False):
                example = {"image": image, "mask": examples.mask_of(int(row))}
                photo = _photo_of(examples, int(row))
                yield {"logits": own_size(logits, photo)}, example
            continue
        outputs, images = jax.device_get((evaluator.outputs(variables, batch), batch["image"]))
        for place, row in enumerate(rows):
            example = {"image": images[place], "mask": examples.mask_of(int(row))}
            yield {name: array[place] for name, array in outputs.items()}, example


def _photo_of(examples: Examples, row: int) -> np.ndarray:
    if examples.image_of is None:
        raise UserError(
            "evaluation.images asks for images at their own size, and these examples have no "
            "image_of that reads them; give it to Examples, or set evaluation.images to fitted."
        )
    return examples.image_of(row)


def fit_baselines(evaluator: Evaluator, train: Examples) -> dict[str, Any]:
    """Return what each baseline learns from the training split, on every device."""
    size, mesh = evaluator.batch_size, evaluator.mesh
    return {
        name: place(baseline.fit(whole_batches(train, size, mesh)), mesh)
        for name, baseline in evaluator.task.baselines.items()
    }


def evaluate_baselines(
    evaluator: Evaluator, splits: dict[str, Examples], fitted: dict[str, Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return {baseline: {split: metrics}}."""
    results = {}
    for name, baseline in evaluator.task.baselines.items():
        outputs = jax.jit(
            lambda learnt, batch, baseline=baseline: baseline.outputs(learnt, as_float(batch)),
            out_shardings=replicated(evaluator.mesh),
        )
        results[name] = {
            split: evaluate_split(evaluator, examples, fitted[name], outputs).metrics
            for split, examples in splits.items()
        }
    return results


def whole_batches(examples: Examples, batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """Yield a split once, in order, without padding, whole on every host; images in [0, 1]."""
    planned = list(plan(np.arange(len(examples.ids)), batch_size, mesh))
    for (_, valid), batch in zip(planned, examples.batches(iter(planned)), strict=True):
        gathered = multihost_utils.process_allgather(batch, tiled=True)
        yield as_float({name: jnp.asarray(a[valid > 0]) for name, a in gathered.items()})


def place(tree: Any, mesh: Mesh) -> Any:
    """Put a pytree, alike on every host, onto every device."""

    def whole(array: np.ndarray) -> jax.Array:  # without a program, which would be compiled
        return jax.make_array_from_callback(array.shape, replicated(mesh), array.__getitem__)

    return jax.tree.map(whole, jax.device_get(tree))


def concatenated(batches: list[tuple[Outputs, int]]) -> dict[str, np.ndarray]:
    """Join the arrays of batches, each without the padding after its first `n` examples."""
    held = jax.device_get(batches)
    names = held[0][0]
    return {name: np.concatenate([_compact(part[name])[:n] for part, n in held]) for name in names}


def _compact(array: jax.Array | np.ndarray) -> np.ndarray:
    # Pictures need no more than half precision; codes and probabilities keep theirs.
    picture = array.ndim > 2 and array.dtype == jnp.float32
    return np.asarray(array).astype(np.float16) if picture else np.asarray(array)
