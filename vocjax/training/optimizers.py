"""Optimizers by name: our rules (`training/rules.py`), and every optimizer of optax."""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice, check_range, did_you_mean
from vocjax.training import arguments
from vocjax.training.joined import small_as_one
from vocjax.training.rules import BY_NUMBER, FIELD, RULES
from vocjax.training.schedules import make_schedule

NUMBERS = ("learning_rate", "weight_decay", "clip_norm")  # fields that may differ in one program
DECAYED = ("kernels", "all")
FREE = "schedule_free"
MANY = 10**6  # updates of a trial
SHARES = ("b1", "b2", "b3", "beta", "decay", "momentum")  # of optax's optimizers

# Parameters of optax's optimizers that are fields of the config.
RATES = ("learning_rate", "max_learning_rate")
MASKS = ("mask", "weight_decay_mask")
FIELDS = {
    **dict.fromkeys(RATES, "optimizer.learning_rate"),
    **dict.fromkeys(("weight_decay", "weight_decay_rate"), "optimizer.weight_decay"),
    **dict.fromkeys(MASKS, "optimizer.weight_decay_on"),
}


def make_optimizer(
    config: ConfigDict,
    total_steps: int,
    numbers: Mapping[str, jax.Array] | None = None,
    epoch_steps: int = 1,
) -> optax.GradientTransformation:
    """Build the gradient transformation that a config describes, for `total_steps` updates.

    `numbers` are values of `NUMBERS`, [] float32 and perhaps traced, in place of the config's; the
    config still says which parts there are. An epoch has `epoch_steps` updates.

    The order is: clip by global norm, the update rule, weight decay, learning rate. An optimizer
    of optax is one whole, and gets the learning rate as its argument.

    `weight_decay` adds `learning_rate * weight_decay * p` to the step (Loshchilov and Hutter 2019,
    as PyTorch and optax scale it), of every kernel (array of rank > 1) or of all parameters, as
    `weight_decay_on` says; an optimizer of optax that has a weight decay with a mask applies it
    in its own way. `clip_norm` is the largest global L2 norm of the gradients, 0 for no clipping.
    `UserError` for an unknown name or argument, or a value outside its range.
    """
    check_range("optimizer.weight_decay", config.weight_decay, 0)
    check_range("optimizer.clip_norm", config.clip_norm, 0)
    check_choice("optimizer.weight_decay_on", config.weight_decay_on, DECAYED)
    if config.eps_in_sqrt and config.name not in ("rmsprop", "adam"):
        raise UserError(
            f"optimizer.eps_in_sqrt is True, and optimizer.name is {config.name!r}; only rmsprop "
            "and adam have that form. Set eps_in_sqrt to False, or the name to one of them."
        )
    numbers = numbers or {name: config[name] for name in NUMBERS}
    given = arguments.keywords(FIELD, config.arguments)
    schedule = make_schedule(config, total_steps, numbers["learning_rate"], epoch_steps)
    steps = (_ours if config.name in RULES else _of_optax)(config, given, schedule, numbers)
    if config.clip_norm:
        steps.insert(0, optax.clip_by_global_norm(numbers["clip_norm"]))
    optimizer = optax.chain(*steps)
    if config.name not in RULES:
        return optimizer
    return small_as_one(optimizer, kernels=config.name in BY_NUMBER)


def _ours(
    config: ConfigDict,
    given: Mapping[str, Any],
    schedule: optax.Schedule,
    numbers: Mapping[str, Any],
) -> list[optax.GradientTransformation]:
    rule = RULES[config.name]
    field = {"eps_in_sqrt": "optimizer.eps_in_sqrt"}
    arguments.check(FIELD, config.name, rule, given, field)
    form = {"eps_in_sqrt": True} if config.eps_in_sqrt else {}
    direction = arguments.call(_what(config), rule, **given, **form)
    steps = [direction, optax.scale_by_learning_rate(schedule)]
    if config.weight_decay:
        steps.insert(1, optax.add_decayed_weights(numbers["weight_decay"], mask=_mask(config)))
    return steps


def _of_optax(
    config: ConfigDict,
    given: Mapping[str, Any],
    schedule: optax.Schedule,
    numbers: Mapping[str, Any],
) -> list[optax.GradientTransformation]:
    function = optax_optimizer(config.name)
    arguments.check(FIELD, config.name, function, given, FIELDS)
    _check_values(given)
    taken = arguments.parameters(function)
    rate = numbers["learning_rate"] if _is_fixed(config) else schedule
    filled: dict[str, Any] = {name: rate for name in RATES if name in taken}
    decay, masks = numbers["weight_decay"], [name for name in MASKS if name in taken]
    decays = "weight_decay" in taken and bool(masks)  # in its own way, and only what it is told
    if "weight_decay" in taken:  # whose default may be another one than 0
        filled["weight_decay"] = decay if decays and config.weight_decay else 0.0
    if decays and config.weight_decay:
        filled[masks[0]] = _mask(config)
    steps = [arguments.call(_what(config), function, **filled, **given)]
    if config.weight_decay and not decays:
        steps.append(optax.add_decayed_weights(lambda n: -decay * schedule(n), mask=_mask(config)))
    return steps


def _check_values(given: Mapping[str, Any]) -> None:
    """Raise `UserError` for what optax takes without a look."""
    for name, value in given.items():
        if name in SHARES and value is not None:
            arguments.check_number(FIELD, name, value, 0, 1)
        if name.endswith("dtype") and value not in (None, "float32", "bfloat16", "float16"):
            raise UserError(f"{FIELD}: {name} is {value!r}; it must be float32, bfloat16, float16.")


@functools.cache
def optax_optimizers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Return what can be an optimizer of optax and optax.contrib, by name.

    It has a learning rate, and works on no other optimizer.
    """
    found: dict[str, Callable[..., optax.GradientTransformation]] = {}
    for module in (optax.contrib, optax):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and not name.startswith(("_", "scale_by_")):
                taken = arguments.parameters(function)
                wraps = taken.get("base_optimizer") is arguments.REQUIRED
                if set(RATES) & taken.keys() and not wraps and not name.startswith(FREE):
                    found[name] = function
    return found


def optax_optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    """Return an optimizer of optax, "lion" or "optax.adam"; `UserError` for what is none."""
    known, short = optax_optimizers(), re.sub(r"^optax\.(contrib\.)?", "", name)
    if short in known:
        return known[short]
    if short.startswith(FREE):
        raise UserError(
            f"optimizer.name is {name!r}, whose parameters in training are not those to evaluate; "
            "vocjax can't tell them apart. Take another optimizer, with optimizer.average_decay "
            "for instance."
        )
    if callable(getattr(optax, short, None) or getattr(optax.contrib, short, None)):
        raise UserError(
            f"optimizer.name is {name!r}, which is no optimizer of optax but a part, or a wrapper, "
            f"of one: it has no learning rate, or works on another optimizer.{_names(short)}"
        )
    raise UserError(f"optimizer.name is {name!r}.{_names(short)}")


def _names(name: str) -> str:
    known = optax_optimizers()
    return (
        f" It is one of {', '.join(RULES)}, or one of optax: {', '.join(sorted(known))}."
        f"{did_you_mean(name, RULES) or did_you_mean(name, known)}"
    )


def check_updates(
    config: ConfigDict, optimizer: optax.GradientTransformation, params: optax.Params
) -> None:
    """Raise `UserError` unless an optimizer of optax, or arguments, can update these parameters.

    What optax refuses, or needs besides the gradients and the loss (`value`), shows only here; and
    so does a state that no checkpoint can hold. `params` are arrays or their shapes.
    """
    if config.name in RULES and not config.arguments:
        return

    def step(params: optax.Params) -> tuple[optax.Updates, optax.OptState]:
        update = optax.with_extra_args_support(optimizer).update
        one = jnp.ones(())
        return update(params, optimizer.init(params), params, value=one, weight=one)

    updates, state = arguments.call(_what(config), jax.eval_shape, step, params)
    if jax.tree.map(jnp.shape, updates) != jax.tree.map(jnp.shape, params):
        raise UserError(
            f"{_what(config)} gives no update for each parameter: it needs more than the gradient "
            "of a batch. Choose another one."
        )
    if not all(math.prod(x.shape) for x in jax.tree.leaves(state)):  # Orbax refuses them
        raise UserError(
            f"{_what(config)} keeps arrays without numbers for some of these parameters, and a "
            "checkpoint can't hold those. Choose another one."
        )
    _check_finite(config)


def _check_finite(config: ConfigDict) -> None:
    """Raise `UserError` unless two updates of a few numbers are finite."""
    params = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.full((2,), -0.5)}

    def step(state: optax.OptState, scale: jax.Array) -> tuple[optax.Updates, optax.OptState]:
        grads = jax.tree.map(lambda p: scale * p, params)
        update = optax.with_extra_args_support(trial).update
        return update(grads, state, params, value=jnp.ones(()), weight=jnp.ones(()))

    trial, finite = make_optimizer(config, MANY), True
    state = trial.init(params)
    for scale in (1.0, -0.3):
        updates, state = arguments.call(_what(config), jax.jit(step), state, jnp.asarray(scale))
        finite = finite and all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(updates))
    if not finite:
        raise UserError(f"{_what(config)} gives updates that are not finite. Change its arguments.")


def decayed(config: ConfigDict, params: optax.Params) -> int:
    """Return how many numbers of `params`, arrays or shapes, the weight decay touches."""
    if not config.weight_decay:
        return 0
    mask = (_mask(config) or (lambda p: jax.tree.map(lambda _: True, p)))(params)
    sizes = jax.tree.map(lambda p, touched: math.prod(p.shape) if touched else 0, params, mask)
    return sum(jax.tree.leaves(sizes))


def _what(config: ConfigDict) -> str:
    changing = "" if _is_fixed(config) else " with a learning rate that changes"
    given = arguments.said(arguments.keywords(FIELD, config.arguments))
    return f"optimizer.name {config.name!r}{given}{changing}"


def _is_fixed(config: ConfigDict) -> bool:
    """Return whether the learning rate is one number, which some optimizers of optax need."""
    return config.schedule == "constant" and not config.warmup_steps


def _mask(config: ConfigDict) -> Callable[[optax.Params], optax.Params] | None:
    """Return what says which parameters decay, None for all."""
    return None if config.weight_decay_on == "all" else _is_kernel


def _is_kernel(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)
