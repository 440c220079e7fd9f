"""The final evaluation of a run: results.json, and the arrays for its figures."""

from typing import Any

import jax

from vocjax.data.classes import class_columns
from vocjax.files import finite
from vocjax.metrics.names import absent
from vocjax.runs import writer
from vocjax.runs.reader import read_epochs
from vocjax.tasks.task import Trained
from vocjax.training.evaluation import evaluate_split, originals_of
from vocjax.training.group import Member
from vocjax.training.step import TrainState, variables_of
from vocjax.training.stopping import why_stop
from vocjax.training.writers import pictures_of


def evaluate_at_the_end(
    member: Member, state: TrainState, best: tuple[int, float] | None, fit_seconds: float
) -> dict[str, Any]:
    """Measure both splits, do the task's final evaluation, and keep the arrays for figures.

    `best` is the (step, value) of the best checkpoint, `fit_seconds` what a closed form has taken.
    Return what results.json holds.
    """
    setup = member.setup
    config, task, evaluator, data = setup.config, setup.valid.task, setup.evaluator, setup.data
    variables, epochs = variables_of(state), read_epochs(setup.workdir)
    columns = list(class_columns(config.data))
    found = {
        split: evaluate_split(evaluator, examples, variables, artifacts=True)
        for split, examples in data.splits.items()
    }
    baselines, before = writer.read_baselines(setup.workdir)
    final = task.finish(
        Trained(
            variables,
            setup.fitted,
            kept=lambda split: found[split].kept,
            shown=found["val"].shown,
            before=before,
            originals=lambda split: originals_of(evaluator, data.splits[split], variables),
            split="val",
            key=jax.random.key(config.seed),
            artifacts=True,
        )
    )
    samples = found["val"].shown | dict(final.arrays)
    for split, evaluation in found.items():
        labels = data.labels[split][:, columns]  # of the chosen classes
        own = {"ids": data.splits[split].ids, "labels": labels} | evaluation.kept
        samples |= {f"{split}/{name}": array for name, array in own.items()}
    writer.write_arrays(setup.workdir / "samples.npz", samples)
    for name in final.baselines.keys() & baselines.keys():
        for split, values in final.baselines[name].items():
            baselines[name][split] |= values
    inspected = task.inspect and jax.jit(task.inspect)(variables, setup.fitted)
    measured = {s: of.metrics | final.splits.get(s, {}) for s, of in found.items()}
    undefined = {s: why for s, metrics in measured.items() if (why := absent(metrics))}
    step = int(state.step)
    member.records.pictures(step, pictures_of(found["val"].shown, config))
    stopped = step < setup.steps and why_stop(config, epochs)
    results = {
        "epoch": step // setup.batches,
        "step": step,
        **({"stopped_early": stopped} if stopped else {}),
        "seconds": round(sum(r["seconds"] for r in epochs) if epochs else fit_seconds, 3),
        **measured,
        **({"absent": undefined} if undefined else {}),
        **({"model": scalars(inspected)} if inspected else {}),
        **final.values,
        "best": best
        and {"metric": config.best.metric, "epoch": best[0] // setup.batches, "value": best[1]},
        "baselines": baselines,
    }
    return finite(results)


def scalars(values: Any) -> dict[str, float]:
    """Return what a task's `inspect` gives as Python numbers."""
    return {name: float(value) for name, value in jax.device_get(values).items()}
