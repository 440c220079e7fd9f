"""The first variables of a module: what its `init` returns, computed by NumPy without compilation.

XLA compiles a random generator for each parameter of `jit(module.init)`, which takes as long as
the train step. Here `init` is only traced. The part of its program that makes the variables (the
initialisers, not the forward pass) is a list of simple operations on the bits that Threefry makes
of the key and of the parameter's path. NumPy does the same operations on the same bits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from jax.interpreters.partial_eval import dce_jaxpr
from scipy import special

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
CHUNK = 2**15  # numbers that Threefry makes at once: they stay in the processor's cache


class UnknownOperation(Exception):
    """An initialiser needs an operation that is not in `OPERATIONS`."""


def variables(init: Any, key: jax.Array, *arguments: Any) -> Any:
    """Return `init(key, *arguments)` of a jitted `init`, in most cases without compiling it.

    `init` is `jax.jit(module.init)`, which JAX traces once for the same shapes: the first variables
    cost no second trace where their shapes were asked for before. Numbers of Flax's uniform
    initialisers are those of `module.init` to the last bit. Normal numbers differ by rounding:
    about 1e-6 standard deviations, in the far tail up to 2e-5. All are the same whatever the
    accelerator. `init` is compiled if an initialiser needs an operation that is not in `OPERATIONS`
    (`orthogonal`, for example) or makes numbers that do not have 32 bits, or if the key is not of
    JAX's default generator. If the key is traced (`jax.eval_shape`, `jax.jit`, `jax.vmap`), `init`
    is too.
    """
    leaves = jax.tree.leaves((key, arguments))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return init(key, *arguments)
    traced = init.trace(key, *arguments)
    program, shapes = traced.jaxpr, traced.out_info
    needed, used = dce_jaxpr(program.jaxpr, [True] * len(program.out_avals))
    try:
        inputs = [_as_numpy(leaf) for leaf, is_used in zip(leaves, used, strict=True) if is_used]
        results = _evaluate(needed, [_as_numpy(x) for x in program.consts], inputs)
    except UnknownOperation:
        return init(key, *arguments)
    return jax.device_put(jax.tree.unflatten(jax.tree.structure(shapes), results), may_alias=False)


def _evaluate(jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))
    uses = [(v, i) for i, equation in enumerate(jaxpr.eqns) for v in _variables(equation.invars)]
    last_use = dict(uses) | dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))

    def value(atom: Any) -> np.ndarray:
        is_literal = isinstance(atom, Literal)
        return np.asarray(atom.val, atom.aval.dtype) if is_literal else values[atom]

    for i, equation in enumerate(jaxpr.eqns):
        results = _results(equation, [value(atom) for atom in equation.invars])
        values |= dict(zip(equation.outvars, results, strict=True))
        for variable in _variables(equation.invars):
            if last_use[variable] == i:
                values.pop(variable, None)  # else ten arrays as large as the largest are held
    return [value(atom) for atom in jaxpr.outvars]


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _results(equation: JaxprEqn, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    name, parameters = equation.primitive.name, equation.params
    if name == "jit":
        inner = parameters["jaxpr"]
        return _evaluate(inner.jaxpr, [_as_numpy(x) for x in inner.consts], inputs)
    if name not in OPERATIONS:
        raise UnknownOperation(name)
    made: Any = equation.outvars[0].aval
    if not (_is_key(made) or made.dtype.itemsize == 4):
        raise UnknownOperation(f"{name} makes {made.dtype}")
    result = OPERATIONS[name](parameters, *inputs)
    if not _is_key(made) and (result.shape, result.dtype) != (made.shape, made.dtype):
        raise UnknownOperation(f"{name} makes {made}, in NumPy {result.dtype} {result.shape}")
    return [result]


def _is_key(array: Any) -> bool:
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)


def _as_numpy(array: Any) -> np.ndarray:
    """Return an array's values; of a key, its two words of 32 bits."""
    if not (isinstance(array, jax.Array) and _is_key(array)):
        return np.asarray(array)
    is_default = jax.config.values["jax_threefry_partitionable"]
    if jax.random.key_impl(array) != "threefry2x32" or not is_default:
        raise UnknownOperation(f"draws by {jax.random.key_impl(array)}")
    return np.asarray(jax.random.key_data(array))


