"""Small arrays that are updated as one change nothing of what an optimizer does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vocjax.training.joined import SMALL, small_as_one
from vocjax.training.rules import BY_NUMBER, RULES

ALONE = {"kernel": (3, 4), "bias": (4,)}
SEVERAL = {
    "a": {"kernel": (3, 3, 2, 4), "bias": (4,), "scale": (4,)},
    "b": {"kernel": (7, 7), "bias": (7,)},
    "c": (),
}
LARGE = {str(n): {"kernel": (SMALL // n, n + 1), "bias": (n,)} for n in range(1, 12)}


def drawn(shapes, seed):
    rng = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32), shapes, is_leaf=is_shape
    )


def close(x, y):
    # The norm that clips is summed in another order: by an ulp of values up to 4.
    np.testing.assert_allclose(x, y, rtol=1e-6, atol=2.5e-7)


@pytest.mark.parametrize("shapes", [ALONE, SEVERAL, LARGE], ids=["one of each", "several", "large"])
@pytest.mark.parametrize("name", RULES)
def test_the_updates_are_those_of_the_arrays_one_by_one(name, shapes):
    decay = optax.add_decayed_weights(0.1, lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
    # Muon's iteration would make more of that ulp.
    clip = optax.clip_by_global_norm(0.5) if name in BY_NUMBER else optax.identity()
    one_by_one = optax.chain(clip, RULES[name](), decay)
    as_one, params = small_as_one(one_by_one, name in BY_NUMBER), drawn(shapes, 0)
    states = one_by_one.init(params), as_one.init(params)
    for seed in (1, 2, 3):
        gradients = drawn(shapes, seed)
        want, first = one_by_one.update(gradients, states[0], params)
        found, second = as_one.update(gradients, states[1], params)
        states = first, second
        jax.tree.map(close, found, want)


def test_the_state_has_an_array_for_all_vectors_and_one_for_all_small_kernels():
    params = drawn({"large": (SMALL + 1,), **SEVERAL}, 0)
    state = small_as_one(optax.trace(0.9)).init(params)
    shapes = sorted(x.shape for x in jax.tree.leaves(state))
    assert shapes == [(), (1, 3 * 3 * 2 * 4 + 7 * 7), (15,), (SMALL + 1,)]
