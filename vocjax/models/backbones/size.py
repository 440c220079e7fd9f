"""How large a network is: the shapes of its variables, its multiply-adds; nothing is computed."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params


def shapes(module: nn.Module, image_shape: Sequence[int]) -> dict[str, Any]:
    """Variables of a network, a backbone or a stage that has not drawn any.

    Args:
      module: called with images, `train` and `valid`.
      image_shape: (height, width, channels).

    Returns:
      The variables' tree with a `jax.ShapeDtypeStruct` at each leaf.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    init = functools.partial(module.init, train=False, valid=None)
    return jax.eval_shape(init, jax.random.key(0), images)


def multiply_adds(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Multiply-adds of convolutions and matrix products for one image, in evaluation mode.

    It is what papers and torchvision call multiply-adds or, loosely, FLOPs: batch norm, activations
    and max-pools count for nothing, products with the zeros around a map for as much as any. The
    means of `adaptive_mean_pool`, which are matrix products here, are counted too: less than a
    thousandth of AlexNet and VGG.

    Args:
      module: as of `shapes`.
      image_shape: (height, width, channels).

    Raises ValueError for a network with a loop, whose passes are not known.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    apply = functools.partial(module.apply, train=False, valid=None)
    return _of_jaxpr(jax.make_jaxpr(apply)(shapes(module, image_shape), images).jaxpr)


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
            # One convolution in several ways, by platform: as a sum of shifted products it would
            # not be recognised.
            return max(map(_of_jaxpr, jaxprs_in_params(equation.params)))
        case "scan" | "while":
            raise ValueError(f"multiply-adds within a loop ({equation.primitive}) are not counted")
        case _:
            return sum(map(_of_jaxpr, jaxprs_in_params(equation.params)))


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape
