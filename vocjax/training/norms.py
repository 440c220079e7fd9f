"""The statistics that batch norms are evaluated with, as `model.norm_statistics` asks for them.

- "keras": an exponential moving average of each batch's statistics, as the models keep it. It
  begins at mean 0 and variance 1, or at the published statistics of a backbone, and after t steps
  the share momentum^t of them is left: 22 % after 150 steps of Keras's momentum .99.
- "debiased": the same average without the values that it began with, as Adam corrects its moments
  (Kingma & Ba 2015, section 3). It is a mean of the batches that training has seen.
- "precise": the statistics of the whole training split under the parameters that are evaluated,
  measured afresh before every evaluation (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm").

Statistics of a frozen module stand still under each of them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.errors import check_choice
from vocjax.mesh import replicated
from vocjax.models.dropout import Dropout
from vocjax.tasks.task import Batch, Task, Variables
from vocjax.training.phases import in_evaluation_mode

KERAS, DEBIASED, PRECISE = STATISTICS = ("keras", "debiased", "precise")

Flat = dict[str, jax.Array]  # statistics by path, "encoder/BatchNorm_0/mean"
Precise = Callable[[Variables, Iterator[Batch]], Any]
Momenta = dict[str, float]  # of the norms that took a batch in, by the module's path


def statistics_of(config: ConfigDict) -> str:
    """Return a config's `model.norm_statistics`, "keras" where its model has no such field."""
    chosen = config.model.get("norm_statistics", KERAS)
    check_choice("model.norm_statistics", chosen, STATISTICS)
    return chosen


def watched(momenta: Momenta) -> AbstractContextManager[None]:
    """Note in `momenta`, while a model is traced, which norms take a batch in."""

    def intercept(call: Any, args: Any, kwargs: dict[str, Any], context: Any) -> Any:
        module = context.module
        if not hasattr(module, "momentum") or context.method_name != "__call__":
            return call(*args, **kwargs)
        before = dict(module.variables.get("batch_stats", {}))  # Flax changes its own
        result = call(*args, **kwargs)
        after = module.variables.get("batch_stats", {})
        if any(after[name] is not old for name, old in before.items()):
            momenta["/".join(module.path)] = module.momentum
        return result

    return nn.intercept_methods(intercept)


def zero_weights(batch_stats: Any) -> jax.Array:
    """Return for each of `modules_of` which share of its statistics comes from batches: none."""
    return jnp.zeros(len(modules_of(batch_stats)))


def modules_of(batch_stats: Any) -> list[str]:
    """Return the paths of the modules with statistics, sorted."""
    return sorted({module_of(path) for path in flatten_dict(batch_stats, sep="/")})


def module_of(path: str) -> str:
    """Return the module's path of a statistic's: "encoder/norm" of "encoder/norm/mean"."""
    return path.rpartition("/")[0]


def debiased(old: Any, new: Any, weights: jax.Array, momenta: Momenta) -> tuple[Any, jax.Array]:
    """Return statistics that hold batches alone, and the weights [modules] after it.

    `old` are those before a step, `new` what the models made of them, m old + (1 - m) batch; after
    t steps the weight is 1 - m^t.
    """
    before, after = flatten_dict(old, sep="/"), flatten_dict(new, sep="/")
    modules = modules_of(old)
    keep = [momenta.get(module, 1.0) for module in modules]
    # One array: XLA:CPU compiles a loop for each. 1 - m is taken in Python's precision.
    weights = jnp.array(keep) * weights + jnp.array([1 - m for m in keep])
    moved = dict(zip(modules, weights, strict=True))
    for path, value in before.items():
        if (module := module_of(path)) in momenta:
            after[path] = value + (after[path] - value) / moved[module]
    return unflatten_dict(after, sep="/"), weights


def make_precise(task: Task, frozen: frozenset[str], mesh: Mesh) -> Precise:
    """Return `precise(variables, batches) -> batch_stats` for images float32 in [0, 1].

    The mean and the variance of each norm are those of all examples together, under fixed
    parameters; nothing is dropped. The modules `frozen`, by path, keep theirs.
    """
    momenta: Momenta = {}

    @jax.jit(out_shardings=replicated(mesh))
    def moments(variables: Variables, batch: Batch) -> tuple[Flat, jax.Array]:
        with in_evaluation_mode(frozen), nn.intercept_methods(_keep_all), watched(momenta):
            _, stats = task.apply(variables, batch, True, jax.random.key(0))
        new, found = flatten_dict(stats, sep="/"), {}
        for path, old in flatten_dict(variables["batch_stats"], sep="/").items():
            if (module := module_of(path)) in momenta:
                found[path] = old + (new[path] - old) / (1 - momenta[module])
        for module in momenta:  # means of squares add up over batches, and variances do not
            found[f"{module}/var"] += found[f"{module}/mean"] ** 2
        examples = batch["valid"].sum()
        return {path: examples * value for path, value in found.items()}, examples

    def precise(variables: Variables, batches: Iterator[Batch]) -> Any:
        parts = [moments(variables, batch) for batch in batches]
        sums, examples = jax.tree.map(lambda *leaves: sum(leaves), *parts)
        means = {path: value / examples for path, value in sums.items()}
        for module in momenta:
            means[f"{module}/var"] -= means[f"{module}/mean"] ** 2
        old = flatten_dict(variables["batch_stats"], sep="/")
        return unflatten_dict(old | means, sep="/")

    return precise


def _keep_all(call: Any, args: Any, kwargs: dict[str, Any], context: Any) -> Any:
    """Have a dropout layer drop nothing."""
    if isinstance(context.module, Dropout | nn.Dropout) and context.method_name == "__call__":
        kwargs = {**kwargs, "deterministic": True}
    return call(*args, **kwargs)
