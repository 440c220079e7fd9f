"""Count the multiply-adds of a network from its jaxpr."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params


def multiply_adds(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Count the multiply-adds of convolutions and matrix products for one image, in evaluation.

    Papers and torchvision call them multiply-adds or, loosely, FLOPs. Batch norm, activations and
    max-pools count as nothing; products with the zeros around a map count as all others do. The
    means of `adaptive_mean_pool` are matrix products here and are counted, too: less than a
    thousandth of AlexNet and VGG.

    Raises ValueError for a network with a loop, because the number of its passes is not known.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    run = functools.partial(module.init_with_output, train=False, valid=None)  # draws no products
    return _of_jaxpr(jax.make_jaxpr(run)(jax.random.key(0), images).jaxpr)


def _of_jaxpr(jaxpr: Jaxpr) -> int:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: JaxprEqn) -> int:
    match equation.primitive.name:
        case "conv_general_dilated":
            kernel = _shape(equation.invars[1])
            features, *_ = equation.params["dimension_numbers"].rhs_spec
            return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // kernel[features]
        case "dot_general":
            left, result = _shape(equation.invars[0]), _shape(equation.outvars[0])
            (contracted, _), _ = equation.params["dimension_numbers"]
            return math.prod(result) * math.prod(left[axis] for axis in contracted)
        case "cond":
            # Each branch computes one convolution for one platform. The branch that adds shifted
            # products has no convolution to count.
            return max(map(_of_jaxpr, jaxprs_in_params(equation.params)))
        case "scan" | "while":
            raise ValueError(f"multiply-adds in a loop ({equation.primitive}) are not counted")
        case _:
            return sum(map(_of_jaxpr, jaxprs_in_params(equation.params)))


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape
