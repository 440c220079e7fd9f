"""Vectors that are updated as one array change nothing of what an optimizer does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vocjax.training.rules import RULES
from vocjax.training.vectors import vectors_as_one

ALONE = {"kernel": (3, 4), "bias": (4,)}
SEVERAL = {"a": {"kernel": (3, 3, 2, 4), "bias": (4,), "scale": (4,)}, "b": {"bias": (7,)}, "c": ()}


def drawn(shapes, seed):
    rng = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32), shapes, is_leaf=is_shape
    )


@pytest.mark.parametrize("shapes", [ALONE, SEVERAL], ids=["one vector", "several"])
@pytest.mark.parametrize("name", RULES)
def test_the_updates_are_those_of_the_vectors_one_by_one(name, shapes):
    decay = optax.add_decayed_weights(0.1, lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
    one_by_one = optax.chain(optax.clip_by_global_norm(0.5), RULES[name](), decay)
    as_one, params = vectors_as_one(one_by_one), drawn(shapes, 0)
    states = one_by_one.init(params), as_one.init(params)
    for seed in (1, 2, 3):
        gradients = drawn(shapes, seed)
        want, first = one_by_one.update(gradients, states[0], params)
        found, second = as_one.update(gradients, states[1], params)
        states = first, second
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), found, want)


def test_the_state_has_one_array_for_all_vectors():
    state = vectors_as_one(optax.trace(0.9)).init(drawn(SEVERAL, 0))
    assert sorted(x.shape for x in jax.tree.leaves(state)) == [(), (3, 3, 2, 4), (15,)]
