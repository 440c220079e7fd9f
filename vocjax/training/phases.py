"""The phases of a run: which parameters each of them trains, and how fast.

`config.optimizer.phases` is a tuple of `(first epoch, ((regex, factor), ...))`, the first epoch
counted from 0. A parameter's path, "encoder/ConvBlock_0/Conv_0/kernel", takes the first regex that
matches it whole; its learning rate is the factor times the run's, and factor 0 freezes it:

    (0, (("head/.*", 1.0), (".*", 0.0))),      # the head first,
    (10, (("head/.*", 0.1), (".*", 0.02))),    # then everything, more slowly

`config.optimizer.layer_decay` is `(regex, factor)`, and multiplies the factors of all phases. The
groups of the regex are the numbers of a layer, "encoder/ConvBlock_(\\d+)/.*": of n layers that it
finds, the last one learns at `factor` times the rate, the one before it at factor^2, and the first
at factor^n (as in BEiT and timm); a parameter that it does not match whole keeps its rate.

Every phase begins with a fresh optimizer, and has warm-up and schedule for itself. What is frozen
has no gradient and no optimizer state, and a module of which everything is frozen runs in
evaluation mode: its statistics stand still, and it drops nothing.
"""

import itertools
import operator
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_range
from vocjax.training.accumulation import accumulated, updates_in
from vocjax.training.optimizers import make_optimizer

Params = dict[str, Any]

EVALUATION = {"train": False, "use_running_average": True}  # arguments of modules


class Phase(NamedTuple):
    """Epochs from `first` to before `end`; `factors` are those of the parameters that it trains."""

    first: int
    end: int
    factors: dict[str, float]  # by path

    def split(self, params: Params) -> tuple[Params, Params]:
        """Divide parameters into those that are trained and those that are frozen."""
        flat = flatten_dict(params, sep="/")
        trained = {path: x for path, x in flat.items() if path in self.factors}
        frozen = {path: x for path, x in flat.items() if path not in self.factors}
        return unflatten_dict(trained, sep="/"), unflatten_dict(frozen, sep="/")


def join(trained: Params, frozen: Params) -> Params:
    """Put together what `Phase.split` divided."""
    return unflatten_dict(flatten_dict(trained) | flatten_dict(frozen))


def make_phases(config: ConfigDict, params: Params) -> tuple[Phase, ...]:
    """Return a config's phases for parameters, or their shapes.

    `UserError` where the phases don't follow each other from epoch 0, a regex is none or matches
    nothing, a factor is negative, a parameter is covered by no regex, or `layer_decay` names no
    numbers of layers.
    """
    paths = list(flatten_dict(params, sep="/"))
    phases = config.optimizer.phases or ((0, ((".*", 1.0),)),)
    try:
        firsts = [operator.index(first) for first, _ in phases]
        factors = [[(str(regex), float(factor)) for regex, factor in g] for _, g in phases]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"optimizer.phases is {phases!r}; it is a tuple of (first epoch, ((regex, factor), "
            "...)), for instance ((0, (('head/.*', 1.0), ('.*', 0.0))),)."
        ) from error
    if firsts[0] != 0 or firsts != sorted(set(firsts)) or firsts[-1] >= max(config.epochs, 1):
        raise UserError(
            f"optimizer.phases begin at the epochs {', '.join(map(str, firsts))}; the first begins "
            f"at 0, each later than the one before it, and all before epochs={config.epochs}."
        )
    ends = [*firsts[1:], config.epochs]
    layers = _layer_factors(config.optimizer.layer_decay, paths)
    return tuple(
        Phase(first, end, {p: f * layers.get(p, 1.0) for p, f in _factors(groups, paths).items()})
        for first, end, groups in zip(firsts, ends, factors, strict=True)
    )


def _factors(groups: list[tuple[str, float]], paths: list[str]) -> dict[str, float]:
    chosen: dict[str, float] = {}
    for regex, factor in groups:
        check_range("a factor in optimizer.phases", factor, 0)
        try:
            found = [path for path in paths if re.fullmatch(regex, path)]
        except re.error as error:
            raise UserError(f"optimizer.phases: {regex!r} is no regex: {error}.") from error
        if not found:
            raise UserError(
                f"optimizer.phases: {regex!r} matches no parameter; they are "
                f"{', '.join(paths[:20])}{', ...' if len(paths) > 20 else ''}."
            )
        left = [path for path in found if path not in chosen]
        if not left:
            raise UserError(
                f"optimizer.phases: all that {regex!r} matches is taken by the regexes before it; "
                "the first one that matches counts: put it before them, or leave it out."
            )
        chosen |= dict.fromkeys(left, factor)
    if uncovered := [path for path in paths if path not in chosen]:
        raise UserError(
            f"optimizer.phases covers neither {' nor '.join(uncovered[:10])}; every parameter "
            "needs a regex that matches it, '.*' at the end for the others."
        )
    if not any(chosen.values()):
        raise UserError("optimizer.phases freezes every parameter; at least one must learn.")
    return {path: factor for path, factor in chosen.items() if factor}


