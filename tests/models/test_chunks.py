"""A batch in chunks gives what the whole batch gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.models.chunks import by_chunks, images_of


@pytest.mark.parametrize(("batch", "images", "loops"), [(6, 2, 3), (6, 4, 2), (7, 4, 7), (3, 8, 0)])
def test_chunks_of_the_largest_size_that_divides_the_batch(batch, images, loops):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((batch, 4, 3), np.float32))
    weights = jnp.arange(float(batch))

    def function(x, weights):
        return {"twice": 2 * x}, (x * weights[:, None, None]).sum(0)

    each, summed = by_chunks(function, images, x, weights)
    np.testing.assert_array_equal(each["twice"], 2 * x)
    expected = np.einsum("bij,b->ij", np.asarray(x, np.float64), np.asarray(weights))
    np.testing.assert_allclose(summed, expected, rtol=1e-5, atol=1e-5)
    program = jax.make_jaxpr(lambda *arrays: by_chunks(function, images, *arrays))(x, weights)
    found = [e.params["length"] for e in program.jaxpr.eqns if e.primitive.name == "scan"]
    assert found == ([loops] if loops else [])


def test_a_chunk_is_an_image_at_least():
    assert images_of(32, 32) == 2
    assert images_of(224, 224) == 1
