"""Count the multiply-adds of a network from its jaxpr."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    return _total(layers_of(jax.make_jaxpr(run)(jax.random.key(0), images).jaxpr))


class Layer(NamedTuple):
    """A convolution or a matrix product: its multiply-adds, and the numbers it reads and writes."""

    multiply_adds: int
    numbers: int


def layers_of(jaxpr: Jaxpr) -> list[Layer]:
    """Return the convolutions and matrix products of a program, in order.

    Raises ValueError for a program with a loop.
    """
    return [layer for equation in jaxpr.eqns for layer in _of_equation(equation)]


def _total(layers: list[Layer]) -> int:
    return sum(layer.multiply_adds for layer in layers)


def _of_equation(equation: JaxprEqn) -> list[Layer]:
    match equation.primitive.name:
        case "conv_general_dilated":
            kernel = _shape(equation.invars[1])
            features, *_ = equation.params["dimension_numbers"].rhs_spec
            products = math.prod(_shape(equation.outvars[0])) * math.prod(kernel)
            return [Layer(products // kernel[features], _numbers(equation))]
        case "dot_general":
            left, result = _shape(equation.invars[0]), _shape(equation.outvars[0])
            (contracted, _), _ = equation.params["dimension_numbers"]
            products = math.prod(result) * math.prod(left[axis] for axis in contracted)
            return [Layer(products, _numbers(equation))]
        case "cond":
            # Each branch computes one convolution for one platform. The last is of all but the CPU:
            # it is the convolution itself.
            return layers_of(equation.params["branches"][-1].jaxpr)
        case "scan" | "while":
            raise ValueError(f"multiply-adds in a loop ({equation.primitive}) are not counted")
        case _:
            return [x for jaxpr in jaxprs_in_params(equation.params) for x in layers_of(jaxpr)]


def _numbers(equation: JaxprEqn) -> int:
    return sum(math.prod(_shape(atom)) for atom in (*equation.invars, *equation.outvars))


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape
