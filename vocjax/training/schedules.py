"""Learning rates as functions of the update: a linear warm-up, then a schedule by name.

Ours, with `peak` the rate after the warm-up, s the updates since then and S those until the end:

    constant       peak
    step           peak * factor^(number of `boundaries` <= s)
    linear         from peak to end * peak at S
    cosine         end * peak + (1 - end) * peak * (1 + cos(pi s / S)) / 2
    poly           end * peak + (1 - end) * peak * (1 - s / S)^power  (DeepLab: power .9)
    warm_restarts  cosine again and again, in cycles of `first`, first * growth,
                   first * growth^2, ... updates (Loshchilov and Hutter 2017)

Any other name is a schedule of optax. `optimizer.schedule_unit` says whether the lengths among the
arguments count updates ("steps") or epochs.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice, did_you_mean
from vocjax.training import arguments

FIELD = "optimizer.schedule_arguments"
UNITS = ("steps", "epochs")

Rate = float | jax.Array

# What optax calls the learning rate, the first that a schedule has; and the steps until its end.
RATES = ("peak_value", "init_value", "value")
SPANS = ("transition_steps", "decay_steps")
# The arguments, of ours and of optax, that count steps.
PAIRS = "boundaries_and_scales"
LENGTHS = ("boundaries", "first", "transition_begin", "warmup_steps")


def make_schedule(
    config: ConfigDict, total_steps: int, peak: Rate | None = None, epoch_steps: int = 1
) -> optax.Schedule:
    """Build the learning rate as a function of the step, counted from 0; a step is an update.

    The first `warmup_steps` steps rise linearly, `learning_rate * (step + 1) / (warmup_steps + 1)`,
    so that no step has a rate of 0. The schedule follows, as if it began there, and ends at
    `total_steps`, one step after the last. `peak` is a rate, perhaps traced, in place of the
    config's; an epoch has `epoch_steps`. `UserError` for a rate that isn't positive, a warm-up as
    long as the run, a name or an argument that isn't known.
    """
    if not 0 < config.learning_rate < math.inf:
        raise UserError(
            f"optimizer.learning_rate is {config.learning_rate}; it must be a number above 0. "
            "Keras's defaults are 0.001 for rmsprop and adam and 0.01 for sgd."
        )
    if not 0 <= config.warmup_steps < total_steps:
        raise UserError(
            f"optimizer.warmup_steps is {config.warmup_steps} in a run, or a phase of it, of "
            f"{total_steps} steps; it must be at least 0 and less than these. Shorten the warm-up "
            "or train for longer."
        )
    peak = config.learning_rate if peak is None else peak
    warmup = config.warmup_steps
    after_warmup = _after_warmup(config, peak, total_steps - warmup, epoch_steps)
    if warmup == 0:
        return after_warmup
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, after_warmup], [warmup])


def _after_warmup(config: ConfigDict, peak: Rate, steps: int, epoch_steps: int) -> optax.Schedule:
    name, given = config.schedule, arguments.keywords(FIELD, config.schedule_arguments)
    check_choice("optimizer.schedule_unit", config.schedule_unit, UNITS)
    unit = 1 if config.schedule_unit == "steps" else epoch_steps
    what = f"optimizer.schedule {name!r}{arguments.said(given)}"
    given = {key: _length(key, value, unit) for key, value in given.items()}
    if name in SCHEDULES:
        function, filled = SCHEDULES[name], {"peak": peak, "steps": steps}
        fields = {"peak": "optimizer.learning_rate", "steps": "epochs"}
        arguments.check(FIELD, name, function, given, fields)
    else:
        function = optax_schedule(name)
        taken = arguments.parameters(function)
        rate = next(key for key in RATES if key in taken)
        ends = {key: steps for key in SPANS if taken.get(key) is arguments.REQUIRED}
        given = ends | given
        filled, fields = {rate: peak}, {rate: "optimizer.learning_rate"}
        arguments.check(FIELD, f"optax.{name}", function, given, fields)
    schedule = arguments.call(what, function, **filled, **given)
    arguments.call(what, jax.eval_shape, schedule, jax.ShapeDtypeStruct((), jnp.int32))
    return schedule


def _length(name: str, value: Any, unit: int) -> Any:
    """Return an argument that counts steps in steps, and any other one as it is.

    `UserError` for one that isn't positive, or that rounds to no step, in the unit of the user.
    """

    def steps(at: Any) -> int:
        arguments.check_number(FIELD, name, at, 0)
        if at and not round(at * unit):
            raise UserError(
                f"{FIELD} has {name}={value!r}, and {at} of an epoch of {unit} updates is less "
                "than one of them."
            )
        return round(at * unit)

    if name == PAIRS:
        pairs = isinstance(value, tuple) and all(
            isinstance(v, tuple) and len(v) == 2 for v in value
        )
        if not pairs:
            raise UserError(f"{FIELD} has {name}={value!r}; it is a tuple of (step, factor).")
        return {steps(at): factor for at, factor in value}
    if name not in (*LENGTHS, *SPANS):
        return value
    if name != "boundaries":
        return steps(value)
    found = tuple(map(steps, value)) if isinstance(value, tuple) else ()
    if not found or sorted(set(found)) != list(found):
        apart = f", {1 / unit:.2g} apart at least" if unit > 1 else ""
        raise UserError(
            f"{FIELD} has boundaries={value!r}; it is a tuple of rising numbers{apart}, one or "
            "more: (30, 60) for instance."
        )
    return found


def beyond(config: ConfigDict, total_steps: int, epoch_steps: int) -> list[str]:
    """Return a sentence for a log if boundaries lie after the end, where they change nothing."""
    given = arguments.keywords(FIELD, config.schedule_arguments)
    unit = 1 if config.schedule_unit == "steps" else epoch_steps
    places = [*given.get("boundaries", ()), *(at for at, _ in given.get(PAIRS, ()))]
    late = [at for at in places if config.warmup_steps + round(at * unit) >= total_steps]
    if not late:
        return []
    end = f"{total_steps:,} updates, {total_steps / epoch_steps:g} epochs"
    listed = ", ".join(f"{at:g}" for at in late)
    return [f"schedule boundaries at {listed} {config.schedule_unit} lie after the end ({end})"]


def optax_schedule(name: str) -> Callable[..., optax.Schedule]:
    """Return optax's schedule of a name; `UserError` for one that is none."""
    known = {
        key: function
        for key, function in vars(optax.schedules).items()
        if inspect.isfunction(function) and set(RATES) & arguments.parameters(function).keys()
    }
    if name in known:
        return known[name]
    raise UserError(
        f"optimizer.schedule is {name!r}; it is one of {', '.join(SCHEDULES)}, or one of optax: "
        f"{', '.join(sorted(known))}.{did_you_mean(name, (*SCHEDULES, *known))}"
    )


