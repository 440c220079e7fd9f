"""Update rules of our own, those of Keras 2: each gives the direction that a step goes against.

The study ran under Keras 2, whose rules differ from optax's defaults in the place of the small
constant epsilon. With g the gradient, lr the learning rate and t = 1, 2, ... the step:

    sgd      p -= lr * g;  with momentum  v = momentum v + g,  p -= lr * v,
             with nesterov  p -= lr * (g + momentum v)
    rmsprop  v = .9 v + .1 g^2
             p -= lr * g / (sqrt(v) + 1e-7)
    adam     m = .9 m + .1 g,  v = .999 v + .001 g^2
             p -= lr * sqrt(1 - .999^t) / (1 - .9^t) * m / (sqrt(v) + 1e-7)

`muon` is younger. It moves every direction of a matrix at the same speed, however small its
gradient is, which a linear autoencoder needs to find its last components.

The slides of the study print epsilon inside the root, and `eps_in_sqrt` selects that form:

    rmsprop  p -= lr * g / sqrt(v + 1e-7)                                       (also Keras 3)
    adam     p -= lr * m / (1 - .9^t) / sqrt(v / (1 - .999^t) + 1e-7)

Their formula of Adam has wrong signs besides, which climb the hill or give NaN. Here all are right.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from vocjax.errors import UserError
from vocjax.training.arguments import check_flag, check_number, check_whole

FIELD = "optimizer.arguments"
EPS = 1e-7


def rmsprop(
    *, decay: float = 0.9, momentum: float = 0.0, eps: float = EPS, eps_in_sqrt: bool = False
) -> optax.GradientTransformation:
    """RMSprop's direction, epsilon outside the root (Keras 2) or inside it (Keras 3)."""
    _check_shares(decay=decay, momentum=momentum)
    check_number(FIELD, "eps", eps, 0)
    direction = optax.scale_by_rms(decay, eps, eps_in_sqrt=eps_in_sqrt)
    return optax.chain(direction, optax.trace(momentum)) if momentum else direction


def adam(
    *, b1: float = 0.9, b2: float = 0.999, eps: float = EPS, eps_in_sqrt: bool = False
) -> optax.GradientTransformation:
    """Adam's direction in the "epsilon hat" form (Kingma and Ba 2015, end of section 2).

    Epsilon is added to the root of the uncorrected second moment. `optax.scale_by_adam` adds it
    to the corrected one, which is another rule for gradients below about 1e-4. With `eps_in_sqrt`
    it is added to the corrected moment itself.
    """
    _check_shares(b1=b1, b2=b2)
    check_number(FIELD, "eps", eps, 0)
    if eps_in_sqrt:
        return optax.scale_by_adam(b1, b2, eps=0.0, eps_root=eps)

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        # Two trees of zeros and not one twice: a buffer can be donated only once.
        mu, nu = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=mu, nu=nu)

    def update(
        grads: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)
        correction = jnp.sqrt(1 - b2**count) / (1 - b1**count)
        direction = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + eps), mu, nu)
        return direction, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def sgd(*, momentum: float = 0.0, nesterov: bool = False) -> optax.GradientTransformation:
    """Gradient descent's direction, plain or with a velocity (Sutskever et al. 2013).

    The rate multiplies the velocity, as in PyTorch and optax; at a constant rate that is Keras's.
    """
    _check_shares(momentum=momentum)
    check_flag(FIELD, "nesterov", nesterov)
    if nesterov and not momentum:
        raise UserError(f"{FIELD} has nesterov, which needs a momentum: (('momentum', 0.9), ...).")
    return optax.trace(momentum, nesterov) if momentum else optax.identity()


def muon(
    *, beta: float = 0.95, nesterov: bool = True, ns_steps: int = 5
) -> optax.GradientTransformation:
    """Muon's direction (Jordan et al. 2024): momentum with all of its singular values made 1.

    For matrices and, as matrices [height * width * channels, features], convolution kernels; other
    arrays take Adam's direction.
    """
    _check_shares(beta=beta)
    check_flag(FIELD, "nesterov", nesterov)
    check_whole(FIELD, "ns_steps", ns_steps, 1)

    def dimensions(params: optax.Params) -> optax.Params:
        return jax.tree.map(
            lambda p: optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), (p.ndim - 1,)),
            params,
        )

    def label(params: optax.Params) -> optax.Params:
        return jax.tree.map(lambda p: "other" if p.ndim < 2 else "kernel", params)

    kernels = optax.contrib.scale_by_muon(
        beta=beta, nesterov=nesterov, ns_steps=ns_steps, weight_dimension_numbers=dimensions
    )
    return optax.partition({"kernel": kernels, "other": adam()}, label)


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        check_number(FIELD, name, share, 0, 1)


# Directions of keyword arguments, by the optimizer's name.
RULES: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "rmsprop": rmsprop,
    "adam": adam,
    "sgd": sgd,
    "muon": muon,
}
BY_NUMBER = ("rmsprop", "adam", "sgd")  # those that treat each number of a kernel alone
