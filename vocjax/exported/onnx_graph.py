"""A JAX function as an ONNX graph: what it is traced to, with one form for each primitive.

The libraries for this replace functions of Flax and of `jax.numpy` while they trace. Here the
function is traced as it is, so that no network needs a form of its own, and whatever does not
depend on the images, as the folded kernels of an up-sampling, is computed once, by JAX.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax import export
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr
from onnx import TensorProto, helper, numpy_helper

from vocjax.errors import UserError

MOST = 2**31  # bytes of a file, which is a message of Protobuf
OPSET, IR = 18, 10  # read by onnxruntime from 1.18 on
LAST = np.array([-1], np.int64)
Value = np.ndarray | str  # known, or the name of what a node gives
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
# Calls of a function, by the parameter that has it.
CALLS = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "remat2", "checkpoint"), "jaxpr"),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
}


def to_onnx(
    function: Callable[[jax.Array], Mapping[str, jax.Array]],
    image: tuple[int, int, int],
    dtype: str,
    facts: Mapping[str, str],
) -> onnx.ModelProto:
    """Return the model of a function of `images` [batch, *image], with a free batch dimension.

    Its outputs have the names of the function's. `facts` become its metadata. Raises `UserError`
    for an operation that has no form here.
    """
    batch = export.symbolic_shape("batch")[0]
    images = jax.ShapeDtypeStruct((batch, *image), dtype)
    names = list(jax.eval_shape(function, images))
    traced = jax.make_jaxpr(lambda x: [function(x)[name] for name in names])(images)
    graph = _Graph(batch)
    values = graph.run(traced, ["images"])
    for name, value in zip(names, values, strict=True):
        graph.nodes.append(helper.make_node("Identity", [graph.name(value)], [name]))
    outputs = [_info(n, v.aval) for n, v in zip(names, traced.jaxpr.outvars, strict=True)]
    inputs = [_info("images", images)]
    made = helper.make_graph(graph.nodes, "vocjax", inputs, outputs, list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, opset_imports=[opset], ir_version=IR, producer_name="vocjax")
    helper.set_model_props(model, dict(facts))
    if (size := model.ByteSize()) >= MOST:
        raise _unknown(f"{size} bytes, and one file has room for {MOST}")
    onnx.checker.check_model(model)
    return model


def _info(name: str, like: Any) -> onnx.ValueInfoProto:
    sides = ["batch" if export.is_symbolic_dim(side) else side for side in like.shape]
    return helper.make_tensor_value_info(name, _type(like.dtype), sides)


def _type(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class _Graph:
    """The nodes so far. A value is known, an array, or has the name of what will be computed."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.sizes: str | None = None  # the value of `batch`, int64 [1]
        self.known: dict[int, tuple[str, np.ndarray]] = {}  # by identity; the array stays alive

    def name(self, value: Value) -> str:
        """Return the name of a value; a known one becomes a constant of the graph."""
        if isinstance(value, str):
            return value
        if id(value) not in self.known:
            name = f"c{len(self.known)}"
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
            self.constants[name].dims[:] = value.shape  # a scalar has become [1]
            self.known[id(value)] = name, value
        return self.known[id(value)][0]

    def add(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        output = f"v{len(self.nodes)}"
        names = [self.name(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def integers(self, values: Sequence[Any]) -> np.ndarray:
        return np.array(values, np.int64)

    def reshape(self, x: Value, shape: Sequence[Any]) -> Value:
        free = [export.is_symbolic_dim(side) for side in shape]
        if sum(free) > 1:
            raise _unknown(f"a shape {shape}")
        sides = [-1 if is_free else side for side, is_free in zip(shape, free, strict=True)]
        return self.add("Reshape", x, self.integers(sides))

    def expand(self, x: Value, shape: Sequence[Any]) -> Value:
        """Repeat sides of 1 up to a shape of the same rank."""
        if not any(map(export.is_symbolic_dim, shape)):
            return self.add("Expand", x, self.integers(shape))
        if any(export.is_symbolic_dim(side) and side != self.batch for side in shape):
            raise _unknown(f"a shape {shape}")
        if self.sizes is None:
            self.sizes = self.add("Shape", "images", start=0, end=1)
        sides = (
            self.sizes if export.is_symbolic_dim(side) else self.integers([side]) for side in shape
        )
        return self.add("Expand", x, self.add("Concat", *sides, axis=0))

    def cast(self, x: Value, dtype: Any) -> Value:
        return self.add("Cast", x, to=_type(dtype))

    def run(self, traced: Any, inputs: Sequence[Value]) -> list[Value]:
        """Add what a closed jaxpr computes of `inputs`; return its outputs."""
        # Without what the outputs do not depend on: random keys, say, are drawn for nothing.
        jaxpr, _ = dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars), instantiate=True)
        values = dict[Any, Value]()
        values.update(zip(jaxpr.constvars, map(np.asarray, traced.consts), strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def value(of: Any) -> Value:
            return np.asarray(of.val) if isinstance(of, core.Literal) else values[of]

        for equation in jaxpr.eqns:
            found = self.equation(equation, [value(of) for of in equation.invars])
            values.update(zip(equation.outvars, found, strict=True))
        return [value(of) for of in jaxpr.outvars]

    def equation(self, equation: Any, inputs: list[Value]) -> Sequence[Value]:
        """Add what an equation computes, or compute it where all of its inputs are known."""
        name, parameters = equation.primitive.name, equation.params
        if name in CALLS:
            inner = parameters[CALLS[name]]
            closed = inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
            return self.run(closed, inputs)
        if name == "platform_index":  # of the branch for all other platforms, if there is one
            platforms = parameters["platforms"]
            return [np.asarray(platforms.index(None) if None in platforms else 0, np.int32)]
        if name == "cond" and isinstance(inputs[0], np.ndarray):
            return self.run(parameters["branches"][int(inputs[0])], inputs[1:])
        sides = [side for of in equation.outvars for side in of.aval.shape]
        if not any(isinstance(x, str) for x in inputs) and not any(
            map(export.is_symbolic_dim, sides)
        ):
            found = equation.primitive.bind(*inputs, **parameters)
            found = found if equation.primitive.multiple_results else [found]
            return [np.asarray(x) for x in found]
        if name in SAME:
            return [self.add(SAME[name], *inputs)]
        if name not in FORMS:
            raise _unknown(f"the operation {name!r}")
        result = FORMS[name](self, equation, *inputs)
        return result if isinstance(result, list) else [result]


def _unknown(what: str) -> UserError:
    return UserError(
        f"this network can't become an ONNX graph here: it needs {what}. Export it with --format "
        "stablehlo or safetensors."
    )


def _broadcast_in_dim(graph: _Graph, equation: Any, x: Value, *_: Value) -> Value:
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    (was,) = [equation.invars[0].aval.shape]
    sides: list[Any] = [1] * len(shape)
    for place, side in zip(places, was, strict=True):
        sides[place] = side
    if tuple(sides) != tuple(was):
        x = graph.reshape(x, sides)
    return x if tuple(sides) == tuple(shape) else graph.expand(x, shape)


def _concatenate(graph: _Graph, equation: Any, *xs: Value) -> Value:
    return graph.add("Concat", *xs, axis=equation.params["dimension"])


def _stack(graph: _Graph, equation: Any, *xs: Value) -> Value:
    axis = equation.params["axis"]
    rows = (graph.add("Unsqueeze", x, graph.integers([axis])) for x in xs)
    return graph.add("Concat", *rows, axis=axis)


def _split(graph: _Graph, equation: Any, x: Value) -> list[Value]:
    ends = np.cumsum(equation.params["sizes"]).tolist()
    axis, starts = graph.integers([equation.params["axis"]]), [0, *ends[:-1]]
    return [
        graph.add("Slice", x, graph.integers([a]), graph.integers([b]), axis)
        for a, b in zip(starts, ends, strict=True)
    ]


def _slice(graph: _Graph, equation: Any, x: Value) -> Value:
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
        raise _unknown("a part of the batch")
    if not cut:
        return graph.add("Identity", x)
    axes, starts, ends, steps = map(graph.integers, zip(*cut, strict=True))
    return graph.add("Slice", x, starts, ends, axes, steps)


def _reverse(graph: _Graph, equation: Any, x: Value) -> Value:
    axes = graph.integers(equation.params["dimensions"])
    ends = np.full(len(axes), np.iinfo(np.int64).min)
    return graph.add("Slice", x, -np.ones_like(axes), ends, axes, -np.ones_like(axes))


def _pad(graph: _Graph, equation: Any, x: Value, fill: Value) -> Value:
    sides = equation.params["padding_config"]
    if any(low < 0 or high < 0 or between for low, high, between in sides):
        raise _unknown("padding below 0 or between values")
    before, after = ([int(side[i]) for side in sides] for i in (0, 1))
    if not any((*before, *after)):
        return graph.add("Identity", x)
    return graph.add("Pad", x, graph.integers([*before, *after]), fill)


def _reduce(operator: str) -> Callable[..., Value]:
    def form(graph: _Graph, equation: Any, x: Value) -> Value:
        axes = equation.params["axes"]  # without axes, ONNX would reduce them all
        return graph.add(operator, x, graph.integers(axes), keepdims=0) if axes else x

    return form


def _argmax(graph: _Graph, equation: Any, x: Value) -> Value:
    (axis,) = equation.params["axes"]
    return graph.cast(graph.add("ArgMax", x, axis=axis, keepdims=0), equation.params["index_dtype"])


def _gather(graph: _Graph, equation: Any, x: Value, places: Value) -> Value:
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
        raise _unknown("a gather of single values")
    for k, axis in enumerate(axes):
        along = np.moveaxis(places[..., k], k, 0).reshape(places.shape[k], -1)
        if (along != along[:, :1]).any():
            raise _unknown("a gather of single values")
        x = graph.add("Gather", x, along[:, 0], axis=axis)
    return x


def _scatter(graph: _Graph, equation: Any, x: Value, places: Value, updates: Value) -> Value:
    """Put or add columns at known places of the last axis, by gathers from where they come."""
    how, shape = equation.params["dimension_numbers"], equation.invars[0].aval.shape
    last, count = len(shape) - 1, equation.invars[2].aval.shape[-1]
    plain = how.scatter_dims_to_operand_dims == (last,) == how.inserted_window_dims
    if not isinstance(places, np.ndarray) or places.ndim != 2 or not plain:
        raise _unknown("a scatter over several axes")
    if len(np.unique(places)) < len(places):
        raise _unknown("a scatter over several axes")
    order = np.arange(shape[last])
    order[places[:, 0]] = shape[last] + np.arange(count)
    if equation.primitive.name == "scatter":
        return graph.add("Gather", graph.add("Concat", x, updates, axis=last), order, axis=last)
    none = np.zeros((), equation.invars[2].aval.dtype)
    padded = graph.add("Pad", updates, graph.integers([*[0] * last, 1, *[0] * (last + 1)]), none)
    order = np.maximum(order - shape[last] + 1, 0)
    return graph.add("Add", x, graph.add("Gather", padded, order, axis=last))


def _select_n(graph: _Graph, equation: Any, which: Value, *cases: Value) -> Value:
    if len(cases) != 2 or equation.invars[0].aval.dtype != bool:
        raise _unknown("a choice between more than two")
    return graph.add("Where", which, cases[1], cases[0])


def _dot_general(graph: _Graph, equation: Any, a: Value, b: Value) -> Value:
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


def _convolution(graph: _Graph, equation: Any, x: Value, kernel: Value) -> Value:
    parameters = equation.params
    (of_x, of_kernel, of_result), pads = parameters["dimension_numbers"], parameters["padding"]
    ahead = any(low < 0 or high < 0 for low, high in pads)
    if ahead or set(parameters["lhs_dilation"]) != {1} or parameters["batch_group_count"] != 1:
        raise _unknown("a convolution of an enlarged or a cut image")
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


def _power(graph: _Graph, equation: Any, x: Value) -> Value:
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