def _threefry(key: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Threefry-2x32 (20 rounds; Salmon et al. 2011) of the pairs (0, count).

    `key` [2] and `counts` [n] uint32, which are overwritten, to two words of random bits for each
    count: [n] and [n] uint32.
    """
    words = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    left, right, wrapped = np.full_like(counts, words[0]), counts, np.empty_like(counts)
    right += words[1]
    for block in range(5):
        for rotation in ROTATIONS[block % 2]:
            left += right
            np.right_shift(right, np.uint32(32 - rotation), out=wrapped)
            np.left_shift(right, np.uint32(rotation), out=right)
            right |= wrapped
            right ^= left
        left += words[(block + 1) % 3]
        right += words[(block + 2) % 3]
        right += np.uint32(block + 1)
    return left, right


def _random_bits(parameters: Mapping[str, Any], key: np.ndarray) -> np.ndarray:
    size = math.prod(parameters["shape"])
    if key.shape != (2,) or size > 2**32:
        raise UnknownOperation(f"{size} draws of keys {key.shape}")
    bits = np.empty(size, np.uint32)
    for start in range(0, size, CHUNK):
        end = min(start + CHUNK, size)
        left, right = _threefry(key, np.arange(start, end, dtype=np.uint32))
        bits[start:end] = left ^ right
    return bits.reshape(parameters["shape"])


def _fold_in(_: Mapping[str, Any], key: np.ndarray, number: np.ndarray) -> np.ndarray:
    if key.shape != (2,):
        raise UnknownOperation("several keys at once")
    return np.concatenate(_threefry(key, number.astype(np.uint32).reshape(1)))


def _broadcast(parameters: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
    sides = [1] * len(parameters["shape"])
    for axis, side in zip(parameters["broadcast_dimensions"], array.shape, strict=True):
        sides[axis] = side
    return np.broadcast_to(array.reshape(sides), parameters["shape"])


def _elementwise(function: np.ufunc) -> Callable[..., np.ndarray]:
    return lambda _, *inputs: np.asarray(function(*inputs))


def _rounded(function: np.ufunc) -> Callable[..., np.ndarray]:
    """Compute in float64 and round: float32 differs between mathematical libraries."""
    return lambda _, x: function(x, out=np.empty_like(x), dtype=np.float64, casting="same_kind")


# JAX's primitives by name. Each takes the equation's parameters, then its inputs.
OPERATIONS: Mapping[str, Callable[..., np.ndarray]] = {
    "random_bits": _random_bits,
    "random_fold_in": _fold_in,
    "broadcast_in_dim": _broadcast,
    "copy": lambda _, x: x,
    "stop_gradient": lambda _, x: x,
    "reshape": lambda parameters, x: x.reshape(parameters["new_sizes"]),
    "transpose": lambda parameters, x: x.transpose(parameters["permutation"]),
    "convert_element_type": lambda parameters, x: x.astype(parameters["new_dtype"]),
    "bitcast_convert_type": lambda parameters, x: x.view(parameters["new_dtype"]),
    "shift_right_logical": lambda _, x, n: (x.view(np.uint32) >> n.astype(np.uint32)).view(x.dtype),
    "or": _elementwise(np.bitwise_or),
    "add": _elementwise(np.add),
    "sub": _elementwise(np.subtract),
    "mul": _elementwise(np.multiply),
    "div": _elementwise(np.divide),
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "nextafter": _elementwise(np.nextafter),
    "sqrt": _elementwise(np.sqrt),
    "erf": _rounded(special.erf),
    "erf_inv": _rounded(special.erfinv),
}
