"""One loop for every task: `train_and_evaluate(config, workdir)`."""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import optax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from vocjax.data import voc
from vocjax.latent import embeddings, survey
from vocjax.mesh import make_mesh, replicated
from vocjax.runs import writer
from vocjax.runs.checkpoints import Checkpoints, abstract, has_checkpoint
from vocjax.runs.reader import read_epochs
from vocjax.tasks import make_task
from vocjax.tasks.task import Task, Variables
from vocjax.training import baselines
from vocjax.training.baselines import with_features
from vocjax.training.epochs import Evaluate, Run, run_epochs
from vocjax.training.evaluation import (
    first_batch,
    keep_samples,
    make_evaluate,
    make_inspect,
    originals_of,
    sums_shape,
)
from vocjax.training.interrupts import stop_requests
from vocjax.training.phases import (
    count,
    frozen_modules,
    make_phases,
    phase_of_step,
    phase_optimizer,
)
from vocjax.training.records import Records
from vocjax.training.setup import check_best, check_config, initial_variables, notes, open_data
from vocjax.training.state import TrainState, create, variables_of
from vocjax.training.step import augments, make_train_step, model_outputs


def train_and_evaluate(
    config: ConfigDict, workdir: Path | str, task: Task | None = None
) -> dict[str, Any]:
    """Train a config's task in a run directory, evaluate it, and return the results.

    A run that was interrupted goes on where it stopped; one that is finished is left alone.

    Args:
      config: as a file in configs/ gives it.
      workdir: the run directory; made where it does not exist.
      task: in the place of the config's own, `make_task(config)._replace(loss=...)` for instance.

    Returns:
      What results.json holds: the final metrics by split, the best epoch, the baselines.

    Raises:
      UserError: the config, the data or the directory can't be used, or the loss is not finite.
      Interrupted: SIGTERM or Ctrl-C came; the state was saved before.
    """
    workdir, mesh = Path(workdir), make_mesh()
    custom_task = task is not None
    task = task or make_task(config)
    check_config(config)
    prepared = voc.load(config.data.dataset, Path(config.data.data_dir))
    writer.check(workdir, config, prepared, custom_task=custom_task)
    if (finished := writer.read_results(workdir)) is not None:
        return finished
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    phases = make_phases(config, shapes["params"])
    data = open_data(config, prepared, mesh)
    example = first_batch(data.splits["train"], config.batch_size, mesh)
    sums = sums_shape(task, shapes, example)
    check_best(config, task, sums)
    run = Run(config, workdir, task, mesh, data, sums, phases, {})
    optimizers = [phase_optimizer(config, phase, run.batches) for phase in phases]

    def create_state(variables: Variables, number: int = 0) -> TrainState:
        trained, _ = phases[number].split(variables["params"])
        opt_state = optimizers[number].init(trained)
        key, averages = jax.random.key(config.seed), config.optimizer.average_decay > 0
        return create(variables, opt_state, key, sums, averages=averages)

    # Before anything is written: what a fresh run begins with may turn out not to exist.
    begun, state, splits = time.monotonic(), None, data.splits
    begins = not has_checkpoint(workdir)
    measures = not baselines.is_measured(workdir)
    if begins or measures or task.inspect:
        variables = initial_variables(config, task, data.splits["train"], mesh)
        splits = baselines.all_with_features(splits, task, variables, config.batch_size, mesh)
        run = run._replace(fitted=baselines.fit(task, splits, config.batch_size, mesh))
    if begins:
        first_state = jax.jit(create_state, out_shardings=replicated(mesh))
        state = jax.block_until_ready(first_state(variables))
    fit_seconds = time.monotonic() - begun
    # And before the first host writes, the others have looked at what was there.
    multihost_utils.sync_global_devices("the run directory is checked")
    parameters = count(shapes["params"])
    writer.begin(workdir, config, prepared, parameters, data.counts, custom_task=custom_task)
    if measures:
        baselines.measure(workdir, config, task, splits, run.fitted, sums, mesh)
    with Checkpoints(workdir, config) as checkpoints:
        if state is None:
            number = phase_of_step(phases, checkpoints.last_step or 0, run.batches)
            shape = jax.eval_shape(functools.partial(create_state, number=number), shapes)
            state = checkpoints.restore(None, abstract(shape, mesh))
        with Records(workdir, config.name, int(state.step), run.steps) as records:
            about = notes(config, prepared, data)
            records.begin(data.counts, parameters, data.splits["train"].resident, about)
            evaluate = make_evaluate(model_outputs(task), task, sums, config.batch_size, mesh)
            state = _run_phases(run, optimizers, evaluate, state, checkpoints, records)
        best = checkpoints.best
    results = _results(run, evaluate, state, best, fit_seconds)
    writer.write_json(workdir / "results.json", results)
    return results


def _run_phases(
    run: Run,
    optimizers: Sequence[optax.GradientTransformation],
    evaluate: Evaluate,
    state: TrainState,
    checkpoints: Checkpoints,
    records: Records,
) -> TrainState:
    """Train from the state's step to the end, phase by phase."""
    config, task, mesh, step = run.config, run.task, run.mesh, int(state.step)
    if not run.steps:
        checkpoints.save(0, state, evaluate(variables_of(state), run.data.splits["val"]))
    with stop_requests() as requested:
        for phase, optimizer in zip(run.phases, optimizers, strict=True):
            if step >= phase.end * run.batches:
                continue
            trained, frozen = phase.split(state.params)
            if phase.first and step == phase.first * run.batches:
                init = jax.jit(optimizer.init, out_shardings=replicated(mesh))
                state = state._replace(opt_state=init(trained))
            records.phase(phase.first, phase.end, count(trained), count(frozen))
            splits = run.data.splits
            features = None if augments(config.data.augment) else task.features
            if features is not None and features.module in frozen_modules(phase, state.params):
                # Training goes on from the parameters, what is measured is their average.
                of_split = {
                    "train": {"params": state.params, "batch_stats": state.batch_stats},
                    "val": variables_of(state),
                }
                splits = {
                    name: with_features(splits[name], features, variables, config.batch_size, mesh)
                    for name, variables in of_split.items()
                }
            train_step = make_train_step(task, optimizer, phase, config, mesh)
            epochs = range(max(step // run.batches, phase.first), phase.end)
            state, step = run_epochs(
                run, splits, epochs, train_step, evaluate, state, requested, checkpoints, records
            )
    return state


def _results(
    run: Run,
    evaluate: Evaluate,
    state: TrainState,
    best: tuple[int, float] | None,
    fit_seconds: float,
) -> dict[str, Any]:
    """Measure both splits and the baselines at the end, and keep the arrays for figures."""
    config, task, data, mesh = run.config, run.task, run.data, run.mesh
    variables, records = variables_of(state), read_epochs(run.workdir)
    samples = keep_samples(task, variables, data.splits, data.labels, config.batch_size, mesh)
    simple, before = baselines.read(run.workdir)
    values, arrays = make_inspect(task)(variables, run.fitted)
    if task.codec is not None:
        samples |= survey(task.codec, variables, samples, jax.random.key(config.seed))
    if before:
        key = jax.random.key(config.seed)
        after = {split: samples[f"{split}/code"] for split in data.splits}
        samples |= embeddings(after, key)
        earlier = embeddings({split: before[f"{split}/code"] for split in data.splits}, key)
        samples |= {f"before/{name}": array for name, array in earlier.items()}
    measured = {split: evaluate(variables, examples) for split, examples in data.splits.items()}
    if task.score is not None:
        originals = originals_of(task, variables, data.splits, config.batch_size, mesh)
        scored = task.score(samples, originals, "val")
        samples, values = samples | scored.arrays, values | scored.values
        measured = {split: of | scored.splits.get(split, {}) for split, of in measured.items()}
        for name, of_baseline in simple.items():
            for split, of_split in scored.baselines.get(name, {}).items():
                of_baseline[split] |= of_split
    writer.write_arrays(run.workdir / "samples.npz", samples | arrays)
    return {
        "epoch": config.epochs,
        "step": run.steps,
        "seconds": round(sum(r["seconds"] for r in records) if records else fit_seconds, 3),
        **measured,
        **values,
        **({"code": task.codec.numbers} if task.codec else {}),
        "best": best
        and {"metric": config.best.metric, "epoch": best[0] // run.batches, "value": best[1]},
        "baselines": simple,
    }
