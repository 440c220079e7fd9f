"""JAX's primitives in ONNX, with a form for each; one that is not here can't be exported."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax import export

from vocjax.exported.onnx_nodes import Graph, Value, unknown

LAST = np.array([-1], np.int64)
# Primitives that are an operator of ONNX with the same inputs, and nothing else.
SAME = {
    **dict.fromkeys(("add", "add_any"), "Add"),
    **{"sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow"},
    **{"exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "erf": "Erf"},
    **{"abs": "Abs", "neg": "Neg", "sign": "Sign", "sqrt": "Sqrt", "floor": "Floor"},
    **{"eq": "Equal", "gt": "Greater", "lt": "Less"},
    **{"ge": "GreaterOrEqual", "le": "LessOrEqual", "and": "And", "or": "Or", "not": "Not"},
    **dict.fromkeys(("copy", "copy_p", "stop_gradient", "optimization_barrier"), "Identity"),
}


def _broadcast_in_dim(graph: Graph, equation: Any, x: Value, *_: Value) -> Value:
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    (was,) = [equation.invars[0].aval.shape]
    sides: list[Any] = [1] * len(shape)
    for place, side in zip(places, was, strict=True):
        sides[place] = side
    if tuple(sides) != tuple(was):
        x = graph.reshape(x, sides)
    return x if tuple(sides) == tuple(shape) else graph.expand(x, shape)


def _concatenate(graph: Graph, equation: Any, *xs: Value) -> Value:
    return graph.add("Concat", *xs, axis=equation.params["dimension"])


def _stack(graph: Graph, equation: Any, *xs: Value) -> Value:
    axis = equation.params["axis"]
    rows = (graph.add("Unsqueeze", x, graph.integers([axis])) for x in xs)
    return graph.add("Concat", *rows, axis=axis)


def _split(graph: Graph, equation: Any, x: Value) -> list[Value]:
    ends = np.cumsum(equation.params["sizes"]).tolist()
    axis, starts = graph.integers([equation.params["axis"]]), [0, *ends[:-1]]
    return [
        graph.add("Slice", x, graph.integers([a]), graph.integers([b]), axis)
        for a, b in zip(starts, ends, strict=True)
    ]


def _slice(graph: Graph, equation: Any, x: Value) -> Value:
    shape, parameters = equation.invars[0].aval.shape, equation.params
    starts, ends = parameters["start_indices"], parameters["limit_indices"]
    steps = parameters["strides"] or (1,) * len(shape)
    cut = [
        (axis, start, end, step)
        for axis, (side, start, end, step) in enumerate(
            zip(shape, starts, ends, steps, strict=True)
        )
        if not (start == 0 and end == side and step == 1)
    ]
    if any(map(export.is_symbolic_dim, itertools.chain(*cut))):
        raise unknown("a part of the batch")
    if not cut:
        return graph.add("Identity", x)
    axes, starts, ends, steps = map(graph.integers, zip(*cut, strict=True))
    return graph.add("Slice", x, starts, ends, axes, steps)


def _reverse(graph: Graph, equation: Any, x: Value) -> Value:
    axes = graph.integers(equation.params["dimensions"])
    ends = np.full(len(axes), np.iinfo(np.int64).min)
    return graph.add("Slice", x, -np.ones_like(axes), ends, axes, -np.ones_like(axes))


def _pad(graph: Graph, equation: Any, x: Value, fill: Value) -> Value:
    sides = equation.params["padding_config"]
    if any(low < 0 or high < 0 or between for low, high, between in sides):
        raise unknown("padding below 0 or between values")
    before, after = ([int(side[i]) for side in sides] for i in (0, 1))
    if not any((*before, *after)):
        return graph.add("Identity", x)
    return graph.add("Pad", x, graph.integers([*before, *after]), fill)


def _reduce(operator: str) -> Callable[..., Value]:
    def form(graph: Graph, equation: Any, x: Value) -> Value:
        axes = equation.params["axes"]  # without axes, ONNX would reduce them all
        return graph.add(operator, x, graph.integers(axes), keepdims=0) if axes else x

    return form


def _argmax(graph: Graph, equation: Any, x: Value) -> Value:
    (axis,) = equation.params["axes"]
    return graph.cast(graph.add("ArgMax", x, axis=axis, keepdims=0), equation.params["index_dtype"])


def _gather(graph: Graph, equation: Any, x: Value, places: Value) -> Value:
    """Take places along one axis; or, where they are known, a part, or some of several axes."""
    shape, how = equation.invars[0].aval.shape, equation.params["dimension_numbers"]
    axes, sizes = how.start_index_map, equation.params["slice_sizes"]
    if isinstance(places, np.ndarray) and places.ndim == 1:
        ends = places + [sizes[axis] for axis in axes]
        x = graph.add("Slice", x, *map(graph.integers, (places, ends, axes)))
        gone = how.collapsed_slice_dims  # without axes, ONNX would drop every side of 1
        return graph.add("Squeeze", x, graph.integers(gone)) if gone else x
    beside = [axis for axis in range(len(shape)) if axis not in axes]
    fits = how.collapsed_slice_dims == axes and all(sizes[i] == shape[i] for i in beside)
    rank = len(equation.invars[1].aval.shape) - 1
    if (
        fits
        and len(axes) == 1
        and how.offset_dims == tuple(i + (i > axes[0]) * (rank - 1) for i in beside)
    ):
        if isinstance(places, np.ndarray):
            return graph.add("Gather", x, places[..., 0], axis=axes[0])
        return graph.add("Gather", x, graph.add("Squeeze", places, LAST), axis=axes[0])
    if not fits or how.offset_dims != tuple(beside) or not isinstance(places, np.ndarray):
        raise unknown("a gather of single values")
    for k, axis in enumerate(axes):
        along = np.moveaxis(places[..., k], k, 0).reshape(places.shape[k], -1)
        if (along != along[:, :1]).any():
            raise unknown("a gather of single values")
        x = graph.add("Gather", x, along[:, 0], axis=axis)
    return x


def _scatter(graph: Graph, equation: Any, x: Value, places: Value, updates: Value) -> Value:
    """Put or add columns at known places of the last axis, by gathers from where they come."""
    how, shape = equation.params["dimension_numbers"], equation.invars[0].aval.shape
    last, count = len(shape) - 1, equation.invars[2].aval.shape[-1]
    plain = how.scatter_dims_to_operand_dims == (last,) == how.inserted_window_dims
    if not isinstance(places, np.ndarray) or places.ndim != 2 or not plain:
        raise unknown("a scatter over several axes")
    if len(np.unique(places)) < len(places):
        raise unknown("a scatter to one place twice")
    order = np.arange(shape[last])
    order[places[:, 0]] = shape[last] + np.arange(count)
    if equation.primitive.name == "scatter":
        return graph.add("Gather", graph.add("Concat", x, updates, axis=last), order, axis=last)
    none = np.zeros((), equation.invars[2].aval.dtype)
    padded = graph.add("Pad", updates, graph.integers([*[0] * last, 1, *[0] * (last + 1)]), none)
    order = np.maximum(order - shape[last] + 1, 0)
    return graph.add("Add", x, graph.add("Gather", padded, order, axis=last))


def _select_n(graph: Graph, equation: Any, which: Value, *cases: Value) -> Value:
    if len(cases) != 2 or equation.invars[0].aval.dtype != bool:
        raise unknown("a choice between more than two")
    return graph.add("Where", which, cases[1], cases[0])


def _dot_general(graph: Graph, equation: Any, a: Value, b: Value) -> Value:
    (of_a, of_b), (batch_a, batch_b) = equation.params["dimension_numbers"]
    ranks = [len(x.aval.shape) for x in equation.invars]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in range(ranks[0])]
    right = [next(letters) for _ in range(ranks[1])]
    for i, j in zip((*batch_a, *of_a), (*batch_b, *of_b), strict=True):
        right[j] = left[i]
    rest = [left[i] for i in range(ranks[0]) if i not in (*batch_a, *of_a)]
    rest += [right[j] for j in range(ranks[1]) if j not in (*batch_b, *of_b)]
    result = "".join([*(left[i] for i in batch_a), *rest])
    if not batch_a and of_a == (ranks[0] - 1,) and of_b == (0,) and ranks[1] == 2:
        return graph.add("MatMul", a, b)
    return graph.add("Einsum", a, b, equation=f"{''.join(left)},{''.join(right)}->{result}")


def _convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> Value:
    parameters = equation.params
    (of_x, of_kernel, of_result), pads = parameters["dimension_numbers"], parameters["padding"]
    ahead = any(low < 0 or high < 0 for low, high in pads)
    if ahead or set(parameters["lhs_dilation"]) != {1} or parameters["batch_group_count"] != 1:
        raise unknown("a convolution of an enlarged or a cut image")
    if isinstance(kernel, np.ndarray):
        kernel = kernel.transpose(of_kernel)
    else:
        kernel = graph.add("Transpose", kernel, perm=of_kernel)
    result = graph.add(
        "Conv",
        graph.add("Transpose", x, perm=of_x),
        kernel,
        strides=parameters["window_strides"],
        pads=[int(side[i]) for i in (0, 1) for side in pads],
        dilations=parameters["rhs_dilation"],
        group=parameters["feature_group_count"],
    )
    return graph.add("Transpose", result, perm=np.argsort(of_result).tolist())


def _power(graph: Graph, equation: Any, x: Value) -> Value:
    exponent = equation.params.get("y", 2)  # of `square` there is none
    return graph.add("Pow", x, np.asarray(exponent, equation.invars[0].aval.dtype))


def _one(equation: Any) -> np.ndarray:
    return np.ones((), equation.invars[0].aval.dtype)


FORMS: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "slice": _slice,
    "rev": _reverse,
    "pad": _pad,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "argmax": _argmax,
    "gather": _gather,
    **dict.fromkeys(("scatter", "scatter-add"), _scatter),
    "select_n": _select_n,
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
    **dict.fromkeys(("integer_pow", "square"), _power),
    "reshape": lambda graph, equation, x: graph.reshape(x, equation.outvars[0].aval.shape),
    "squeeze": lambda graph, equation, x: graph.add(
        "Squeeze", x, graph.integers(equation.params["dimensions"])
    ),
    "transpose": lambda graph, equation, x: graph.add(
        "Transpose", x, perm=equation.params["permutation"]
    ),
    "convert_element_type": lambda graph, equation, x: graph.cast(x, equation.params["new_dtype"]),
    "ne": lambda graph, equation, a, b: graph.add("Not", graph.add("Equal", a, b)),
    "rsqrt": lambda graph, equation, x: graph.add("Reciprocal", graph.add("Sqrt", x)),
    "erfc": lambda graph, equation, x: graph.add("Sub", _one(equation), graph.add("Erf", x)),
    "expm1": lambda graph, equation, x: graph.add("Sub", graph.add("Exp", x), _one(equation)),
    "log1p": lambda graph, equation, x: graph.add("Log", graph.add("Add", x, _one(equation))),
}