def _layer_factors(layer_decay: tuple[Any, ...], paths: list[str]) -> dict[str, float]:
    if not layer_decay:
        return {}
    try:
        (regex, factor), layers = layer_decay, {}
        for path in paths:
            if found := re.fullmatch(str(regex), path):
                layers[path] = tuple(-1 if n is None else int(n) for n in found.groups())
        factor = float(factor)
    except (TypeError, ValueError, re.error) as error:
        raise UserError(
            f"optimizer.layer_decay is {layer_decay!r}; it is (regex, factor), and the groups of "
            r"the regex are numbers of layers: ('encoder/ConvBlock_(\d+)/.*', 0.75)."
        ) from error
    if not 0 < factor <= 1:
        raise UserError(
            f"optimizer.layer_decay has the factor {factor}; it must be above 0, and at most 1: "
            "each layer learns slower than the next one. Factors of optimizer.phases freeze, or "
            "let learn faster."
        )
    order = sorted(set(layers.values()))
    if len(order) < 2:
        raise UserError(
            f"optimizer.layer_decay: {regex!r} finds {len(order)} layers, and at least two differ "
            f"in their rates; the parameters are {', '.join(paths[:20])}"
            f"{', ...' if len(paths) > 20 else ''}."
        )
    return {path: factor ** (len(order) - order.index(layer)) for path, layer in layers.items()}


def phase_of_step(phases: tuple[Phase, ...], step: int, batches: int) -> int:
    """Return the number of the phase that made step `step`, of `batches` an epoch; 0 for step 0."""
    epoch = max(step - 1, 0) // max(batches, 1)
    return max(i for i, phase in enumerate(phases) if phase.first <= epoch or i == 0)


def phase_optimizer(
    config: ConfigDict,
    phase: Phase,
    batches: int,
    optimizer: optax.GradientTransformation | None = None,
    numbers: Mapping[str, jax.Array] | None = None,
) -> optax.GradientTransformation:
    """Return the optimizer, or your own with scaled updates, for what a phase trains.

    `numbers` are those of `make_optimizer`. Its schedule counts updates: fewer than `batches` in an
    epoch where gradients are accumulated.
    """
    every = config.optimizer.accumulate
    check_range("optimizer.accumulate", every, 1)
    updates = updates_in(batches, every)
    steps = max((phase.end - phase.first) * updates, 1)
    optimizer = optimizer or make_optimizer(config.optimizer, steps, numbers, updates)
    optimizer = _scaled(optimizer, phase)
    return accumulated(optimizer, every, batches, phase.first) if every > 1 else optimizer


def _scaled(optimizer: optax.GradientTransformation, phase: Phase) -> optax.GradientTransformation:
    """Return an optimizer whose updates are multiplied by the factors of a phase."""
    if set(phase.factors.values()) == {1.0}:
        return optimizer

    def scale(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        flat = flatten_dict(updates, sep="/")
        return unflatten_dict({path: phase.factors[path] * u for path, u in flat.items()}, sep="/")

    return optax.chain(optimizer, optax.stateless(scale))


def frozen_modules(phase: Phase, params: Params) -> frozenset[str]:
    """Return the paths of the modules in which every parameter is frozen."""
    every = {module for path in flatten_dict(params, sep="/") for module in _modules(path)}
    return frozenset(every - {module for path in phase.factors for module in _modules(path)})


def _modules(path: str) -> Iterable[str]:
    """Return the modules that a parameter lies in: "a/b/kernel" in "a" and "a/b"."""
    return itertools.accumulate(path.split("/")[:-1], "{}/{}".format)


def in_evaluation_mode(modules: frozenset[str]) -> AbstractContextManager[None]:
    """Have Flax call these modules, by path, with `EVALUATION` whatever the model asks for."""

    def intercept(call: Any, args: Any, kwargs: dict[str, Any], context: Any) -> Any:
        # Flax hands over properties too, also those of a module that has no place in a model yet.
        bound = context.module.scope is not None
        if bound and "/".join(context.module.path) in modules:
            kwargs = {name: EVALUATION.get(name, value) for name, value in kwargs.items()}
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)


def count(params: Params) -> int:
    """Return how many numbers a pytree of arrays or shapes has."""
    return sum(x.size for x in jax.tree.leaves(params))