def constant(peak: Rate, steps: int) -> optax.Schedule:
    """Keep the rate."""
    del steps
    return optax.constant_schedule(peak)


def step(
    peak: Rate, steps: int, *, boundaries: tuple[int, ...], factor: float = 0.1
) -> optax.Schedule:
    """Multiply the rate by `factor` at each of `boundaries`, as PyTorch's MultiStepLR does."""
    del steps
    _check("factor", factor, 0)
    return optax.piecewise_constant_schedule(peak, dict.fromkeys(boundaries, factor))


def linear(peak: Rate, steps: int, *, end: float = 0.0) -> optax.Schedule:
    """Fall linearly to `end`, a share of the rate."""
    _check("end", end, 0)
    return optax.linear_schedule(peak, end * peak, steps)


def cosine(peak: Rate, steps: int, *, end: float = 0.0) -> optax.Schedule:
    """Fall along half a cosine to `end`, a share of the rate."""
    _check("end", end, 0)
    return optax.cosine_decay_schedule(peak, steps, alpha=end)


def poly(peak: Rate, steps: int, *, power: float = 0.9, end: float = 0.0) -> optax.Schedule:
    """Fall as (1 - s / S)^power to `end`, a share of the rate."""
    _check("power", power, 0)
    _check("end", end, 0)
    return optax.polynomial_schedule(peak, end * peak, power, steps)


def warm_restarts(
    peak: Rate, steps: int, *, first: int, growth: int = 1, end: float = 0.0
) -> optax.Schedule:
    """Fall along half a cosine to `end`, a share of the rate, and begin again; see above."""
    if not first:
        raise UserError(f"{FIELD}: first is 0; it must be above 0.")
    arguments.check_whole(FIELD, "growth", growth, 1)
    _check("end", end, 0)
    starts, lengths = [0], [first]
    while growth > 1 and starts[-1] + lengths[-1] < steps:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(int(lengths[-1] * growth))
    most = np.iinfo(np.int32).max
    begins, spans = (jnp.array(np.minimum(x, most), jnp.int32) for x in (starts, lengths))

    def schedule(count: Any) -> jax.Array:
        cycle = jnp.searchsorted(begins, count, side="right") - 1
        share = ((count - begins[cycle]) % spans[cycle]) / spans[cycle]
        return peak * (end + (1 - end) * 0.5 * (1 + jnp.cos(jnp.pi * share)))

    return schedule


def _check(name: str, value: float, least: float) -> None:
    arguments.check_number(FIELD, name, value, least)


# Rates of (peak, steps) and keyword arguments, by name.
SCHEDULES: Mapping[str, Callable[..., optax.Schedule]] = {
    "constant": constant,
    "step": step,
    "linear": linear,
    "cosine": cosine,
    "poly": poly,
    "warm_restarts": warm_restarts,
}
