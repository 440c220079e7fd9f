"""Optimizers and learning-rate schedules by name, with the update rules of Keras 2.

The study ran under Keras 2, whose rules differ from optax's defaults in the place of the small
constant epsilon. With g the gradient, lr the learning rate and t = 1, 2, ... the step:

    sgd      p -= lr * g
    rmsprop  v = .9 v + .1 g^2
             p -= lr * g / (sqrt(v) + 1e-7)
    adam     m = .9 m + .1 g,  v = .999 v + .001 g^2
             p -= lr * sqrt(1 - .999^t) / (1 - .9^t) * m / (sqrt(v) + 1e-7)

`muon` is younger. It moves every direction of a matrix at the same speed, however small its
gradient is, which a linear autoencoder needs to find its last components.

Keras 3 (and the formula printed on the study's slides) has rmsprop divide by sqrt(v + 1e-7);
`eps_in_sqrt` selects that form.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice, check_range

EPS = 1e-7
RMSPROP_DECAY = 0.9
ADAM_B1 = 0.9
ADAM_B2 = 0.999

NUMBERS = ("learning_rate", "weight_decay", "clip_norm")  # fields that may differ in one program


def make_optimizer(
    config: ConfigDict, total_steps: int, numbers: Mapping[str, jax.Array] | None = None
) -> optax.GradientTransformation:
    """Build the gradient transformation that a config describes.

    `numbers` are values of `NUMBERS`, [] float32 and perhaps traced, in place of the config's; the
    config still says which parts there are.

    The order is: clip by global norm, the update rule, decoupled weight decay, learning rate.

    `weight_decay` adds `learning_rate * weight_decay * p` to the step of every kernel (array of
    rank > 1: Loshchilov and Hutter 2019, as PyTorch and optax scale it); `clip_norm` is the largest
    global L2 norm of the gradients, 0 for no clipping. `UserError` for an unknown name, or a value
    outside its range.
    """
    check_choice("optimizer.name", config.name, RULES)
    check_range("optimizer.weight_decay", config.weight_decay, 0)
    check_range("optimizer.clip_norm", config.clip_norm, 0)
    if config.eps_in_sqrt and config.name != "rmsprop":
        raise UserError(
            f"optimizer.eps_in_sqrt is True, and optimizer.name is {config.name!r}; only rmsprop "
            "has that form. Set eps_in_sqrt to False or the name to 'rmsprop'."
        )
    numbers = numbers or {name: config[name] for name in NUMBERS}
    rule = RULES[config.name](config)
    schedule = make_schedule(config, total_steps, numbers["learning_rate"])
    steps = [rule, optax.scale_by_learning_rate(schedule)]
    if config.weight_decay:
        steps.insert(1, optax.add_decayed_weights(numbers["weight_decay"], mask=_is_kernel))
    if config.clip_norm:
        steps.insert(0, optax.clip_by_global_norm(numbers["clip_norm"]))
    return optax.chain(*steps)


def make_schedule(
    config: ConfigDict, total_steps: int, peak: float | jax.Array | None = None
) -> optax.Schedule:
    """Build the learning rate as a function of the step, counted from 0.

    The first `warmup_steps` steps rise linearly, `learning_rate * (step + 1) / (warmup_steps + 1)`,
    so that no step has a rate of 0. Then "constant" keeps `learning_rate`; "linear" and "cosine"
    (Loshchilov and Hutter 2017, without restarts) fall from it to 0 at `total_steps`, one step
    after the last. `peak` is a rate, perhaps traced, in place of the config's. `UserError` for a
    rate that isn't positive, or a warm-up as long as the run.
    """
    check_choice("optimizer.schedule", config.schedule, SCHEDULES)
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
    after_warmup = SCHEDULES[config.schedule](peak, total_steps - warmup)
    if warmup == 0:
        return after_warmup
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, after_warmup], [warmup])


def rmsprop(config: ConfigDict) -> optax.GradientTransformation:
    """RMSprop's direction, epsilon outside the root (Keras 2) or inside it (Keras 3)."""
    return optax.scale_by_rms(RMSPROP_DECAY, EPS, eps_in_sqrt=config.eps_in_sqrt)


def adam(_: ConfigDict) -> optax.GradientTransformation:
    """Adam's direction in the "epsilon hat" form (Kingma and Ba 2015, end of section 2).

    Epsilon is added to the root of the uncorrected second moment. `optax.scale_by_adam` adds it
    to the corrected one, which is another rule for gradients below about 1e-4.
    """

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        # Two trees of zeros and not one twice: a buffer can be donated only once.
        mu, nu = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=mu, nu=nu)

    def update(
        grads: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(grads, state.mu, ADAM_B1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, ADAM_B2, 2)
        correction = jnp.sqrt(1 - ADAM_B2**count) / (1 - ADAM_B1**count)
        direction = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + EPS), mu, nu)
        return direction, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def muon(config: ConfigDict) -> optax.GradientTransformation:
    """Muon's direction (Jordan et al. 2024): momentum with all of its singular values made 1.

    For matrices and, as matrices [height * width * channels, features], convolution kernels; other
    arrays take Adam's direction.
    """

    def dimensions(params: optax.Params) -> optax.Params:
        return jax.tree.map(
            lambda p: optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), (p.ndim - 1,)),
            params,
        )

    def label(params: optax.Params) -> optax.Params:
        return jax.tree.map(lambda p: "other" if p.ndim < 2 else "kernel", params)

    directions = {
        "kernel": optax.contrib.scale_by_muon(weight_dimension_numbers=dimensions),
        "other": adam(config),
    }
    return optax.partition(directions, label)


def _is_kernel(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)


# A direction by the optimizer's name, and a rate of (peak, steps) by the schedule's.
RULES: dict[str, Callable[[ConfigDict], optax.GradientTransformation]] = {
    "rmsprop": rmsprop,
    "adam": adam,
    "sgd": lambda _: optax.identity(),  # plain gradient descent, without momentum
    "muon": muon,
}
SCHEDULES: dict[str, Callable[[float | jax.Array, int], optax.Schedule]] = {
    "constant": lambda peak, _: optax.constant_schedule(peak),
    "cosine": optax.cosine_decay_schedule,
    "linear": lambda peak, steps: optax.linear_schedule(peak, 0.0, steps),
}
