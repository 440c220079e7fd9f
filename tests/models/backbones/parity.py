"""The same random weights and statistics for a network of ours and for its peer."""

import functools

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.weights.layouts import restore


def shapes(module, image_shape):
    """Variables as shapes, of a network, a backbone or a stage that has not drawn any."""
    images = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    init = functools.partial(module.init, train=False, valid=None)
    return jax.eval_shape(init, jax.random.key(0), images)


def random_variables(module, image_shape, seed=0):
    """Kernels that keep an activation's size; no bias, mean or scale is 0 or 1.

    Variances are about 2: residual sums then don't grow so large that biases would not be seen.
    """
    rng = np.random.default_rng(seed)

    def draw(path, shape):
        normal = rng.standard_normal(shape, np.float32)
        match path[-1]:
            case "kernel":
                return normal * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
            case "var":
                return 2 * np.exp(normal / 3)
            case "scale":
                return np.exp(normal / 3)
            case _:
                return normal / 3

    leaves = flatten_dict(shapes(module, image_shape))
    return unflatten_dict({path: draw(path, leaf.shape) for path, leaf in leaves.items()})


def foreign(variables, names):
    """Arrays by the peer's names; every variable has one, and no two the same."""
    flat = {"/".join(path[1:]): leaf for path, leaf in flatten_dict(variables).items()}
    assert set(flat) == set(names)
    arrays = {name: restore(flat[path], layout) for path, (name, layout) in names.items()}
    assert len(arrays) == len(names)
    return arrays


def apply(network, variables, images):
    return np.asarray(jax.jit(network.apply)(variables, images))


def error(ours, theirs):
    """Largest difference, relative to the largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
