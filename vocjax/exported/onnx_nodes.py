"""The nodes of an ONNX graph that is being made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from jax import export
from onnx import TensorProto, helper, numpy_helper

from vocjax.errors import UserError

Value = np.ndarray | str  # known, or the name of what a node gives


def onnx_type(dtype: Any) -> int:
    """Return ONNX's number of a type of elements."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Graph:
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
        """Return integers as ONNX takes them, int64."""
        return np.array(values, np.int64)

    def reshape(self, x: Value, shape: Sequence[Any]) -> Value:
        """Give a value another shape."""
        free = [export.is_symbolic_dim(side) for side in shape]
        if sum(free) > 1:
            raise unknown(f"a shape {shape}")
        sides = [-1 if is_free else side for side, is_free in zip(shape, free, strict=True)]
        return self.add("Reshape", x, self.integers(sides))

    def expand(self, x: Value, shape: Sequence[Any]) -> Value:
        """Repeat sides of 1 up to a shape of the same rank."""
        if not any(map(export.is_symbolic_dim, shape)):
            return self.add("Expand", x, self.integers(shape))
        if any(export.is_symbolic_dim(side) and side != self.batch for side in shape):
            raise unknown(f"a shape {shape}")
        if self.sizes is None:
            self.sizes = self.add("Shape", "images", start=0, end=1)
        sides = (
            self.sizes if export.is_symbolic_dim(side) else self.integers([side]) for side in shape
        )
        return self.add("Expand", x, self.add("Concat", *sides, axis=0))

    def cast(self, x: Value, dtype: Any) -> Value:
        """Change the type of a value's elements."""
        return self.add("Cast", x, to=onnx_type(dtype))


def unknown(what: str) -> UserError:
    """Return the error for a network that needs what has no form in ONNX here."""
    return UserError(
        f"this network can't become an ONNX graph here: it needs {what}. Export it with --format "
        "stablehlo or safetensors."
    )
