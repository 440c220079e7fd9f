"""Logistic regression on the device: multinomial, or one sigmoid a class, by L-BFGS."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

FOLDS = 5
STRENGTHS = 10.0 ** np.arange(-5, 2.5, 0.5)  # C, from the strongest penalty to the weakest
TOLERANCE, MOST_STEPS = 1e-5, 500


class Linear(NamedTuple):
    """Logits `features @ kernel + bias`: kernel [numbers, classes], bias [classes], float32."""

    kernel: jax.Array
    bias: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        """[batch, numbers] to logits [batch, classes]."""
        return jnp.matmul(features, self.kernel, precision="highest") + self.bias


Carry = tuple[Linear, Any, jax.Array]  # of L-BFGS: its state and the number of the step


class Examples(NamedTuple):
    """What is fitted: `features` [n, numbers]; 0 / 1 `present` and `weight` >= 0 [n, classes]."""

    features: jax.Array
    present: jax.Array
    weight: jax.Array


def loss(linear: Linear, examples: Examples, exclusive: bool) -> jax.Array:
    """Return the log-loss of each example [n]; a class of weight 0 counts for nothing.

    Sigmoids: the weighted sum over classes, so that each class is a fit of its own. Exclusive
    classes: -log softmax of the classes present, over the classes that count.
    """
    logits, known = linear(examples.features), examples.weight > 0
    if not exclusive:
        each = optax.sigmoid_binary_cross_entropy(logits, examples.present)
        return (examples.weight * each).sum(axis=1)
    log_p = jax.nn.log_softmax(logits, axis=1, where=known)
    wanted = examples.present * examples.weight
    return -jnp.where(wanted > 0, wanted * log_p, 0.0).sum(axis=1)


@partial(jax.jit, static_argnames="exclusive")
def fit(
    start: Linear, examples: Examples, strength: jax.Array, *, exclusive: bool = False
) -> Linear:
    """Minimise `|kernel|^2 / 2 + strength * sum of losses`, as scikit-learn does with C = strength.

    The bias has no penalty. `start` is where L-BFGS begins; the result does not depend on it.
    Source: Liu & Nocedal 1989, "On the limited memory BFGS method".
    """
    counted = (examples.weight > 0).any(axis=1)
    if exclusive and examples.present.shape[1] == 2:
        strength = strength / 2  # scikit-learn has one kernel here, ours are its halves
    n = jnp.maximum(counted.sum(), 1)
    # The same problem for features of mean 0 and scale 1, in which L-BFGS takes fewer steps.
    mean = jnp.where(counted[:, None], examples.features, 0.0).sum(axis=0) / n
    scale = jnp.sqrt(((examples.features - mean) ** 2).mean()) + 1e-12
    scaled = examples._replace(features=(examples.features - mean) / scale)

    def objective(linear: Linear) -> jax.Array:
        penalty = (linear.kernel**2).sum() / (2 * strength * scale**2)
        return (loss(linear, scaled, exclusive).sum() + penalty) / n

    begun = Linear(start.kernel * scale, start.bias + start(mean) - start.bias)
    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def step(carry: Carry) -> Carry:
        linear, state, number = carry
        value, gradient = value_and_grad(linear, state=state)
        of_search = {"value": value, "grad": gradient, "value_fn": objective}
        updates, state = optimizer.update(gradient, state, linear, **of_search)
        return optax.apply_updates(linear, updates), state, number + 1

    def unfinished(carry: Carry) -> jax.Array:
        gradient = optax.tree.get(carry[1], "grad")
        steep = optax.tree.norm(gradient) > TOLERANCE
        return (carry[2] == 0) | (steep & (carry[2] < MOST_STEPS))

    linear, *_ = jax.lax.while_loop(
        unfinished, step, (begun, optimizer.init(begun), jnp.zeros((), int))
    )
    kernel = linear.kernel / scale
    return Linear(kernel, linear.bias - mean @ kernel)


def cross_validated(
    examples: Examples, groups: np.ndarray, *, exclusive: bool
) -> tuple[Linear, float, np.ndarray]:
    """Fit at the strength of `STRENGTHS` with the least log-loss in `FOLDS`-fold cross-validation.

    Examples of one group [n], the crops of a photograph say, are held out together. Returns the fit
    to all examples, its strength, and the mean log-loss at each strength, infinite where it is not
    defined: features that overflow have no fit that is finite.
    """
    found, members = np.unique(groups, return_inverse=True)
    fold = np.random.RandomState(0).permutation(len(found))[members] % min(FOLDS, len(found))
    numbers, classes = examples.features.shape[1], examples.present.shape[1]
    zero = Linear(jnp.zeros((numbers, classes)), jnp.zeros(classes))
    losses = np.zeros(len(STRENGTHS))
    for number in range(fold.max() + 1):
        held_out = jnp.asarray(fold == number)[:, None]
        within = examples._replace(weight=jnp.where(held_out, 0.0, examples.weight))
        without = examples._replace(weight=jnp.where(held_out, examples.weight, 0.0))
        linear = zero
        for place, strength in enumerate(STRENGTHS):
            linear = fit(linear, within, strength, exclusive=exclusive)
            losses[place] += float(loss(linear, without, exclusive).sum())
    losses[np.isnan(losses)] = np.inf
    counted = float((examples.weight.sum(axis=1) > 0).sum())
    strength = float(STRENGTHS[losses.argmin()])
    return fit(zero, examples, strength, exclusive=exclusive), strength, losses / counted
