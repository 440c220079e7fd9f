"""A JAX function as an ONNX graph: what it is traced to, with one form for each primitive.

The libraries for this replace functions of Flax and of `jax.numpy` while they trace. Here the
function is traced as it is, so that no network needs a form of its own, and whatever does not
depend on the images, as the folded kernels of an up-sampling, is computed once, by JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax import export
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr
from onnx import helper

from vocjax.exported.onnx_forms import FORMS, SAME
from vocjax.exported.onnx_nodes import Graph, Value, onnx_type, unknown

MOST = 2**31  # bytes of a file, which is a message of Protobuf
OPSET, IR = 18, 10  # read by onnxruntime from 1.18 on
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
    graph = Graph(batch)
    values = _run(graph, traced, ["images"])
    for name, value in zip(names, values, strict=True):
        graph.nodes.append(helper.make_node("Identity", [graph.name(value)], [name]))
    outputs = [_info(n, v.aval) for n, v in zip(names, traced.jaxpr.outvars, strict=True)]
    inputs = [_info("images", images)]
    made = helper.make_graph(graph.nodes, "vocjax", inputs, outputs, list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, opset_imports=[opset], ir_version=IR, producer_name="vocjax")
    helper.set_model_props(model, dict(facts))
    if (size := model.ByteSize()) >= MOST:
        raise unknown(f"{size} bytes, and one file has room for {MOST}")
    onnx.checker.check_model(model)
    return model


def _info(name: str, like: Any) -> onnx.ValueInfoProto:
    sides = ["batch" if export.is_symbolic_dim(side) else side for side in like.shape]
    return helper.make_tensor_value_info(name, onnx_type(like.dtype), sides)


def _run(graph: Graph, traced: Any, inputs: Sequence[Value]) -> list[Value]:
    """Add what a closed jaxpr computes of `inputs`; return its outputs."""
    # Without what the outputs do not depend on: random keys, say, are drawn for nothing.
    jaxpr, _ = dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars), instantiate=True)
    values = dict[Any, Value]()
    values.update(zip(jaxpr.constvars, map(np.asarray, traced.consts), strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def value(of: Any) -> Value:
        return np.asarray(of.val) if isinstance(of, core.Literal) else values[of]

    for equation in jaxpr.eqns:
        found = _equation(graph, equation, [value(of) for of in equation.invars])
        values.update(zip(equation.outvars, found, strict=True))
    return [value(of) for of in jaxpr.outvars]


def _equation(graph: Graph, equation: Any, inputs: list[Value]) -> Sequence[Value]:
    """Add what an equation computes, or compute it where all of its inputs are known."""
    name, parameters = equation.primitive.name, equation.params
    if name in CALLS:
        inner = parameters[CALLS[name]]
        closed = inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
        return _run(graph, closed, inputs)
    if name == "platform_index":  # of the branch for all other platforms, if there is one
        platforms = parameters["platforms"]
        return [np.asarray(platforms.index(None) if None in platforms else 0, np.int32)]
    if name == "cond" and isinstance(inputs[0], np.ndarray):
        return _run(graph, parameters["branches"][int(inputs[0])], inputs[1:])
    sides = [side for of in equation.outvars for side in of.aval.shape]
    if not any(isinstance(x, str) for x in inputs) and not any(map(export.is_symbolic_dim, sides)):
        found = equation.primitive.bind(*inputs, **parameters)
        found = found if equation.primitive.multiple_results else [found]
        return [np.asarray(x) for x in found]
    if name in SAME:
        return [graph.add(SAME[name], *inputs)]
    if name not in FORMS:
        raise unknown(f"the operation {name!r}")
    result = FORMS[name](graph, equation, *inputs)
    return result if isinstance(result, list) else [result]
