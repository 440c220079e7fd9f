"""Optimizers and learning-rate schedules by name, with the update rules of Keras 2.

The study ran under Keras 2, whose rules differ from optax's defaults in where the small constant
epsilon stands. With g the gradient, lr the learning rate and t = 1, 2, ... the step:

    sgd      p -= lr * g
    rmsprop  v = .9 v + .1 g^2
             p -= lr * g / (sqrt(v) + 1e-7)
    adam     m = .9 m + .1 g,  v = .999 v + .001 g^2
             p -= lr * sqrt(1 - .999^t) / (1 - .9^t) * m / (sqrt(v) + 1e-7)

`muon` is younger: it moves every direction of a matrix at the same speed, however small its
gradient is, which is what a linear autoencoder needs to find its last components.

Keras 3 (and the formula printed on the study's slides) has rmsprop divide by sqrt(v + 1e-7);
`eps_in_sqrt` selects that form.
"""

import difflib
import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict

from vocjax.errors import UserError

EPS = 1e-7
RMSPROP_DECAY = 0.9
ADAM_B1 = 0.9
ADAM_B2 = 0.999

T = TypeVar("T")


def make_optimizer(config: ConfigDict, total_steps: int) -> optax.GradientTransformation:
    """Build the gradient transformation that a config describes.

    The order is: clip by global norm, the update rule, decoupled weight decay, learning rate.
    The updates are float32 like the parameters and are added to them (`optax.apply_updates`).

    Args:
      config: `name` ("rmsprop", "adam", "sgd", "muon"); `learning_rate`, `schedule`, `warmup_steps`
        (see `make_schedule`); `eps_in_sqrt` (rmsprop only, see the module's text); `weight_decay`,
        which adds `learning_rate * weight_decay * p` to the step of every kernel, that is every
        array of rank > 1 (Loshchilov and Hutter 2019, as PyTorch and optax scale it); `clip_norm`,
        the largest global L2 norm of the gradients, 0 for no clipping.
      total_steps: the number of updates in the whole run.

    Raises:
      UserError: an unknown name, or a value outside its range.
    """
    _check_not_negative(config, "weight_decay")
    _check_not_negative(config, "clip_norm")
    rule = _named(RULES, config.name, "optimizer")
    if config.eps_in_sqrt and config.name != "rmsprop":
        raise UserError(
            f"eps_in_sqrt=True has no meaning for the optimizer {config.name!r}: "
            "it was expected with 'rmsprop' only. Set eps_in_sqrt=False or name='rmsprop'."
        )
    steps = [rule(config), optax.scale_by_learning_rate(make_schedule(config, total_steps))]
    if config.weight_decay:
        steps.insert(1, optax.add_decayed_weights(config.weight_decay, mask=_is_kernel))
    if config.clip_norm:
        steps.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*steps)


def make_schedule(config: ConfigDict, total_steps: int) -> optax.Schedule:
    """Build the learning rate as a function of the step, counted from 0.

    The first `warmup_steps` steps rise linearly, `learning_rate * (step + 1) / (warmup_steps + 1)`,
    so that none of them is wasted on a rate of 0. From there on "constant" keeps `learning_rate`;
    "linear" and "cosine" (Loshchilov and Hutter 2017, without restarts) fall from it to 0 at
    `total_steps`, one step after the last.

    Raises:
      UserError: an unknown schedule, a learning rate that isn't positive, or a warm-up that is
        negative or as long as the run.
    """
    if not 0 < config.learning_rate < math.inf:
        raise UserError(
            f"learning_rate={config.learning_rate}: a number above 0 was expected. "
            "Keras's defaults are 0.001 for rmsprop and adam and 0.01 for sgd."
        )
    if not 0 <= config.warmup_steps < total_steps:
        raise UserError(
            f"warmup_steps={config.warmup_steps} in a run, or a phase of it, of {total_steps} "
            "steps: at least 0 and fewer than these were expected. Shorten the warm-up or train "
            "for longer."
        )
    decay = _named(SCHEDULES, config.schedule, "schedule")
    peak, warmup = config.learning_rate, config.warmup_steps
    after_warmup = decay(peak, total_steps - warmup)
    if warmup == 0:
        return after_warmup
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, after_warmup], [warmup])


def rmsprop(config: ConfigDict) -> optax.GradientTransformation:
    """RMSprop's direction, epsilon outside the root (Keras 2) or inside it (Keras 3)."""
    return optax.scale_by_rms(RMSPROP_DECAY, EPS, eps_in_sqrt=config.eps_in_sqrt)


def adam(config: ConfigDict) -> optax.GradientTransformation:
    """Adam's direction in the "epsilon hat" form (Kingma and Ba 2015, end of section 2).

    Epsilon is added to the root of the uncorrected second moment. `optax.scale_by_adam` adds it
    to the corrected one, which is another rule for gradients below about 1e-4.
    """
    del config

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


def sgd(config: ConfigDict) -> optax.GradientTransformation:
    """Plain gradient descent's direction, without momentum: the gradient itself."""
    del config
    return optax.identity()


def _constant(peak: float, steps: int) -> optax.Schedule:
    del steps
    return optax.constant_schedule(peak)


def _linear(peak: float, steps: int) -> optax.Schedule:
    return optax.linear_schedule(peak, 0.0, steps)


RULES: dict[str, Callable[[ConfigDict], optax.GradientTransformation]] = {
    "rmsprop": rmsprop,
    "adam": adam,
    "sgd": sgd,
    "muon": muon,
}
SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": _constant,
    "cosine": optax.cosine_decay_schedule,
    "linear": _linear,
}


def _is_kernel(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _named(choices: dict[str, T], name: str, kind: str) -> T:
    if name in choices:
        return choices[name]
    close = difflib.get_close_matches(name, choices, n=1)
    advice = f"Did you mean {close[0]!r}?" if close else "Choose one of these."
    raise UserError(f"unknown {kind} {name!r}: expected one of {', '.join(choices)}. {advice}")


def _check_not_negative(config: ConfigDict, field: str) -> None:
    if not config[field] >= 0:
        raise UserError(
            f"{field}={config[field]}: a number of at least 0 was expected. Set it to 0 for none."
        )
